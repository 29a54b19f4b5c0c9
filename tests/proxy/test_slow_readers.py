"""A client that reads slowly costs spool, then its own connection, never the printer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from support.http_client import Connection, ask, connected, message
from support.scripted_printer import SETTINGS, answer, serve
from support.waiting import until

from ippusbd.errors import TransferFailed, UsbError
from ippusbd.model import Awaits

MIB = 1 << 20
PAGE = bytes(range(256)) * (20 * MIB // 256)


def in_transfers(whole: bytes) -> list[bytes | UsbError]:
    """As USB delivers it."""
    return [whole[at : at + 65536] for at in range(0, len(whole), 65536)]


def read_nothing(client: Connection) -> None:
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]


def break_files(folder: Path) -> None:
    """Files below `folder` that this process has open cannot be read any more."""
    unreadable = os.open("/dev/null", os.O_WRONLY)
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if str(entry.readlink()).startswith(str(folder)):
                os.dup2(unreadable, int(entry.name), inheritable=False)
    os.close(unreadable)


def read_on(client: Connection) -> None:
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]


async def test_the_interface_is_free_as_soon_as_the_printer_has_sent_all(tmp_path: Path):
    settings = replace(SETTINGS, spool_dir=tmp_path)
    page = in_transfers(answer(PAGE))
    async with (
        serve(page, answer(b"next"), settings=settings) as served,
        connected(served.port) as slow,
    ):
        read_nothing(slow)
        await slow.send(message("GET", "/eSCL/ScanJobs/1/NextDocument"))
        await until(lambda: served.printer.heard and served.pool.idle)
        assert (await ask(served.port)).body == b"next"
        assert served.site.in_progress == 1
        read_on(slow)
        reply = await slow.reply()
        assert (reply.complete, reply.body == PAGE) == (True, True)
        await until(lambda: not served.site.in_progress)
    assert list(tmp_path.iterdir()) == []


async def test_without_space_the_slow_client_is_disconnected_when_others_wait():
    settings = replace(SETTINGS, client_stall_s=0.1)
    page = in_transfers(answer(PAGE))
    async with (
        serve(page, answer(b"next"), settings=settings) as served,
        connected(served.port) as slow,
    ):
        read_nothing(slow)
        await slow.send(message("GET", "/big"))
        await until(lambda: served.printer.heard)
        assert (await ask(served.port)).body == b"next"
        assert served.pool.recovered == 0


async def test_without_space_the_slow_client_is_disconnected_when_a_write_waits():
    """Some printers take nothing while an answer of theirs is unread."""
    settings = replace(SETTINGS, client_stall_s=0.1)
    page = in_transfers(answer(PAGE))
    async with (
        serve(page, answer(b"printed"), interfaces=2, settings=settings) as served,
        connected(served.port) as slow,
    ):
        read_nothing(slow)
        await slow.send(message("GET", "/big"))
        await until(lambda: served.printer.heard)
        blocked = served.printer.channels[1]
        blocked.stop_taking()
        printing = asyncio.create_task(ask(served.port, "POST", "/ipp/print", b"document"))
        await until(
            lambda: any(
                slot.work is not None and slot.work.awaits is Awaits.PRINTER_TAKES
                for slot in served.pool.slots
            )
        )
        await until(lambda: served.site.in_progress == 1)  # the slow client is disconnected
        blocked.take_again()
        assert (await printing).body == b"printed"


async def test_a_printer_that_fails_after_the_answer_was_spooled_does_not_cut_it(tmp_path: Path):
    settings = replace(SETTINGS, spool_dir=tmp_path)
    page: Sequence[bytes | UsbError] = [*in_transfers(answer(PAGE)), TransferFailed("late")]
    async with serve(page, settings=settings) as served, connected(served.port) as slow:
        read_nothing(slow)
        await slow.send(message("GET", "/big"))
        await until(lambda: served.printer.heard and served.pool.idle)
        read_on(slow)
        assert (await slow.reply()).complete


async def test_an_answer_that_was_cut_does_not_look_complete_to_a_slow_client(tmp_path: Path):
    settings = replace(SETTINGS, spool_dir=tmp_path)
    half = [*in_transfers(answer(PAGE, chunked=True))[:200], TransferFailed("in the middle")]
    async with serve(half, settings=settings) as served, connected(served.port) as slow:
        read_nothing(slow)
        await slow.send(message("GET", "/big"))
        await until(lambda: served.pool.recovered)
        read_on(slow)
        reply = await slow.reply()
        assert not reply.complete
        assert PAGE.startswith(reply.body)
        assert len(reply.body) > 12 * MIB


async def test_a_client_that_leaves_its_spooled_answer_frees_the_space(tmp_path: Path):
    settings = replace(SETTINGS, spool_dir=tmp_path)
    async with serve(in_transfers(answer(PAGE)), settings=settings) as served:
        async with connected(served.port) as slow:
            read_nothing(slow)
            await slow.send(message("GET", "/big"))
            await until(lambda: served.printer.heard and served.pool.idle)
            assert served.site._space.file_left < settings.spool_bytes
            slow.kill()
        await until(lambda: not served.site.in_progress)
        assert served.site._space.file_left == settings.spool_bytes


@pytest.mark.parametrize("room", [4 * MIB, 64 * MIB], ids=["being read", "read to its end"])
async def test_a_spool_file_that_fails_cuts_one_answer_and_frees_the_interface(
    room: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    settings = replace(SETTINGS, spool_dir=tmp_path, spool_bytes=room)
    page = in_transfers(answer(PAGE))
    async with (
        serve(page, answer(b"next"), settings=settings) as served,
        connected(served.port) as slow,
    ):
        space = served.site._space
        read_nothing(slow)
        await slow.send(message("GET", "/big"))
        await until(lambda: served.printer.heard and (served.pool.idle or space.file_left < 65536))
        break_files(tmp_path)
        read_on(slow)
        assert not (await slow.reply()).complete
        assert (await ask(served.port)).body == b"next"
        await until(lambda: not served.site.in_progress)
        assert (space.file_left, served.pool.recovered) == (room, 0)
    assert "answer cut: [Errno 9]" in caplog.text
