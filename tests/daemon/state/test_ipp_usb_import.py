"""Ports and names of ipp-usb are kept, and with them print queues."""

from __future__ import annotations

import asyncio
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.daemon import run_daemon
from support.ports import FIRST_PORT

from ippusbd.config import Config
from ippusbd.daemon.state.ipp_usb_import import Imported, access, find, parse
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.model import BusAddress, DeviceFacts, UsbId
from ippusbd.proxy.access.rules import Activity, access_of
from ippusbd.virtual.printer import VirtualPrinter

NOBODY = 65534
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
    "name",
    [
        "1209-0001-Example-Jet-9--x-.state",  # the newest release
        "1209-0001--Example-Jet-9--x-.state",
        "1209--Jet-9--x-.state",  # the oldest
    ],
)
def test_a_printer_without_serial_number_is_found_in_all_versions(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text(FILE)
    assert find(tmp_path, replace(FACTS, serial="")) == Imported(PORT, "Desk Printer (USB)")
    assert find(tmp_path, FACTS) is None


def test_of_two_files_without_serial_number_the_newest_releases_counts(tmp_path: Path) -> None:
    (tmp_path / "1209-0001--Example-Jet-9--x-.state").write_text("[device]\nhttp-port = 61000\n")
    (tmp_path / "1209-0001-Example-Jet-9--x-.state").write_text(FILE)
    assert find(tmp_path, replace(FACTS, serial="")) == Imported(PORT, "Desk Printer (USB)")


def test_the_maker_is_left_out_only_where_it_is_spelled_the_same_as_ipp_usb_does(
    tmp_path: Path,
) -> None:
    shouting = replace(FACTS, manufacturer="EXAMPLE", product="Example Jet")
    (tmp_path / "1209-0001-A-1-2-EXAMPLE-Example-Jet.state").write_text(FILE)
    assert find(tmp_path, shouting) == Imported(PORT, "Desk Printer (USB)")
    same = replace(FACTS, manufacturer="Example", product="Example Jet")
    assert find(tmp_path, same) is None
    (tmp_path / "1209-0001-A-1-2-Example-Jet.state").write_text(FILE)
    assert find(tmp_path, same) == Imported(PORT, "Desk Printer (USB)")


def test_blanks_that_the_device_has_more_than_one_of_do_not_hide_its_file(tmp_path: Path) -> None:
    (tmp_path / "1209-0001-A-1-2---Example-Jet--9--x-.state").write_text(FILE)
    assert find(tmp_path, FACTS) == Imported(PORT, "Desk Printer (USB)")


def test_a_name_with_quotes_is_read_whole() -> None:
    assert parse('[device]\ndns-sd-name = "The \\"Desk\\" #2"\n').name == 'The "Desk" #2 (USB)'


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
    imported = parse(f"[device]\n{text}")
    assert 0 <= imported.port <= 65535
    assert len(imported.name.encode()) <= 63


def test_a_port_that_another_printer_owns_is_not_taken(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state.json", range(61000, 62000))
    first = state.port_for("first")
    state.inherit("second", first, "Second")
    assert state.port_for("second") != first
    state.inherit("third", 80, "Third")  # not of our range
    assert state.port_for("third") in range(61000, 62000)
    assert state.name_for("third") == "Third"


async def test_a_printer_without_serial_number_keeps_its_port_and_name(tmp_path: Path) -> None:
    name = "Example VirtualJet 900 (USB 1)"
    own = FILE.replace("Desk Printer", "Example VirtualJet 900")
    file = tmp_path / "1209-0001-Example-VirtualJet-900.state"
    file.write_text(f'{own}dns-sd-override = "{name}"\n')
    printer = VirtualPrinter(serial="")
    try:
        async with run_daemon(
            printer, state_path=tmp_path / "state.json", ipp_usb_dir=tmp_path
        ) as daemon:
            assert daemon.port() == PORT
            assert daemon.row()["name"] == name
    finally:
        printer.close()


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


# --- access


CLOSED = "[auth uid]\nscan = *\n"


def test_rules_hold_until_the_configuration_sets_the_same(tmp_path: Path) -> None:
    config = Config(ipp_usb_conf=tmp_path / "ipp-usb.conf")
    assert access(config, tmp_path / "state") == {}
    config.ipp_usb_conf.write_text(CLOSED)
    inherited = access(config, tmp_path / "state")
    rules = access_of(config, inherited).rules
    assert [kind for kind in Activity if not rules[kind].admits(NOBODY, ())] == [
        Activity.PRINT,
        Activity.FAX,
        Activity.CONFIG,
    ]
    opened = replace(config, access_set=frozenset({"print", "fax", "config"}))
    assert access_of(opened, inherited).unrestricted
    others = replace(config, access_print=(NOBODY,), access_set=frozenset({"print"}))
    rules = access_of(others, inherited).rules
    assert [kind for kind in Activity if rules[kind].admits(NOBODY, ())] == [
        Activity.PRINT,
        Activity.SCAN,
    ]


def test_rules_outlive_the_file_and_end_with_a_file_without_them(tmp_path: Path) -> None:
    state = tmp_path / "state"
    config = Config(ipp_usb_conf=tmp_path / "ipp-usb.conf")
    config.ipp_usb_conf.write_text(CLOSED)
    rules = access(config, state)
    config.ipp_usb_conf.unlink()  # apt purge ipp-usb
    assert access(config, state) == rules != {}
    config.ipp_usb_conf.write_text("[auth uid]\nall = *\n")
    assert access(config, state) == {}
    config.ipp_usb_conf.unlink()
    assert access(config, state) == {}


def test_a_state_directory_that_cannot_be_written_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    config = Config(ipp_usb_conf=tmp_path / "ipp-usb.conf")
    config.ipp_usb_conf.write_text(CLOSED)
    assert set(access(config, tmp_path / "state")) == {"print", "fax", "config"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_the_daemon_refuses_what_ipp_usb_refused(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.conf"
    theirs.write_text("[auth uid]\nscan = *\n")
    printer = VirtualPrinter(serial="V1")
    try:
        async with run_daemon(
            printer,
            state_path=tmp_path / "state.json",
            state_dir=tmp_path,
            ipp_usb_conf=theirs,
        ) as daemon:
            assert await asyncio.to_thread(status_as_nobody, daemon.port(), "/") == "403"
            scan = "/eSCL/ScannerCapabilities"
            assert await asyncio.to_thread(status_as_nobody, daemon.port(), scan) == "200"
    finally:
        printer.close()


def status_as_nobody(port: int, path: str) -> str:
    """The status that a user without rights gets."""
    code = (
        "import http.client, os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"c = http.client.HTTPConnection('127.0.0.1', {port}, timeout=20)\n"
        f"c.request('GET', '{path}'); print(c.getresponse().status)"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()
