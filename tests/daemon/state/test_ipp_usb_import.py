"""Ports and names of ipp-usb are kept, and with them print queues."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.daemon import run_daemon
from support.ports import FIRST_PORT

from ippusbd.daemon.state.ipp_usb_import import Imported, find, parse
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.model import BusAddress, DeviceFacts, UsbId
from ippusbd.virtual.printer import VirtualPrinter

PORT = FIRST_PORT + 234
FILE = f'[device]\nhttp-port       = {PORT}\ndns-sd-name     = "Desk Printer"\n'
FACTS = DeviceFacts(UsbId(0x1209, 0x0001), BusAddress(1, 2), "Example", "Jet 9 (x)", "A/1 2")


def test_the_file_is_found_by_its_names_in_all_versions_latest_first(tmp_path: Path) -> None:
    assert find(tmp_path, FACTS) is None
    (tmp_path / "1209-A-1-2-Jet-9--x-.state").write_text("[device]\nhttp-port = 61000\n")
    assert find(tmp_path, FACTS) == Imported(61000, "")
    (tmp_path / "1209-0001-A-1-2-Example-Jet-9--x-.state").write_text(FILE)
    assert find(tmp_path, FACTS) == Imported(PORT, "Desk Printer (USB)")


@pytest.mark.parametrize(
    ("override", "announced"),
    [
        ("Desk Printer (USB)", "Desk Printer (USB)"),
        ("Desk Printer (USB 1)", "Desk Printer (USB 1)"),  # it counts from 1 after a collision
        ("Desk Printer", "Desk Printer (USB)"),  # before the first announcement
        ("", "Desk Printer (USB)"),
    ],
)
def test_the_name_is_that_which_ipp_usb_announced(override: str, announced: str) -> None:
    assert parse(f'{FILE}dns-sd-override = "{override}"\n').name == announced


def test_invalid_values_are_ignored() -> None:
    for text in ("", "http-port = 1\n", "[device]\nhttp-port = 6x\n", "[other]\nhttp-port = 1\n"):
        assert parse(text) == Imported(0, "")
    assert parse(f'[device]\ndns-sd-name = "{"x" * 64}"\n').name == ""
    assert parse('[device]\ndns-sd-name = "a\x1b[31mb"\n').name == ""


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    parse(f"[device]\n{text}")


def test_a_port_that_another_printer_owns_is_not_taken(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state.json", range(61000, 62000))
    first = state.port_for("first")
    state.inherit("second", first, "Second")
    assert state.port_for("second") != first
    state.inherit("third", 80, "Third")  # not of our range
    assert state.port_for("third") in range(61000, 62000)
    assert state.name_for("third") == "Third"


async def test_a_printer_seen_first_has_the_port_and_name_of_before(tmp_path: Path) -> None:
    folder = tmp_path / "dev"
    folder.mkdir()
    printer = VirtualPrinter(serial="V1")
    spec = printer.device.spec
    ids = f"{spec.usb_id.vendor:04x}-{spec.usb_id.product:04x}"
    file = folder / f"{ids}-V1-Example-VirtualJet-900.state"  # as ipp-usb 0.9.23 calls it
    name = "Example VirtualJet 900 (USB 1)"  # as it was announced among others of its kind
    own = FILE.replace("Desk Printer", "Example VirtualJet 900")
    file.write_text(f'{own}dns-sd-override = "{name}"\n')
    try:
        path = tmp_path / "state.json"
        async with run_daemon(printer, state_path=path, ipp_usb_dir=folder) as daemon:
            assert daemon.port() == PORT
            assert daemon.row()["name"] == name
        file.write_text(FILE.replace(str(PORT), str(PORT + 1)))
        async with run_daemon(printer, state_path=path, ipp_usb_dir=folder) as daemon:
            assert daemon.port() == PORT  # by now it is our own
            assert daemon.row()["name"] == name
    finally:
        printer.close()
