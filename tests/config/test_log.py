"""Log lines stay lines, whatever a device is called."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd import log


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("ippusbd")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    for area in ("usb", "http"):
        logging.getLogger(f"ippusbd.{area}").setLevel(logging.NOTSET)


def lines_of(journal: bool, message: str, *args: object, **kwargs: object) -> list[str]:
    record = logging.LogRecord("ippusbd.usb", logging.WARNING, "f.py", 1, message, args, None)
    record.__dict__.update(kwargs)
    return log.LineFormatter(journal=journal).format(record).split("\n")


def test_a_terminal_gets_time_level_area_and_printer():
    (line,) = lines_of(False, "interface %d: reset", 2, printer="HP M28")
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} warning usb HP M28: interface 2: reset", line)


def test_the_journal_gets_priorities_and_no_time():
    assert lines_of(True, "reset") == ["<4>usb: reset"]
    for level, mark in ((50, "<3>"), (40, "<3>"), (30, "<4>"), (20, "<6>"), (10, "<7>")):
        record = logging.LogRecord("ippusbd.usb", level, "f.py", 1, "x", (), None)
        assert log.LineFormatter(journal=True).format(record).startswith(mark)


def test_a_traceback_continues_under_its_line_and_cannot_look_like_a_first_line():
    try:
        raise ValueError("evil\n<0>usb: all is well\x1b[31m")
    except ValueError as exc:
        info = (type(exc), exc, exc.__traceback__)
    first, *more = lines_of(True, "failed", exc_info=info)
    assert first == "<4>usb: failed"
    assert more
    assert all(line.startswith("<4>    | ") for line in more)
    assert any(r"all is well\x1b[31m" in line for line in more)


@given(st.text(max_size=300))
def test_no_device_name_makes_a_second_line_or_a_terminal_escape(name: str):
    (line,) = lines_of(True, "found %s", name)
    assert len(line.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u200f]", line)
    line.encode("utf-8")  # no lone surrogate


def test_readable_letters_stay_readable():
    assert log.escaped("Büro-Drucker 打印机 é") == "Büro-Drucker 打印机 é"
    assert log.escaped("a\tb\r\n\x1b[2J\u202e") == r"a\tb\r\n\x1b[2J\u202e"


def test_ten_kilobytes_of_name_are_cut():
    assert len(lines_of(True, "found %s", "x" * 10240)[0]) < 2100
    assert log.escaped("x" * 100, 10) == "xxxxxxx..."


def test_standard_error_is_the_journal_only_if_it_is_that_very_file(tmp_path: Path):
    with (tmp_path / "journal").open("w") as stream:
        status = os.fstat(stream.fileno())
        name = f"{status.st_dev}:{status.st_ino}"
        assert log.is_journal(stream, {"JOURNAL_STREAM": name})
        assert not log.is_journal(stream, {"JOURNAL_STREAM": "1:2"})
        assert not log.is_journal(stream, {})
    assert not log.is_journal(stream, {"JOURNAL_STREAM": name})  # closed
    assert not log.is_journal(io.StringIO(), {"JOURNAL_STREAM": name})


def test_levels_are_set_by_area_and_can_be_changed_while_running():
    stream = io.StringIO()
    log.setup("warning", [("usb", "debug")], stream=stream, environ={})
    usb, http = logging.getLogger("ippusbd.usb"), logging.getLogger("ippusbd.http")
    usb.debug("one")
    http.info("two")
    log.set_level("http", "info")
    http.info("three")
    logging.getLogger("somebody").info("four")
    logging.getLogger("somebody").warning("five")
    said = [line.split(": ")[-1] for line in stream.getvalue().splitlines()]
    assert said == ["one", "three", "five"]


def test_a_log_that_nobody_reads_blocks_nothing_and_tells_afterwards_what_is_lost():
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "w", encoding="utf-8") as stream:
        log.setup("info", stream=stream, environ={})
        usb = logging.getLogger("ippusbd.usb")
        for number in range(100):
            usb.info("%d %s", number, "ü" * 1500)
        os.set_blocking(reader, False)
        kept = pipe.read().decode()
        usb.info("afterwards")
        told = pipe.read().decode()
        log.setup("info", environ={})
    whole = [line for line in kept.splitlines() if line.endswith("ü" * 1500)]
    assert [f"usb: {number} " in line for number, line in enumerate(whole)] == [True] * len(whole)
    assert len(whole) > 10
    notice, after = told.strip().splitlines()
    assert notice == f"({100 - len(whole)} log entries are lost: nobody read them)"
    assert after.endswith("usb: afterwards")


def test_setting_up_twice_does_not_say_everything_twice():
    log.setup("info", stream=io.StringIO(), environ={})
    stream = io.StringIO()
    log.setup("info", stream=stream, environ={})
    logging.getLogger("ippusbd.usb").info("once")
    assert stream.getvalue().count("once") == 1


async def test_what_a_task_logs_names_its_printer_and_its_request():
    stream = io.StringIO()
    log.setup("info", stream=stream, environ={})
    usb = logging.getLogger("ippusbd.usb")

    async def serve(printer: str, request: int) -> None:
        log.set_context(log.escaped(printer), request)
        await asyncio.sleep(0)
        usb.info("claimed")
        await asyncio.create_task(later(printer))

    async def later(printer: str) -> None:
        usb.info("%s: ready", log.escaped(printer))

    await asyncio.gather(serve("Evil\nPrinter", 7), serve("Other", 0))
    usb.info("nobody's")
    said = [line.split(" ", 1)[1].strip() for line in stream.getvalue().splitlines()]
    assert sorted(said) == [
        r"info    usb #7: Evil\nPrinter: ready",
        r"info    usb Evil\nPrinter #7: claimed",
        "info    usb Other: claimed",
        "info    usb: Other: ready",
        "info    usb: nobody's",
    ]
