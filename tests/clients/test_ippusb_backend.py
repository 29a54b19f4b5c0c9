"""`ippusb://` queues on a CUPS without patches: the backend, the broker and a real cupsd."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cups import PrintDesk, print_desk

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]

URI = "ippusb://1209_0001/ipp/print"


@pytest.fixture(scope="module")
def cups() -> Iterator[PrintDesk]:
    with print_desk() as desk:
        yield desk


@pytest.fixture
def desk(cups: PrintDesk) -> Iterator[PrintDesk]:
    """With the daemon and one virtual printer."""
    cups.start_daemon()
    yield cups
    cups.desktop.run(["cancel", "-a", "-x"])
    cups.stop_daemon()


def page(folder: Path, text: str) -> Path:
    path = folder / f"{text}.txt"
    path.write_text(f"{text}\n" * 20)
    return path


def test_lpinfo_lists_the_connected_printers(desk: PrintDesk):
    lines = desk.run("lpinfo", "-v", "--include-schemes", "ippusb").stdout.splitlines()
    assert f"direct {URI}?serial=VIRTUAL1" in lines
