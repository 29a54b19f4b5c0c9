"""One office for all who use it: to open it takes longer than to print."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.office import Office, open_office


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """cupsd, Avahi and the daemon with a virtual printer, announced."""
    with open_office(tmp_path_factory.mktemp("sane")) as office:
        yield office
