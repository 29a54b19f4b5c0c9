"""Every personality of the virtual printer goes through one script; the result is a table."""

from __future__ import annotations

import asyncio

import pytest
from personalities.outcomes import OUTCOMES, SPECIAL
from personalities.script import Line, table, verdict

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def lines(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Line]:
    """The whole table, or the selected lines, some printers at a time."""
    params = [getattr(one, "callspec", None) for one in request.session.items]
    names = {one.params.get("personality") for one in params if one is not None}
    wanted = {name: case for name, case in OUTCOMES.items() if name in names}
    return asyncio.run(table(wanted, tmp_path_factory.mktemp("states")))


@pytest.mark.parametrize("personality", OUTCOMES)
def test_every_personality_is_served_or_released_with_a_reason(
    lines: dict[str, Line], personality: str
):
    assert not verdict(lines[personality], OUTCOMES[personality])


def test_the_table_names_only_existing_personalities():
    assert SPECIAL.keys() <= OUTCOMES.keys()
