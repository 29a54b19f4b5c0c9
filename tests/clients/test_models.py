"""Captured models of tests/data before real clients: what each gets is what the table has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from models.examined import DATA, examine, models
from models.right import RIGHT, wrong
from support.office import Office, open_desk

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]

MODELS = {name: one for name, one in models(DATA).items() if name in RIGHT}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_desk(tmp_path_factory.mktemp("sane")) as desk:
        yield desk


@pytest.mark.parametrize("name", MODELS)
def test_clients_get_the_right_values_of_a_captured_model(desk: Office, name: str):
    assert wrong(name, MODELS[name], examine(desk, name, MODELS[name])) == []
