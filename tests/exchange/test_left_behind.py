"""After a client left: cut documents are cancelled, complete ones print, scans are deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.fake_channel import FakeChannel
from support.time_lapse import told

from ippusbd.errors import ClientGone, PrinterSilent, TransferFailed, TransferTimeout
from ippusbd.exchange.exchange import Exchange
from ippusbd.exchange.interrupted_job import InterruptedJob
from ippusbd.exchange.pending_cancels import PendingCancels
from ippusbd.exchange.request import Request
from ippusbd.usbio.pool import InterfacePool
from ippusbd.wire import ipp
from ippusbd.wire.ipp_requests import request as ipp_request

HOST = (("Host", "localhost:60000"),)
IPP = (*HOST, ("Content-Type", "application/ipp"))
PRINT_JOB = ipp.encode(ipp_request(ipp.Operation.PRINT_JOB, "ipp://localhost/ipp/print"))
QUESTION = ipp.encode(ipp_request(ipp.Operation.GET_JOBS, "ipp://localhost/ipp/print"))
LAST_CHUNK = b"0\r\n\r\n"


def ok(body: bytes, kind: str = "application/ipp") -> bytes:
    fields = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\n" + fields.encode() + body


def job_answer(number: int = 42, code: int = 0) -> bytes:
    group = ipp.Group(ipp.Tag.JOB, (ipp.attribute("job-id", ipp.integer(number)),))
    return ok(ipp.encode(ipp.Message(code, 1, (group,))))


class Upload:
    """A client's document, of which `parts` arrive; then the client leaves, or `whole`: is done."""

    def __init__(self, *parts: bytes, whole: bool = False) -> None:
        self.parts = list(parts)
        self.whole = whole
        self.left = asyncio.Event()

    async def stream(self) -> AsyncIterator[bytes]:
        while self.parts:
            yield self.parts.pop(0)
        if not self.whole:
            await self.left.wait()
            raise ClientGone("left")

    def request(self, pending: PendingCancels | None = None) -> Request:
        return Request(
            "POST",
            "/ipp/print",
            IPP,
            stream=self.stream(),
            arrived=lambda: self.whole,
            job=InterruptedJob("/ipp/print", IPP),
            pending_cancels=pending,
        )


async def leave(exchange: Exchange, pool: InterfacePool | None = None) -> None:
    """The client's handler is cancelled where it is."""
    answering = asyncio.create_task(exchange.answer())
    for _ in range(20):
        await asyncio.sleep(0)
    answering.cancel()
    await asyncio.wait([answering])


async def test_a_document_that_arrived_completely_is_sent_and_not_cancelled():
    channel = FakeChannel()
    channel.stop_taking()
    exchange = Exchange(channel, Upload(PRINT_JOB, b"whole ", b"document", whole=True).request())
    await leave(exchange)
    channel.hear = lambda c, data: c.say(job_answer()) if data == LAST_CHUNK else None
    channel.take_again()
    async with asyncio.timeout(5):
        await exchange.finish(1)
    assert bytes(channel.sent).endswith(b"8\r\ndocument\r\n" + LAST_CHUNK)
    assert not exchange.cut


async def test_a_whole_document_waits_for_paper_though_its_client_left():
    channel, paper_out = FakeChannel(), [True]
    channel.stop_taking()
    exchange = Exchange(channel, Upload(PRINT_JOB, b"whole", whole=True).request())
    await leave(exchange)
    finishing = asyncio.create_task(exchange.finish(0.02, lambda: paper_out[0]))
    await asyncio.sleep(0.2)
    assert not finishing.done()
    channel.hear = lambda c, data: c.say(job_answer()) if data == LAST_CHUNK else None
    channel.take_again()
    async with asyncio.timeout(5):
        await finishing
    assert not exchange.cut


async def test_a_cut_document_is_cancelled():
    channel, upload = FakeChannel(), Upload(PRINT_JOB, b"half")
    channel.hear = lambda c, data: (
        c.say(job_answer()) if data == LAST_CHUNK or b"Content-Length" in data else None
    )
    exchange = Exchange(channel, upload.request())
    await leave(exchange)
    async with asyncio.timeout(5):
        await exchange.finish(1)
    cancel, _ = ipp.decode(bytes(channel.sent).rpartition(b"\r\n\r\n")[2])
    assert cancel.code == ipp.Operation.CANCEL_JOB


@pytest.mark.parametrize("body", [b"", b"\x01\x01", b"<html>", ipp.encode(ipp.Message(0, 1))])
@pytest.mark.parametrize(("upload", "kept"), [(PRINT_JOB, 1), (QUESTION, 0), (b"%PDF", 0)])
async def test_a_cut_document_is_to_be_looked_up_when_its_answer_names_no_job(
    upload: bytes, kept: int, body: bytes
):
    channel, pending = FakeChannel(), PendingCancels()
    channel.hear = lambda c, data: c.say(ok(body)) if data == LAST_CHUNK else None
    exchange = Exchange(channel, Upload(upload, b"half").request(pending))
    await leave(exchange)
    async with asyncio.timeout(5):
        await exchange.finish(1)
    assert len(pending) == kept


@pytest.mark.parametrize("where", ["in a write", "between two writes"])
async def test_a_document_lost_with_an_interface_leaves_a_pending_cancellation(
    where: str,
):
    channel, upload, pending = FakeChannel(), Upload(PRINT_JOB, b"half"), PendingCancels()
    if where == "in a write":
        channel.hear = lambda c, data: c.stop_taking() if PRINT_JOB in data else None
    exchange = Exchange(channel, upload.request(pending))
    answering = asyncio.create_task(exchange.answer())
    for _ in range(20):
        await asyncio.sleep(0)
    channel.fail(TransferTimeout("unresponsive"))
    with pytest.raises(TransferTimeout):
        await answering
    with pytest.raises((TransferTimeout, PrinterSilent)):
        await exchange.finish(0.05)
    assert len(pending) == 1


@pytest.mark.parametrize(
    ("answer", "pending_count"),
    [
        (job_answer(code=0x0507), 1),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 1),
        (ok(b"<html>"), 1),
        (job_answer(), 0),
        (job_answer(code=0x0404), 0),
    ],
    ids=["busy", "503", "no IPP", "cancelled", "over"],
)
async def test_only_a_confirmed_cancellation_counts(answer: bytes, pending_count: int):
    channel, upload, pending = FakeChannel(), Upload(PRINT_JOB, b"half"), PendingCancels()

    def printer(c: FakeChannel, data: bytes) -> None:
        if data == LAST_CHUNK:
            c.say(job_answer())
        elif b"Content-Length" in data:
            c.say(answer)

    channel.hear = printer
    exchange = Exchange(channel, upload.request(pending))
    await leave(exchange)
    async with asyncio.timeout(5):
        await exchange.finish(1)
    assert len(pending) == pending_count


async def test_an_interface_failing_after_an_early_refusal_is_recovered_before_the_next_request():
    """The next client's print must not fail because of the last one's."""
    channel = FakeChannel()
    pool = InterfacePool([channel], drain_s=1)
    channel.say(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    upload = Upload(PRINT_JOB, b"x" * 100)
    async with pool.lease(wait_s=1) as lease:
        exchange = lease.unfinished = Exchange(lease.channel, upload.request())
        channel.discard = lambda: 0  # type: ignore[method-assign]
        channel.stop_taking()
        head = await exchange.answer()
        assert head.status == 503
        async for _ in exchange.chunks():
            pass
        channel.fail(TransferFailed("stall on OUT"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not exchange.complete
    async with pool.lease(wait_s=5) as lease:
        assert channel.resets == 1
    await pool.close()


@pytest.mark.parametrize(
    ("method", "target", "left"),
    [("POST", "/eSCL/ScanJobs", 1), ("POST", "/eSCL/other", 0), ("GET", "/eSCL/ScanJobs", 0)],
)
async def test_a_scan_job_whose_client_was_not_told_of_it_is_to_be_deleted(
    method: str, target: str, left: int
):
    channel, pending = FakeChannel(), PendingCancels()
    exchange = Exchange(channel, Request(method, target, HOST, pending_cancels=pending))
    await leave(exchange)
    channel.say(
        b"HTTP/1.1 201 Created\r\nLocation: http://localhost/eSCL/ScanJobs/7\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    async with asyncio.timeout(5):
        await exchange.finish(1)
    assert len(pending) == left


# --- answers without length and chunks


HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: %b\r\n\r\n"


async def read(exchange: Exchange) -> bytes:
    await exchange.answer()
    return b"".join([data async for data in exchange.chunks()])


@pytest.mark.parametrize(
    ("kind", "body", "after_s"),
    [(b"text/xml", b"<all/>", 2), (b"text/xml", b"<half>", 20), (b"text/plain", b"all?", 20)],
)
def test_an_answer_that_ends_by_silence_ends_sooner_when_it_looks_whole(
    kind: bytes, body: bytes, after_s: float
):
    async def story() -> None:
        channel, loop = FakeChannel(), asyncio.get_running_loop()
        channel.hear = lambda c, _: c.say(HEAD % kind + body)
        began = loop.time()
        exchange = Exchange(channel, Request("GET", "/", HOST))
        if body.endswith(b"<half>"):
            loop.call_later(15, channel.say, b"</half>")
            assert await read(exchange) == b"<half></half>"
        else:
            assert await read(exchange) == body
            assert loop.time() - began == pytest.approx(after_s, abs=0.5)

    told(story)


def test_the_late_rest_of_such_an_answer_never_reaches_the_next_client():
    async def story() -> None:
        channel = FakeChannel()
        pool = InterfacePool([channel], drain_s=30)
        channel.hear = lambda c, _: c.say(HEAD % b"text/xml" + b"<looks-whole/>")
        async with pool.lease(wait_s=1) as lease:
            exchange = lease.unfinished = Exchange(lease.channel, Request("GET", "/", HOST))
            await read(exchange)
            assert not exchange.complete
        async with pool.lease(wait_s=1):
            assert channel.resets == 1
        await pool.close()

    told(story)
