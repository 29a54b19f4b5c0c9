"""Clients that send slowly, or stop in the middle: others are served meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from support.crowd import crowd, drip, one_printer
from support.daemon import InProcessDaemon
from support.http_client import IPP_TYPE, ask, connected, head, ipp_request, message
from support.scripted_printer import SETTINGS, answer, serve

PRINT_JOB = 0x02
HEAD = head("GET", "/", [("X-Slow", "x" * 2000)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@asynccontextmanager
async def dripping(port: int, count: int, data: bytes, *first: bytes) -> AsyncIterator[None]:
    """`count` clients that send `first` at once and then `data` byte by byte."""
    async with crowd(port, count) as clients:
        for client in clients:
            await client.send(b"".join(first))
        tasks = [asyncio.create_task(drip(client, data, 0.01)) for client in clients]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def serves(daemon: InProcessDaemon, times: int = 5) -> None:
    for _ in range(times):
        assert (await ask(daemon.port())).status == 200


async def test_heads_that_come_byte_by_byte_delay_nobody(folder: Path):
    async with one_printer(folder) as (_, daemon), dripping(daemon.port(), 50, HEAD):
        await serves(daemon)
        assert daemon.interfaces()["in_use"] == 0, "what is no request yet has no interface"


async def test_a_head_that_is_never_complete_times_out(folder: Path):
    async with (
        one_printer(folder, idle_client_s=0.5) as (_, daemon),
        connected(daemon.port()) as client,
        asyncio.timeout(20),
    ):
        dripped = asyncio.create_task(drip(client, HEAD, 0.01))
        with suppress(ConnectionResetError):  # it is still talking
            assert await client.reader.read() == b"", "closed long before its 2,000 bytes were said"
        dripped.cancel()
        await asyncio.wait([dripped])


async def test_small_bodies_that_come_byte_by_byte_occupy_no_interface(folder: Path):
    start = head("POST", "/sink", [("Content-Length", "30000")])
    async with (
        one_printer(folder) as (_, daemon),
        dripping(daemon.port(), 50, bytes(30_000), start),
    ):
        await serves(daemon)
        assert daemon.interfaces()["in_use"] == 0


def print_job_head(length: int) -> bytes:
    request = ipp_request(PRINT_JOB)
    size = str(len(request) + length)
    return head("POST", "/ipp/print", [*IPP_TYPE, ("Content-Length", size)]) + request


async def test_a_document_that_arrives_byte_by_byte_is_cut_and_its_job_cancelled(folder: Path):
    async with one_printer(folder, upload_stall_s=0.5) as (printer, daemon):
        async with dripping(daemon.port(), 1, bytes(90_000), print_job_head(1_000_000)):
            await daemon.until(lambda: daemon.interfaces()["in_use"] == 1)
            await serves(daemon)
        await daemon.until_idle()
        assert [document.completed for document in printer.documents] in ([], [False])
        assert printer.stats["broken_http"] == 0


async def test_a_document_that_trickles_is_cut_when_others_wait(folder: Path):
    """A kilobyte in each period would hold the only interface for hours."""
    settings = {"upload_stall_s": 0.5, "min_bytes_s": 16_384}
    async with (
        one_printer(folder, **settings) as (printer, daemon),
        connected(daemon.port()) as client,
    ):
        await client.send(print_job_head(10_000_000))

        async def trickle() -> None:
            while True:
                await client.send(bytes(1100))
                await asyncio.sleep(0.2)

        trickling = asyncio.create_task(trickle())
        await daemon.until(lambda: daemon.interfaces()["in_use"] == 1)
        await serves(daemon)
        trickling.cancel()
        await asyncio.wait([trickling])
        await daemon.until_idle()
        assert [document.completed for document in printer.documents] in ([], [False])


async def test_a_slow_document_is_not_cut_while_nobody_waits(folder: Path):
    """Programs that render pages while sending pause for as long as a page takes."""
    document = bytes(40_000)
    async with (
        one_printer(folder, upload_stall_s=0.1, supplies_s=0.0) as (printer, daemon),
        connected(daemon.port()) as client,
    ):
        await client.send(print_job_head(len(document)))
        await daemon.until(lambda: daemon.interfaces()["in_use"] == 1)
        await asyncio.sleep(0.5)
        await client.send(document)
        assert (await client.reply("POST")).status == 200
        assert [document.completed for document in printer.documents] == [True]


async def test_a_slow_but_steady_document_is_not_cut_although_others_wait(folder: Path):
    async with (
        one_printer(folder, upload_stall_s=2.0) as (printer, daemon),
        connected(daemon.port()) as client,
    ):
        await client.send(print_job_head(60_000))
        await daemon.until(lambda: daemon.interfaces()["in_use"] == 1)
        waiting = asyncio.create_task(ask(daemon.port()))
        for _ in range(12):  # longer than a stall may be, in all
            await client.send(bytes(5000))
            await asyncio.sleep(0.2)
        assert (await client.reply("POST")).status == 200
        assert (await waiting).status == 200
        assert [document.completed for document in printer.documents] == [True]


async def test_a_printer_that_begins_no_answer_times_out_if_so_configured():
    async with serve(settings=replace(SETTINGS, head_timeout_s=0.3)) as served:
        reply = await ask(served.port)
        assert reply.status == 504
        assert reply.body.startswith(b"ippusbd: no response began within 0.3 s\n")


async def test_the_time_to_begin_an_answer_starts_when_all_of_the_request_was_sent():
    async with (
        serve(answer(b"done"), settings=replace(SETTINGS, head_timeout_s=0.3)) as served,
        connected(served.port) as client,
    ):
        await client.send(head("POST", "/", [("Content-Length", "100000")]))
        for _ in range(5):
            await asyncio.sleep(0.1)
            await client.send(bytes(20_000))
        assert (await client.reply("POST")).body == b"done"


@pytest.mark.parametrize("ending", ["half", "reset"])
async def test_half_open_connections_leave_nothing(folder: Path, ending: str):
    async with one_printer(folder) as (_, daemon):
        async with crowd(daemon.port(), 100) as clients:
            for number, client in enumerate(clients):
                await client.send(message("GET", "/big?bytes=1000")[: 10 + number])
                client.writer.write_eof() if ending == "half" else client.kill()
            await serves(daemon)
        site = next(iter(daemon.supervisor.printers)).site
        await daemon.until(lambda: len(site._connections) == 0)
