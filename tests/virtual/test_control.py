"""The control socket changes printers while they run, and explains what it refuses."""

from __future__ import annotations

import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.usb_client import UsbClient

from ippusbd.errors import StateError
from ippusbd.virtual.control import VirtualControlServer, ask
from ippusbd.virtual.personalities import REGISTRY
from ippusbd.virtual.printer import VirtualPrinter


@pytest.fixture
def printers(make_printer: Callable[..., VirtualPrinter]) -> list[VirtualPrinter]:
    return [make_printer(serial=serial) for serial in ("A", "B")]


@pytest.fixture
def control(printers: list[VirtualPrinter], tmp_path: Path) -> Iterator[Path]:
    server = VirtualControlServer(tmp_path / "control.sock", printers)
    yield server.path
    server.close()
    server.close()


def test_printers_are_listed(control: Path, printers: list[VirtualPrinter]) -> None:
    printers[0].plug()
    listed = ask(control, "list")["printers"]

    assert isinstance(listed, list)
    assert [(one["serial"], one["plugged"]) for one in listed] == [("A", True), ("B", False)]


def test_a_personality_is_switched_while_the_printer_runs(
    control: Path, printers: list[VirtualPrinter], connect: Callable[..., UsbClient]
) -> None:
    client = connect(printers[1])
    assert client.ask().status == 200
    ask(control, "personality", printer="B", name="404-everything", on=True)
    assert client.ask().status == 404
    ask(control, "personality", printer="B", name="404-everything", on=False)

    assert client.ask().status == 200


def test_every_personality_has_a_line_of_help(control: Path) -> None:
    listed = ask(control, "personalities")["personalities"]

    assert isinstance(listed, dict)
    assert set(listed) == set(REGISTRY)
    assert all(text.endswith(".") and len(text) > 15 for text in listed.values())


def test_a_printer_is_unplugged_and_plugged_in_again(
    control: Path, printers: list[VirtualPrinter]
) -> None:
    for command, plugged in (("plug", True), ("unplug", False), ("plug", True), ("replug", True)):
        ask(control, command, printer="A")
        assert printers[0].device.plugged == plugged
    assert printers[0].device.plug_count == 3


def test_printers_without_serial_numbers_are_addressed_by_number(
    make_printer: Callable[..., VirtualPrinter], tmp_path: Path
) -> None:
    twins = [make_printer(serial=""), make_printer(serial="")]
    server = VirtualControlServer(tmp_path / "twins.sock", twins)
    ask(server.path, "plug", printer=2)
    server.close()

    assert [one.device.plugged for one in twins] == [False, True]


def test_documents_jobs_and_statistics_are_returned(
    control: Path, printers: list[VirtualPrinter], connect: Callable[..., UsbClient]
) -> None:
    client = connect(printers[0])
    client.ipp(0x02, document=b"%PDF")
    client.send(b"broken\r\n\r\n")
    client.receive()

    documents = ask(control, "documents", printer="A")["documents"]
    assert isinstance(documents, list)
    assert documents[0]["sha256"] == printers[0].documents[0].sha256
    jobs = ask(control, "jobs", printer="A")["jobs"]
    assert jobs == [{"job": 1, "name": "Untitled", "state": "processing"}]
    stats = ask(control, "stats", printer="A")
    assert (stats["requests"], stats["broken_http"], stats["incomplete_documents"]) == (1, 1, 0)


def test_paper_and_feeder_can_be_changed(control: Path, printers: list[VirtualPrinter]) -> None:
    ask(control, "paper-out", printer="A", on=True)
    assert printers[0].printer.stopped
    ask(control, "paper-out", printer="A", on=False)
    assert not printers[0].printer.stopped
    ask(control, "feeder", printer="A", pages=7)
    assert printers[0].scanner.adf_pages == 7


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("dance", {}, "no such command"),
        ("plug", {}, "no printer None; there are: A, B"),
        ("plug", {"printer": "C"}, "no printer 'C'"),
        ("personality", {"printer": "A", "name": "nice"}, "no personality 'nice'"),
        ("personality", {"printer": "A"}, "'name' is missing"),
        ("personality", {"printer": "A", "name": "slow", "on": 1}, "true or false"),
        ("feeder", {"printer": "A", "pages": "many"}, "0 to 1000"),
    ],
)
def test_a_wrong_command_gets_an_error(
    control: Path, command: str, arguments: dict[str, object], words: str
) -> None:
    with pytest.raises(StateError, match=words):
        ask(control, command, **arguments)


def test_garbage_gets_an_error_and_the_next_line_works(control: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client, client.makefile("rb") as lines:
        client.connect(str(control))
        client.sendall(b'nonsense\n[1]\n{"command": "list"}\n')
        answers = [lines.readline() for _ in range(3)]

    assert [b'"ok": true' in one for one in answers] == [False, False, True]


def test_only_the_owner_may_use_the_socket(control: Path) -> None:
    assert stat.S_IMODE(control.stat().st_mode) == 0o600


def test_the_socket_of_an_ended_instance_is_replaced_and_a_live_one_is_not(
    control: Path, tmp_path: Path
) -> None:
    with pytest.raises(StateError, match="another instance"):
        VirtualControlServer(control, [])
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    VirtualControlServer(stale, []).close()

    assert not stale.exists()


def test_a_missing_server_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no virtual printer answers"):
        ask(tmp_path / "none.sock", "list")
