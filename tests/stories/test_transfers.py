"""What an everyday session costs in USB transfers, over the asynchronous channel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.daemon import InProcessDaemon, run_daemon
from support.http_client import IPP_TYPE, ask, ask_ipp, connected, ipp_request, message
from support.usbip_libusb import UsbIpHost

from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.wire.ipp_codes import Operation

MakePrinter = Callable[..., VirtualPrinter]
SCAN = (
    b'<?xml version="1.0"?><scan:ScanSettings '
    b'xmlns:scan="http://schemas.hp.com/imaging/escl/2011/05/03" '
    b'xmlns:pwg="http://www.pwg.org/schemas/2010/12/sm"><scan:XResolution>75</scan:XResolution>'
    b"<scan:YResolution>75</scan:YResolution><pwg:InputSource>Platen</pwg:InputSource>"
    b"</scan:ScanSettings>"
)


@asynccontextmanager
async def served(printer: VirtualPrinter, state_path: Path) -> AsyncIterator[InProcessDaemon]:
    async with run_daemon(
        printer,
        state_path=state_path,
        host=lambda backend: UsbIpHost(backend, printer.device),
        idle_release_s=0.3,
    ) as daemon:
        yield daemon


async def small_questions(port: int, count: int) -> None:
    question = ipp_request(Operation.GET_PRINTER_ATTRIBUTES)
    async with connected(port) as connection:
        for _ in range(count):
            await connection.send(message("POST", "/ipp/print", question, IPP_TYPE))
            assert (await connection.reply("POST")).status == 200


async def scan(port: int) -> bytes:
    created = await ask(port, "POST", "/eSCL/ScanJobs", SCAN, (("Content-Type", "text/xml"),))
    assert created.status == 201
    path = "/eSCL" + created.headers["location"].partition("/eSCL")[2]
    page = await ask(port, "GET", f"{path}/NextDocument")
    assert page.complete
    return page.body


async def released(daemon: InProcessDaemon) -> None:
    await daemon.until(lambda: daemon.interfaces()["released"] == daemon.interfaces()["total"])


async def test_questions_prints_and_answers_with_a_length_cancel_no_transfer(
    make_printer: MakePrinter, state_path: Path
):
    async with served(make_printer(), state_path) as daemon:
        await released(daemon)
        before = daemon.row()["transfers"]
        await small_questions(daemon.port(), 10)
        await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=bytes(500_000), chunked=True)
        big = await ask(daemon.port(), "GET", "/big?bytes=1000000")
        assert len(big.body) == 1_000_000
        await released(daemon)

        assert daemon.row()["transfers"]["completed"] > before["completed"]
        assert daemon.row()["transfers"]["cancelled"] == before["cancelled"]


async def test_a_printer_that_ignores_cancels_prints_scans_and_answers(
    make_printer: MakePrinter, state_path: Path
):
    printer = make_printer("ignores-cancel")
    async with served(printer, state_path) as daemon:
        await small_questions(daemon.port(), 10)
        await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=bytes(500_000), chunked=True)
        assert (await scan(daemon.port())).startswith(b"\xff\xd8")
        await released(daemon)
        await small_questions(daemon.port(), 3)

        assert daemon.pool().recovered == 0
    assert [document.completed for document in printer.documents] == [True]


@pytest.mark.parametrize("personality", ["no-zlp", "zlp-while-pending", "stale-100k"])
async def test_odd_ends_of_transfers_change_no_answer(
    make_printer: MakePrinter, state_path: Path, personality: str
):
    async with served(make_printer(personality), state_path) as daemon:
        await small_questions(daemon.port(), 3)
        assert len((await ask(daemon.port(), "GET", "/big?bytes=100000&chunked=1")).body) == 100_000
        await small_questions(daemon.port(), 3)
        assert daemon.pool().recovered == 0
