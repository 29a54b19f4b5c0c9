"""Desktops and sets of services for the tests of the announcers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.desktop import Desktop


@pytest.fixture(scope="module")
def desktop() -> Iterator[Desktop]:
    """A desktop with D-Bus and Avahi, for a module's tests that leave them alone."""
    with Desktop() as desktop:
        desktop.start_bus()
        desktop.start_avahi()
        yield desktop


@pytest.fixture
def bare_desktop() -> Iterator[Desktop]:
    """A desktop on which nothing runs yet, for a test that starts and ends things."""
    with Desktop() as desktop:
        yield desktop
