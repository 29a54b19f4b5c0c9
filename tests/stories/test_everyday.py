"""A day with a well-behaved printer: what every client may rely on."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from support.daemon import run_daemon
from support.http_client import (
    IPP_TYPE,
    Reply,
    ask,
    ask_ipp,
    connected,
    head,
    ipp_request,
    message,
)

from ippusbd.virtual.services.console import pseudo_random_sha256
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Operation, Status

SCAN = (
    '<?xml version="1.0"?><scan:ScanSettings '
    'xmlns:scan="http://schemas.hp.com/imaging/escl/2011/05/03" '
    'xmlns:pwg="http://www.pwg.org/schemas/2010/12/sm">{}</scan:ScanSettings>'
)


async def test_a_printer_that_is_plugged_in_is_announced_with_its_port(make_printer, state_path):
    async with run_daemon(make_printer(), state_path=state_path) as daemon:
        assert daemon.publisher.types() == {
            "_ipp._tcp", "_uscan._tcp", "_http._tcp", "_ipp-usb._tcp"
        }  # fmt: skip
        ipp_set = next(iter(daemon.publisher.sets.values()))
        assert {r.port for r in ipp_set.records if r.type == "_ipp._tcp"} == {daemon.port()}
        assert daemon.publisher.txt("_ipp._tcp")["rp"] == "ipp/print"
        assert daemon.publisher.txt("_uscan._tcp")["rs"] == "eSCL"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_both_loopback_addresses_serve(make_printer, state_path, host: str):
    async with run_daemon(make_printer(), state_path=state_path) as daemon:
        reply = await ask(daemon.port(), host=host)
        assert (reply.status, reply.complete) == (200, True)
        assert b"VirtualJet" in reply.body


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 32_768, 32_769, 5_000_000])
async def test_a_printed_document_arrives_byte_for_byte(
    make_printer, state_path, size: int, chunked: bool
):
    document = bytes(i * 7 % 251 for i in range(min(size, 100_003))) * (size // 100_003 + 1)
    document = document[:size]
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path) as daemon:
        answer = await ask_ipp(
            daemon.port(), Operation.PRINT_JOB, document=document, chunked=chunked
        )
        assert answer.code == Status.OK
    (stored,) = printer.documents
    assert stored.completed
    assert (stored.size, stored.sha256) == (size, hashlib.sha256(document).hexdigest())


@pytest.mark.parametrize("how", ["", "&chunked=1"])
@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 5_000_000])
async def test_an_answer_of_any_length_arrives_byte_for_byte(
    make_printer, state_path, size: int, how: str
):
    async with run_daemon(make_printer(), state_path=state_path) as daemon:
        reply = await ask(daemon.port(), target=f"/big?bytes={size}{how}")
        assert (reply.status, reply.complete, len(reply.body)) == (200, True, size)
        assert hashlib.sha256(reply.body).hexdigest() == pseudo_random_sha256(size)


async def test_two_feeder_pages_are_scanned_through_links_that_work(make_printer, state_path):
    printer = make_printer()
    printer.scanner.adf_pages = 2
    settings = SCAN.format(
        "<scan:InputSource>Feeder</scan:InputSource>"
        "<scan:ColorMode>Grayscale8</scan:ColorMode>"
        "<scan:DocumentFormatExt>image/jpeg</scan:DocumentFormatExt>"
    ).encode()
    async with run_daemon(printer, state_path=state_path) as daemon:
        port = daemon.port()
        host = (("Host", f"127.0.0.1:{port}"), ("Content-Type", "text/xml"))
        created = await ask(port, "POST", "/eSCL/ScanJobs", settings, host)
        assert created.status == 201
        base = f"http://127.0.0.1:{port}"
        assert created.headers["location"].startswith(base + "/eSCL/ScanJobs/")
        job = created.headers["location"].removeprefix(base)
        pages = [await ask(port, target=job + "/NextDocument") for _ in range(3)]
        assert [page.status for page in pages] == [200, 200, 404]
        assert all(page.body.startswith(b"\xff\xd8\xff") for page in pages[:2])
        assert pages[0].body != pages[1].body


async def test_thirty_gets_during_a_large_print_all_finish(make_printer, state_path):
    size = 100 << 20
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path) as daemon:
        port = daemon.port()
        printing = asyncio.create_task(_print_zeros(port, size))
        await daemon.until(lambda: printer.stats["bytes_in"] > 1 << 20)
        replies = await asyncio.gather(
            *(ask(port, target=f"/big?bytes={10_000 + n}") for n in range(30))
        )
        assert [len(reply.body) for reply in replies] == [10_000 + n for n in range(30)]
        assert not printing.done(), "the print was over before the GETs were: nothing was shown"
        assert (await printing).status == 200
    (stored,) = printer.documents
    assert (stored.size, stored.completed) == (size, True)
    assert printer.stats["broken_http"] == 0


async def test_a_cancel_passes_while_all_other_interfaces_are_busy(make_printer, state_path):
    printer = make_printer(interfaces=3)
    async with run_daemon(printer, state_path=state_path) as daemon:
        port = daemon.port()
        printer.switch("paper-out", on=True)
        jobs = [asyncio.create_task(_print_zeros(port, 20 << 20)) for _ in range(4)]
        await daemon.until(lambda: len(printer.documents) == 2)
        await daemon.until(lambda: daemon.interfaces()["waiting"] == 2)
        start = asyncio.get_running_loop().time()
        answer = await ask_ipp(
            port,
            Operation.CANCEL_JOB,
            ipp.attribute("job-id", ipp.integer(printer.documents[0].job_id)),
        )
        took = asyncio.get_running_loop().time() - start
        assert answer.code == Status.OK
        assert took < 1.0
        printer.switch("paper-out", on=False)
        assert [reply.status for reply in await asyncio.gather(*jobs)] == [200] * 4
        assert sum(one.completed for one in printer.documents) == 3


async def _print_zeros(port: int, size: int) -> Reply:
    """A Print-Job of `size` zero bytes that is never whole in memory."""
    start = ipp_request(Operation.PRINT_JOB)
    fields = (*IPP_TYPE, ("Content-Length", str(len(start) + size)))
    async with connected(port) as connection:
        await connection.send(head("POST", "/ipp/print", fields) + start)
        piece = bytes(1 << 20)
        for _ in range(size // len(piece)):
            await connection.send(piece)
        return await connection.reply("POST", timeout_s=60)


async def test_a_printer_that_takes_nothing_while_an_answer_is_unread_prints_beside_a_slow_viewer(
    make_printer, state_path
):
    printer = make_printer("blocks-while-unread", interfaces=2)
    async with (
        run_daemon(printer, state_path=state_path, supplies_s=0.0) as daemon,
        connected(daemon.port()) as viewer,
    ):
        await viewer.send(message("GET", "/big?bytes=20000000"))
        await viewer.reader.readexactly(1000)
        viewer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        answer = await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=bytes(1_000_000))
        assert answer.code == Status.OK
    assert [document.completed for document in printer.documents] == [True]
