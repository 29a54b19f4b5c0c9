"""One HTTP exchange on one leased interface.

Reading starts when writing starts: a printer may answer early and accept no
more of the body until its answer was read. The exchange is over when the
request was sent and the response read to the end; when the client leaves
before, the pool finishes it with `finish`.

An upload whose client left before its last byte came is terminated properly
(chunked framing), and, because the printer would take the cut document for a
complete one, the job of its answer is cancelled. A document that arrived
completely stays so, even if its client left afterwards. A scan job whose client
left before it was told of the job is deleted.

Knows `Channel` and wire; never aiohttp, never pyusb.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from ippusbd.aio import cancel_and_wait, retrieve_exception
from ippusbd.errors import ClientGone, IppUsbError, PrinterSilent
from ippusbd.exchange.interrupted_job import (
    IPP_HEAD,
    InterruptedJob,
    cancellation,
    created_scan_job,
    is_cancelled,
    is_refusal,
)
from ippusbd.exchange.request import Request
from ippusbd.exchange.traffic import Traffic
from ippusbd.model import Awaits
from ippusbd.usbio.pool_types import About, Purpose
from ippusbd.usbio.protocols import Channel
from ippusbd.wire.http1 import BODILESS, LAST_CHUNK, Framing, chunk, encode_request
from ippusbd.wire.http1_response import BodyFraming, Head, ResponseParser
from ippusbd.wire.whole import FIRST, TAIL, looks_whole

log = logging.getLogger("ippusbd.http")

SURPLUS_QUIET_S, SURPLUS_MAX = 0.05, 64 << 20  # of bytes after the end of an answer
EOF_QUIET_S = 2.0  # a response without framing that looks complete is over after this silence
EOF_CUT_S = 20.0  # one that does not


class Exchange:
    """Sends `request` and reads its answer on `channel`."""

    def __init__(
        self,
        channel: Channel,
        request: Request,
        traffic: Traffic | None = None,
        *,
        cut_response_s: float | None = None,
        head_timeout_s: float = 0.0,
    ) -> None:
        self._channel = channel
        self._request = request
        self.purpose = request.purpose
        self._traffic = traffic or Traffic()
        self._cut_response_s = cut_response_s
        self._head_timeout_s = head_timeout_s  # 0: without limit
        self._loop = asyncio.get_running_loop()
        self._parser = ResponseParser(request.method)
        self._writer: asyncio.Task[None] | None = None
        self._pulling = False
        self._in_write = False
        self._in_read = False
        self.received = 0
        self._sent_bytes = 0
        self._enough = False  # the rest of the upload is not wanted
        self._client_left = False
        self._delivered = False  # the client has all that it needs of the answer
        self._began = False  # bytes of the body went to the printer
        self._whole = False  # all that the client meant to send went there
        self._first, self._tail = b"", b""  # of the answer, to see whether it looks whole
        self._ended_by_silence = False
        self._answer_head = bytearray()
        self._kept_cancellation = False
        self._document_at = self._document_before = -1.0  # of ours, of the one before
        self._began_at = self._moved_at = 0.0  # in the loop's time
        self.progress = 0  # moves whenever a byte moved

    @property
    def complete(self) -> bool:
        """The interface is free: sent to the end and read to a provable end, without a failure."""
        ended = self._parser.done and not self._ended_by_silence and not self._surplus
        return ended and self.written

    @property
    def _surplus(self) -> bool:
        """Bytes followed the answer, and more may be on their way; not so after an empty line."""
        return bool(self._parser.surplus.strip())

    @property
    def written(self) -> bool:
        """The writer came to its end without a failure."""
        writer = self._writer
        return (
            writer is not None
            and writer.done()
            and not writer.cancelled()
            and writer.exception() is None
        )

    @property
    def cut(self) -> bool:
        """The printer got less than the client meant to send."""
        return self._began and not self._whole

    @property
    def upload_over(self) -> bool:
        """The writer came to its end, or failed."""
        return self._writer is not None and self._writer.done()

    async def answer(self) -> Head:
        """Start sending, and wait for the final head of the response.

        Raises BadResponse, PrinterSilent, or what the channel raises.
        """
        stale = self._channel.discard()
        if stale:
            log.info("interface %d: discarded %d stale bytes", self._channel.number, stale)
        self._traffic.requests += 1
        self._began_at = self._moved_at = self._loop.time()
        self._writer = self._loop.create_task(self._send(), name="exchange-writer")
        self._writer.add_done_callback(retrieve_exception)
        if not self._head_timeout_s:
            return await self._read_head()
        try:
            async with asyncio.timeout(None) as deadline:
                self._writer.add_done_callback(lambda _: self._set(deadline))
                return await self._read_head()
        except TimeoutError:
            raise PrinterSilent(f"no response began within {self._head_timeout_s:g} s") from None

    async def _read_head(self) -> Head:
        while self._parser.head is None:
            await self._read_more()
        if not self._parser.done:  # the printer sends on while the head is looked at
            self._channel.read_ahead(self._parser.due, exact=self._parser.due_exactly)
        return self._parser.head

    def _set(self, deadline: asyncio.Timeout) -> None:
        """The request is sent: the printer has to begin its answer now."""
        if self._parser.head is None:
            now = self._loop.time()
            with contextlib.suppress(RuntimeError):  # the wait for an answer is over
                deadline.reschedule(now + self._head_timeout_s)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, decoded, as it comes. At its end the upload is stopped if it was refused."""
        while True:
            data = self._parser.take()
            if data:
                self._note_answer(data)
                yield data
            elif self._parser.done:
                break
            else:
                await self._read_more()
        self._finish_reading()

    async def sent(self) -> None:
        """Wait until the upload is over; raises its failure."""
        if self._writer is not None:
            await asyncio.shield(self._writer)

    @property
    def awaits(self) -> Awaits:
        """What the exchange waits for."""
        if self._in_write:
            return Awaits.PRINTER_TAKES
        if self._in_read and self.upload_over:
            return Awaits.PRINTER_ANSWERS
        return Awaits.CLIENT_SENDS if self._pulling else Awaits.CLIENT_READS

    @property
    def about(self) -> About:
        """See `Unfinished`."""
        return replace(
            self._request.about(self._began_at),
            moved_at=self._moved_at,
            bytes_out=self._sent_bytes,
            bytes_in=self.received,
        )

    @property
    def operation(self) -> int | None:
        """The IPP operation of a question; None: it is streamed, or no IPP."""
        return self._request.operation

    @property
    def repeatable(self) -> bool:
        """The request changes nothing at the printer, and can be sent again."""
        return self._request.repeatable

    @property
    def whole(self) -> bool:
        """All of the request was there before it began."""
        return self._request.stream is None

    @property
    def untouched(self) -> bool:
        """Not a byte of an answer has arrived."""
        return not self.received

    @property
    def head(self) -> Head | None:
        """Of the answer, as soon as it is there."""
        return self._parser.head

    @property
    def taken(self) -> bool:
        """The printer took the request to its end."""
        return self.written and not self.cut

    async def stop(self) -> None:
        """Give up: no more is sent; the interface then needs a reset."""
        if self._writer is not None:
            await cancel_and_wait(self._writer)

    async def let_client_go(self) -> None:
        """Read no more of the client's body; the server, which answers it, may."""
        self._stop_upload()
        while self._pulling:  # noqa: ASYNC110 -- two steps of the loop, until the writer heard it
            await asyncio.sleep(0)

    def client_has_answer(self) -> None:
        """What the client needs of the answer is with it: nothing has to be undone."""
        self._delivered = True

    def give_up(self) -> None:
        """See `Unfinished`."""
        self._keep_cancellation()
        self._enough = True
        if self._writer is not None:
            self._writer.cancel()

    async def finish(self, quiet_s: float, excused: Callable[[], bool] = lambda: False) -> None:
        """Bring the exchange to its end without its client; see `Unfinished`."""
        self._client_left = True
        try:
            await self._finish(quiet_s, excused)
        except (IppUsbError, asyncio.CancelledError):
            self._keep_cancellation()
            raise

    def _keep_cancellation(self) -> None:
        """The printer may print half a document, and its Cancel-Job could not be sent."""
        job, pending = self._request.job, self._request.pending_cancels
        settled = not self.cut or self.refused or self._kept_cancellation
        if settled or pending is None or job is None or job.asked is None:  # it creates no job
            return
        began_s, cut_s = self._loop.time() - self._began_at, self._loop.time() - self._moved_at
        pending.add(job, bytes(self._answer_head), began_s=began_s, cut_s=cut_s)
        self._kept_cancellation = True

    async def _finish(self, quiet_s: float, excused: Callable[[], bool]) -> None:
        self._stop_upload()
        request = self._request

        def waits() -> bool:
            """The printer has, or gets, all of the request, and a reason to let it wait."""
            return (request.stream is None or request.arrived()) and excused()

        reader = self._loop.create_task(self._read_to_end())
        try:
            await self._while_moving(reader, quiet_s, waits)
            if self._writer is not None:
                await self._while_moving(self._writer, quiet_s, waits)
        finally:
            await cancel_and_wait(reader)
            if self._writer is not None:
                await cancel_and_wait(self._writer)
        self._channel.rest()
        if self._ended_by_silence:  # the rest, if any, must not reach the next client
            await self._channel.reset()
        elif self._surplus:
            await self._channel.drain(SURPLUS_QUIET_S, SURPLUS_MAX)
        if not self.refused:
            await self._undo(quiet_s)

    # --- writing

    async def _send(self) -> None:
        """The writer task: the head with the first bytes of the body, then the rest."""
        request = self._request
        framing = Framing.CHUNKED if request.stream is not None else Framing.LENGTH
        if request.stream is None and not request.body and request.method in BODILESS:
            framing = Framing.NONE
        head = encode_request(
            request.method,
            request.target,
            request.headers,
            framing=framing,
            length=len(request.body),
            connection=request.connection,
        )
        if request.stream is None:
            self._sends(request.body)
            await self._write(head + request.body)
            self._all_is_sent()
            return
        await self._write(head)
        self._sends(b"")
        data = await self._pull(request.stream)
        while data:
            self._sends(data)
            # What the client sends meanwhile is collected by its connection: the slower the
            # printer, the larger, and so the fewer, the writes.
            await self._write(chunk(data))
            data = await self._pull(request.stream)
        await self._write(LAST_CHUNK)
        if data is None:
            self._all_is_sent()

    def _all_is_sent(self) -> None:
        self._whole = True
        if self.purpose is Purpose.DOCUMENT:
            self._document_before, self._document_at = self._traffic.document_at, self._moved_at
            self._traffic.document(self._document_at)

    def _sends(self, data: bytes) -> None:
        """`data` of the body is about to go to the printer, all of it or a part."""
        self._began = True
        if self._request.job is not None:
            self._request.job.sent(data)

    async def _pull(self, stream: AsyncIterator[bytes]) -> bytes | None:
        """The next bytes of the client's body; None at its end, b"" when it is cut there."""
        if self._unwanted():
            return b""
        self._pulling = True
        try:
            return await anext(stream, None)
        except ClientGone:
            return b""
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._unwanted() or task is None:
                raise
            task.uncancel()
            return b""
        finally:
            self._pulling = False

    def _unwanted(self) -> bool:
        """Whether the rest of the upload is not to be sent; may change at every await.

        A document whose last byte is here is sent to the end though its client left.
        """
        whole = self._client_left and not self.refused and self._request.arrived()
        return self._enough and not whole

    async def _write(self, data: bytes) -> None:
        self._in_write = True
        try:
            await self._channel.write(data)
        finally:
            self._in_write = False
        self._traffic.bytes_out += len(data)
        self._sent_bytes += len(data)
        self._moved()
        # That an endpoint accepts a question is no proof that the firmware reads it.
        if self._began and (self._request.stream is not None or self.purpose is Purpose.DOCUMENT):
            self._traffic.moved_at = self._moved_at

    def _stop_upload(self) -> None:
        """Send no more of the body than what is on its way; end the framing."""
        self._enough = True
        if self._pulling and self._unwanted() and self._writer is not None:
            self._writer.cancel()

    def _moved(self) -> None:
        self.progress += 1
        self._moved_at = self._loop.time()

    # --- reading

    async def _read_more(self) -> None:
        parser, silence_s = self._parser, self._allowed_silence_s()
        try:
            self._in_read = True
            async with (
                contextlib.nullcontext() if silence_s is None else asyncio.timeout(silence_s)
            ):
                data = await self._channel.read(parser.due, exact=parser.due_exactly)
        except TimeoutError:
            if not (self.upload_over or self.refused):
                return  # it goes on when it has the document
            complete = parser.body_complete
            parser.end_of_stream()  # raises where the framing promised more
            self._ended_by_silence = not complete
            return
        finally:
            self._in_read = False
        self._traffic.bytes_in += len(data)
        self.received += len(data)
        self._moved()
        self._traffic.moved_at = self._moved_at
        parser.feed(data)

    def _allowed_silence_s(self) -> float | None:
        """How long without a byte until the response is over; None: its framing ends it."""
        head = self._parser.head
        if head is None:
            return None
        if self._parser.body_complete:
            return EOF_QUIET_S  # all is there but the last line of chunked framing
        if head.framing is BodyFraming.EOF:
            whole = looks_whole(head.value("Content-Type"), self._first, self._tail)
            return EOF_QUIET_S if whole else EOF_CUT_S
        return self._cut_response_s

    async def _read_to_end(self) -> None:
        async for _ in self.chunks():
            pass

    def _note_answer(self, data: bytes) -> None:
        if self._request.job is not None and len(self._answer_head) < IPP_HEAD:
            self._answer_head += data[: IPP_HEAD - len(self._answer_head)]
        head = self._parser.head
        if data and head is not None and head.framing is BodyFraming.EOF:
            self._first = self._first or data[:FIRST]
            self._tail = (self._tail + data[-TAIL:])[-TAIL:]

    def _finish_reading(self) -> None:
        """The response is over: later bytes belong to no exchange."""
        if surplus := len(self._parser.surplus):
            number = self._channel.number
            log.info("interface %d: %d bytes after the end of the answer", number, surplus)
        self._channel.rest()
        if self.refused and self._traffic.document_at == self._document_at:
            self._traffic.document(self._document_before)  # it is not printed
        if self.refused and not self.upload_over:
            self._stop_upload()  # refused early: the printer wants no more of it

    @property
    def refused(self) -> bool:
        """The printer took nothing of the request: by HTTP, or by IPP in a response 200."""
        head = self._parser.head
        return head is not None and (head.status >= 400 or is_refusal(bytes(self._answer_head)))

    async def _while_moving(
        self, task: asyncio.Task[None], quiet_s: float, excused: Callable[[], bool] = lambda: False
    ) -> None:
        """Wait for `task` as long as bytes move; raises PrinterSilent when none do."""
        while not task.done():
            before = self.progress
            await asyncio.wait([task], timeout=quiet_s)
            if not task.done() and self.progress == before and not excused():
                raise PrinterSilent(f"no byte moved for {quiet_s:g} s")
        await task

    # --- undoing what a lost client began

    async def _undo(self, quiet_s: float) -> None:
        """Cancel the job of a cut document; delete a scan job that its client was not told of."""
        request, head = self._request, self._parser.head
        if self.cut and request.job is not None:
            await self._cancel_job(request.job, quiet_s)
        elif head is not None and not self._delivered and request.pending_cancels is not None:
            path = created_scan_job(request.method, request.target, head.value("Location"))
            request.pending_cancels.scan_left(path)

    async def _cancel_job(self, job: InterruptedJob, quiet_s: float) -> None:
        body = cancellation(job, bytes(self._answer_head))
        if body is not None:
            ask = Request("POST", job.target, job.headers, body)
            if is_cancelled(*await self._ask(ask, quiet_s)):
                log.info("interface %d: cancelled the job of a cut upload", self._channel.number)
                return
        self._keep_cancellation()  # it warms up, is busy, or told no job-id

    async def _ask(self, request: Request, quiet_s: float) -> tuple[int, bytes]:
        """Status and body of the answer to a small request of our own on this interface."""
        request = replace(request, connection=self._request.connection)
        exchange, answer = Exchange(self._channel, request, self._traffic), bytearray()

        async def read() -> None:
            await exchange.answer()
            async for data in exchange.chunks():
                answer.extend(data[: IPP_HEAD - len(answer)])
            await exchange.sent()

        reader = self._loop.create_task(read())
        try:
            await exchange._while_moving(reader, quiet_s)
        finally:
            await cancel_and_wait(reader)
        return (exchange.head.status if exchange.head else 0), bytes(answer)
