"""An exchange ends only when both directions did; a lost client's exchange is finished."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.fake_channel import FakeChannel
from support.time_lapse import told

from ippusbd.aio import run
from ippusbd.errors import BadResponse, ClientGone, DeviceGone, PrinterSilent
from ippusbd.exchange.exchange import Exchange, InterruptedJob
from ippusbd.exchange.pending_cancels import PendingCancels
from ippusbd.exchange.request import Request
from ippusbd.exchange.traffic import Traffic
from ippusbd.usbio.pool import InterfacePool
from ippusbd.wire import ipp
from ippusbd.wire.http1_response import ResponseParser
from ippusbd.wire.ipp_requests import request

HOST = (("Host", "localhost:60000"),)
GET = Request("GET", "/", HOST)


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def whole(exchange: Exchange) -> bytes:
    await exchange.answer()
    return b"".join([data async for data in exchange.chunks()])


async def pieces(*parts: bytes, failure: Exception | None = None) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if failure is not None:
        raise failure


async def never() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def ask(pool: InterfacePool, request: Request) -> bytes:
    async with pool.lease(wait_s=5) as lease:
        exchange = Exchange(lease.channel, request)
        lease.unfinished = exchange
        try:
            body = await whole(exchange)
            await exchange.sent()
        finally:
            if exchange.complete:
                lease.unfinished = None
        return body


async def lose(pool: InterfacePool, request: Request) -> None:
    """A client that leaves as soon as its request is being sent."""

    async def client() -> None:
        await ask(pool, request)

    task = asyncio.create_task(client())
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


async def test_a_request_is_sent_completely_and_its_answer_returned():
    channel = FakeChannel()
    exchange = Exchange(channel, Request("POST", "/ipp/print", HOST, b"question"))
    channel.hear = lambda c, _: c.say(
        b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 5\r\n\r\nhel", b"lo"
    )
    assert await whole(exchange) == b"hello"
    await exchange.sent()
    assert exchange.complete
    assert bytes(channel.sent).startswith(b"POST /ipp/print HTTP/1.1\r\nHost: localhost:60000\r\n")
    assert bytes(channel.sent).endswith(b"Content-Length: 8\r\n\r\nquestion")


async def test_stale_bytes_never_become_the_answer():
    channel = FakeChannel([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nSTALE"])
    channel.hear = lambda c, _: c.say(ok(b"fresh"))
    assert await whole(Exchange(channel, GET)) == b"fresh"


async def test_next_client_never_reads_the_lost_clients_answer():
    channel = FakeChannel()
    pool = InterfacePool([channel], drain_s=1)
    await lose(pool, GET)

    channel.hear = lambda c, _: c.say(ok(b"SECOND"))
    second = asyncio.create_task(ask(pool, GET))
    channel.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nfi", b"rst\r\n")
    await asyncio.sleep(0.01)
    assert not second.done()  # the first answer is not over
    channel.say(b"0\r\n\r\n")
    assert await second == b"SECOND"
    assert channel.resets == 0
    await pool.close()


async def test_a_large_body_goes_out_in_chunks():
    channel = FakeChannel()
    channel.hear = lambda c, data: c.say(ok(b"done")) if data == b"0\r\n\r\n" else None
    exchange = Exchange(channel, Request("POST", "/", HOST, stream=pieces(b"abc", b"defg")))
    assert await whole(exchange) == b"done"
    await exchange.sent()
    assert not exchange.cut
    sent = bytes(channel.sent)
    assert b"Transfer-Encoding: chunked\r\n" in sent
    assert sent.endswith(b"\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")


async def test_the_answer_is_read_while_the_printer_takes_no_more_of_the_body():
    channel = FakeChannel()

    def refuse(printer: FakeChannel, _: bytes) -> None:
        printer.stop_taking()
        printer.say(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")

    channel.hear = refuse
    exchange = Exchange(channel, Request("POST", "/", HOST, stream=pieces(b"x" * 10, b"y" * 10)))
    assert (await exchange.answer()).status == 401
    assert [data async for data in exchange.chunks()] == [b"no"]
    assert not exchange.complete  # the last chunk is not sent yet

    channel.hear = None
    channel.take_again()
    await exchange.finish(1)
    assert bytes(channel.sent).endswith(b"0\r\n\r\n")
    assert exchange.complete


async def test_an_early_refusal_stops_waiting_for_a_slow_clients_body():
    channel = FakeChannel()
    channel.hear = lambda c, data: c.say(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
    exchange = Exchange(channel, Request("POST", "/", HOST, stream=never()))
    assert (await exchange.answer()).status == 417
    async for _ in exchange.chunks():
        pass
    await exchange.finish(1)
    assert bytes(channel.sent).endswith(b"\r\n\r\n0\r\n\r\n")
    assert exchange.cut


def print_job(document: bytes = b"%PDF") -> bytes:
    return ipp.encode(request(ipp.Operation.PRINT_JOB, "ipp://localhost/ipp/print")) + document


def job_answer(job_id: int) -> bytes:
    made = ipp.Group(ipp.Tag.JOB, (ipp.attribute("job-id", ipp.integer(job_id)),))
    return ok(ipp.encode(ipp.Message(0, 1, (made,))))


async def test_the_job_of_a_cut_upload_is_cancelled_with_the_job_id_of_its_answer():
    channel = FakeChannel()

    def printer(c: FakeChannel, data: bytes) -> None:
        if data.endswith(b"0\r\n\r\n"):
            c.say(job_answer(42))
        elif b"Content-Length" in data:  # the Cancel-Job
            c.say(ok(b""))

    channel.hear = printer
    stream = pieces(print_job(), b"half", failure=ClientGone("left"))
    cut = Request("POST", "/ipp/print", HOST, stream=stream, job=InterruptedJob("/ipp/print", HOST))
    exchange = Exchange(channel, cut)
    async with asyncio.timeout(5):
        await exchange.answer()
        await exchange.finish(1)

    cancel = bytes(channel.sent).split(b"0\r\n\r\n", 1)[1]
    head, body = cancel.split(b"\r\n\r\n", 1)
    assert head.startswith(b"POST /ipp/print HTTP/1.1\r\n")
    message, _ = ipp.decode(body)
    assert message.code == ipp.Operation.CANCEL_JOB
    assert message.first_integer(ipp.Tag.OPERATION, "job-id") == 42


async def test_a_cancellation_that_the_printer_does_not_get_is_kept_pending():
    channel, pending_cancels = FakeChannel(), PendingCancels()

    def printer(c: FakeChannel, data: bytes) -> None:
        if data.endswith(b"0\r\n\r\n"):
            c.say(job_answer(42))
        elif b"Content-Length" in data:  # the Cancel-Job
            c.say(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

    channel.hear = printer
    stream = pieces(print_job(), b"half", failure=ClientGone("left"))
    job = InterruptedJob("/ipp/print", HOST)
    exchange = Exchange(
        channel,
        Request(
            "POST", "/ipp/print", HOST, stream=stream, job=job, pending_cancels=pending_cancels
        ),
    )
    async with asyncio.timeout(5):
        await exchange.answer()
        await exchange.finish(1)
    assert len(pending_cancels) == 1


async def test_a_stalled_answer_is_given_up():
    channel = FakeChannel([])
    exchange = Exchange(channel, GET)
    answering = asyncio.create_task(exchange.answer())
    await asyncio.sleep(0)
    channel.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal")
    await answering
    with pytest.raises(PrinterSilent):
        await exchange.finish(0.01)


async def test_finishing_goes_on_as_long_as_bytes_move():
    channel = FakeChannel()
    exchange = Exchange(channel, GET)
    answering = asyncio.create_task(exchange.answer())
    await asyncio.sleep(0)
    channel.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    await answering
    settling = asyncio.create_task(exchange.finish(0.1))
    for letter in (b"s", b"l", b"o", b"w", b"!"):
        await asyncio.sleep(0.05)
        channel.say(letter)
    await settling
    assert exchange.complete


async def test_an_unplug_ends_the_exchange():
    channel = FakeChannel()
    channel.hear = lambda c, _: c.fail(DeviceGone("unplugged"))
    with pytest.raises(DeviceGone):
        await Exchange(channel, GET).answer()


async def test_a_cut_response_is_an_error_where_a_quirk_says_when_it_is_over():
    channel = FakeChannel()
    channel.hear = lambda c, _: c.say(b"HTTP/1.1 503 Busy\r\nContent-Length: 99\r\n\r\ncut")
    exchange = Exchange(channel, GET, cut_response_s=0.02)
    await exchange.answer()
    with pytest.raises(BadResponse):
        async for _ in exchange.chunks():
            pass


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 4\r\n"])
def test_silence_ends_no_success_while_the_document_is_sent(framing: bytes):
    """The printer answers at once and goes on with its answer when it has the document."""

    async def slow() -> AsyncIterator[bytes]:
        yield b"half"
        await asyncio.sleep(600)
        yield b"half"

    def printer(channel: FakeChannel, data: bytes) -> None:
        if data.startswith(b"POST"):
            channel.say(b"HTTP/1.1 200 OK\r\n%b\r\n" % framing)
        elif data.endswith(b"0\r\n\r\n"):
            channel.say(b"done")

    async def story() -> None:
        channel = FakeChannel()
        channel.hear = printer
        upload = Request("POST", "/ipp/print", HOST, stream=slow())
        exchange = Exchange(channel, upload, cut_response_s=None if not framing else 5.0)
        assert await whole(exchange) == b"done"

    told(story)


@pytest.mark.parametrize("end", range(0, 60))
async def test_a_client_lost_at_any_byte_of_the_answer_harms_no_other(end: int):
    answer = ok(b"the first client's answer")
    channel = FakeChannel()
    pool = InterfacePool([channel], drain_s=5)
    await lose(pool, GET)  # it left before the first byte
    channel.say(answer[:end])
    await asyncio.sleep(0)
    channel.hear = lambda c, _: c.say(ok(b"mine"))
    mine = asyncio.create_task(ask(pool, GET))
    await asyncio.sleep(0)
    channel.say(answer[end:])
    assert await mine == b"mine"
    assert channel.resets == 0
    await pool.close()


def test_the_story_above_covers_every_byte():
    parser = ResponseParser("GET")
    parser.feed(ok(b"the first client's answer"))
    assert parser.done
    assert len(ok(b"the first client's answer")) <= 64


def test_a_refused_document_leaves_the_one_that_ended_in_the_same_moment():
    question = bytes.fromhex("0101000200000001") + b"\x03document"  # Print-Job
    answer = bytes.fromhex("0101000000000001") + b"\x03"

    async def story() -> tuple[float, float]:
        traffic, channels = Traffic(), [FakeChannel(number=0), FakeChannel(number=1)]
        headers = (*HOST, ("Content-Type", "application/ipp"))
        job = Request("POST", "/ipp/print", headers, question)
        refused, taken = (Exchange(channel, job, traffic) for channel in channels)
        works = [asyncio.create_task(whole(exchange)) for exchange in (refused, taken)]
        await asyncio.sleep(0)  # they begin
        await asyncio.gather(refused.sent(), taken.sent())
        sent_at = traffic.document_at
        channels[1].say(ok(answer))
        await works[1]
        channels[0].say(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        await works[0]
        return sent_at, traffic.document_at

    sent_at, document_at = run(story())  # with the daemon's loop, which looks seldom at its clock
    assert document_at == sent_at > 0
