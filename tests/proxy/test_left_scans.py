"""The scan job of a client that leaves is deleted, wherever in its request it leaves."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from support.http_client import Connection, connected, message
from support.scripted_printer import SETTINGS, answer, serve
from support.waiting import until

from ippusbd.errors import TransferFailed, UsbError
from ippusbd.exchange.pending_cancels import PendingCancels

MIB = 1 << 20
NEXT = message("GET", "/eSCL/ScanJobs/7/NextDocument")


async def deleted(pending: PendingCancels) -> list[str]:
    """The paths of the scan jobs that are to be deleted."""
    paths: list[str] = []

    async def delete(path: str) -> int:
        paths.append(path)
        return 200

    async def ask(target: str, _: bytes) -> bytes:
        raise AssertionError(target)

    with suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await pending.deliver(ask, delete)
    return paths


def read_nothing(client: Connection) -> None:
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]


async def test_while_it_waits_for_an_interface():
    pending = PendingCancels()
    async with serve(answer(), pending_cancels=pending) as served:
        async with served.pool.lease(wait_s=1), connected(served.port) as scanning:
            await scanning.send(NEXT)
            await until(lambda: served.pool.status().waiting)
            scanning.kill()
            await until(lambda: not served.site.in_progress)
        assert not served.printer.heard
    assert await deleted(pending) == ["/eSCL/ScanJobs/7"]


async def test_while_the_page_is_scanned():
    pending = PendingCancels()
    async with serve(b"", pending_cancels=pending) as served:  # silent
        async with connected(served.port) as scanning:
            await scanning.send(NEXT)
            await until(lambda: served.printer.heard)
            scanning.kill()
        await until(lambda: not served.site.in_progress)
        assert await deleted(pending) == ["/eSCL/ScanJobs/7"]


@pytest.mark.parametrize(("mib", "piece"), [(20, 65536), (12, 12 * MIB)], ids=["spooled", "not"])
async def test_while_it_reads_the_page(tmp_path: Path, mib: int, piece: int):
    """Up to some megabytes fit into the connection of a client that reads nothing."""
    pending, page = PendingCancels(), answer(bytes(mib * MIB))
    pieces: list[bytes | UsbError] = [page[at : at + piece] for at in range(0, len(page), piece)]
    settings = replace(SETTINGS, spool_dir=tmp_path)
    async with serve(pieces, settings=settings, pending_cancels=pending) as served:
        async with connected(served.port) as scanning:
            read_nothing(scanning)
            await scanning.send(NEXT)
            await until(lambda: served.printer.heard and served.pool.idle)
            assert served.site.in_progress == 1
            scanning.kill()
        await until(lambda: not served.site.in_progress)
        assert await deleted(pending) == ["/eSCL/ScanJobs/7"]


async def test_who_only_looks_at_a_scan_job_ends_none():
    pending = PendingCancels()
    async with serve(b"", pending_cancels=pending) as served:
        async with connected(served.port) as looking:
            await looking.send(message("GET", "/eSCL/ScanJobs/7/ScanImageInfo"))
            await until(lambda: served.printer.heard)
            looking.kill()
        await until(lambda: not served.site.in_progress)
        assert await deleted(pending) == []


async def test_a_client_whose_page_was_cut_by_the_printer_comes_again():
    pending, page = PendingCancels(), answer(bytes(MIB))
    cut: list[bytes | UsbError] = [page[: MIB // 2], TransferFailed("EIO")]
    async with serve(cut, pending_cancels=pending) as served:
        async with connected(served.port) as scanning:
            await scanning.send(NEXT)
            assert not (await scanning.reply()).complete
        await until(lambda: not served.site.in_progress)
        assert await deleted(pending) == []


async def test_a_client_that_has_its_page_may_leave():
    pending = PendingCancels()
    async with serve(answer(b"page"), pending_cancels=pending) as served:
        async with connected(served.port) as scanning:
            await scanning.send(NEXT)
            assert (await scanning.reply()).body == b"page"
        await until(lambda: not served.site.in_progress)
        assert await deleted(pending) == []
