"""Log lines in systemd's journal: with their fields, without waiting, never lost unsaid."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemon import run_daemon
from support.http_client import ask

from ippusbd import log
from ippusbd.cli import main as cli
from ippusbd.errors import DeviceBusy
from ippusbd.journal import MAX_BYTES, Journal, encode, open_journal
from ippusbd.kinds import Diagnosis, Kind
from ippusbd.log import AREAS, LEVELS


@pytest.fixture(autouse=True)
def _levels_as_before() -> Iterator[None]:
    yield
    logging.captureWarnings(False)
    logging.getLogger().setLevel(logging.WARNING)
    for name in ("", ".usb", ".http", ".daemon"):
        logging.getLogger(f"ippusbd{name}").setLevel(logging.NOTSET)


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[socket.socket]:
    """The journal's end of its socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "socket"))
        server.settimeout(10)
        yield server


def entry(server: socket.socket) -> dict[str, str]:
    """The next entry, decoded as journald does."""
    data = server.recv(1 << 20)
    fields: dict[str, str] = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, sign, value = line.partition(b"=")
        if not sign:
            length = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + length], data[9 + length :]
        fields[name.decode()] = value.decode()
    return fields


def to(tmp_path: Path) -> logging.Handler:
    """Logs go to the journal in `tmp_path`, as under systemd."""
    stream = (tmp_path / "stderr").open("w")
    status = os.fstat(stream.fileno())
    environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    handler = log.setup("debug", stream=stream, environ=environ, journal=str(tmp_path / "socket"))
    stream.close()
    return handler


async def test_an_entry_has_priority_area_printer_and_request(journald, tmp_path: Path):
    handler = to(tmp_path)
    log.set_context("HP M28", 12)
    logging.getLogger("ippusbd.usb").warning("interface %d: reset", 2)
    told = entry(journald)
    assert told["MESSAGE"] == "usb HP M28 #12: interface 2: reset"
    assert (told["PRIORITY"], told["AREA"]) == ("4", "usb")
    assert (told["PRINTER"], told["REQUEST"]) == ("HP M28", "12")
    assert told["SYSLOG_IDENTIFIER"] == "ippusbd"
    assert told["CODE_FILE"].endswith("test_journal.py")
    handler.close()


@pytest.mark.parametrize(
    "about", [DeviceBusy(interface=0, by="x"), Kind.HELD.of(interface=0, by="x")]
)
async def test_an_entry_about_a_trouble_has_its_kind(
    journald, tmp_path: Path, about: DeviceBusy | Diagnosis
):
    handler = to(tmp_path)
    logging.getLogger("ippusbd.usb").warning("%s: %s", "HP M28", about)
    told = entry(journald)
    assert told["KIND"] == "held"
    assert told["MESSAGE"].endswith("interface 0 is held by x")
    logging.getLogger("ippusbd.usb").warning("of no kind")
    assert "KIND" not in entry(journald)
    handler.close()


def test_a_traceback_is_one_entry_and_cannot_make_fields(journald, tmp_path: Path):
    handler = to(tmp_path)
    try:
        raise ValueError("evil\nPRIORITY=0\nMESSAGE=all is well")
    except ValueError:
        logging.getLogger("ippusbd.daemon").exception("failed")
    told = entry(journald)
    assert told["PRIORITY"] == "3"
    assert told["MESSAGE"].startswith("daemon: failed\n    | Traceback")
    assert "PRIORITY=0" in told["MESSAGE"]
    handler.close()


def test_values_with_lines_are_counted_and_long_ones_cut():
    assert encode({"A": "1", "EMPTY": "", "B": "x\ny"}) == (
        b"A=1\nB\n\x03\0\0\0\0\0\0\0x\ny\n"
    )  # fmt: skip
    assert len(encode({"A": "x" * 10 * MAX_BYTES})) == MAX_BYTES + 3


def test_a_journal_that_takes_nothing_is_not_waited_for_and_its_loss_is_told(
    journald, tmp_path: Path
):
    journal = Journal(str(tmp_path / "socket"))
    sent = 0
    while journal.send({"MESSAGE": str(sent)}):
        sent += 1
        assert sent < 100_000
    assert not journal.send({"MESSAGE": "lost too"})
    for _ in range(sent):
        journald.recv(1 << 16)
    assert journal.send({"MESSAGE": "again"})
    assert entry(journald) == {"MESSAGE": "again", "LOST_ENTRIES": "2"}
    journal.close()


def test_a_restarted_journal_gets_the_next_entry(tmp_path: Path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as first:
        first.bind(str(path))
        journal = Journal(str(path))
        assert journal.send({"MESSAGE": "one"})
    path.unlink()
    assert not journal.send({"MESSAGE": "nobody"})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as second:
        second.bind(str(path))
        assert journal.send({"MESSAGE": "two"})
        assert entry(second)["MESSAGE"] == "two"
    journal.close()


def test_without_a_journal_lines_go_to_standard_error_with_priorities(tmp_path: Path):
    assert open_journal(str(tmp_path / "none")) is None
    stream = (tmp_path / "stderr").open("w+")
    status = os.fstat(stream.fileno())
    environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    log.setup("info", stream=stream, environ=environ, journal=str(tmp_path / "none"))
    logging.getLogger("ippusbd.usb").warning("reset")
    assert (tmp_path / "stderr").read_text() == "<4>usb: reset\n"
    stream.close()


async def test_each_request_is_logged_with_its_number_and_its_printer(
    make_printer, state_path, journald, tmp_path: Path
):
    handler = to(tmp_path)
    log.set_level("", "warning")
    log.set_level("http", "debug")
    async with run_daemon(make_printer(), state_path=state_path) as daemon:
        for _ in range(2):
            await ask(daemon.port(), target="/index?password=geheim")
    told = [entry(journald) for _ in range(2)]
    assert all(one["PRINTER"] == "Example VirtualJet 900" for one in told)
    assert int(told[1]["REQUEST"]) == int(told[0]["REQUEST"]) + 1
    assert told[0]["MESSAGE"].partition(": ")[2].startswith("GET /index: ")
    assert "geheim" not in str(told)
    handler.close()


def test_levels_of_one_area_or_all_are_changed_and_told():
    log.set_level("", "info")
    log.set_level("usb", "debug")
    assert log.levels() == {**dict.fromkeys(AREAS, "info"), "usb": "debug"}
    log.set_level("", "error")
    assert log.levels() == dict.fromkeys(AREAS, "error")


def test_the_help_knows_every_level_and_area(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        cli.main(["log", "--help"])
    words = capsys.readouterr().out.replace(",", " ").replace(";", " ").replace(".", " ").split()
    assert {*AREAS, *LEVELS} <= set(words)
