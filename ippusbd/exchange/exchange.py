"""One HTTP exchange on one leased interface.

Reading starts when writing starts: a printer may answer early and take no
more of the body until its answer was read. The exchange is over when the
request was sent to its end and the response read to its end; who leaves
before hands it to the pool as what is owed, and `settle` brings it there.

An upload that was cut is ended in good order (chunked framing), and, because
the printer would take the cut document for a whole one, the job of its answer
is cancelled.

Knows `Channel` and wire; never aiohttp, never pyusb.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ippusbd.aio import cancel_and_wait, retrieve_exception
from ippusbd.errors import ClientGone, IppUsbError, PrinterSilent
from ippusbd.exchange.idempotent import is_repeatable
from ippusbd.exchange.interrupted_job import IPP_HEAD, InterruptedJob, cancellation
from ippusbd.exchange.pending_cancels import PendingCancels
from ippusbd.usbio.protocols import Channel
from ippusbd.wire.http1 import BODILESS, LAST_CHUNK, Framing, chunk, encode_request
from ippusbd.wire.http1_response import BodyFraming, Head, ResponseParser

log = logging.getLogger("ippusbd.http")

EOF_QUIET_S = 2.0  # a response without framing is over after so much silence


@dataclass(frozen=True, slots=True)
class Request:
    """What goes to the printer: `body` is sent with its length, `stream` in chunks.

    `job` is set when the stream carries a document: how to cancel it when it is cut.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    connection: str | None = None
    job: InterruptedJob | None = None
    pending_cancels: PendingCancels | None = None  # where its cancellation is kept when it is lost

    @property
    def repeatable(self) -> bool:
        """Sent twice it does nothing twice, and all of it is here to be sent again."""
        known = self.stream is None
        return known and is_repeatable(self.method, self.target, self.headers, self.body)


@dataclass(slots=True)
class Traffic:
    """Bytes of bodies and heads, both ways, since start."""

    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


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
        self._traffic = traffic or Traffic()
        self._cut_response_s = cut_response_s
        self._head_timeout_s = head_timeout_s  # 0: as long as it likes
        self._parser = ResponseParser(request.method)
        self._writer: asyncio.Task[None] | None = None
        self._pulling = False
        self._in_write = False
        self._in_read = False
        self._received = 0
        self._enough = False  # the rest of the upload is not wanted
        self._answer_head = bytearray()
        self._kept_cancellation = False
        self.cut = False  # the printer got less than the client had to say
        self.progress = 0  # moves whenever a byte moved

    @property
    def complete(self) -> bool:
        """Nothing is owed: sent to the end and read to the end."""
        return self._parser.done and self._sent

    @property
    def _sent(self) -> bool:
        return self._writer is not None and self._writer.done()

    async def answer(self) -> Head:
        """Start sending, and wait for the final head of the response.

        Raises BadResponse, PrinterSilent, or what the channel raises.
        """
        stale = self._channel.discard()
        if stale:
            log.info("interface %d: threw away %d stale bytes", self._channel.number, stale)
        self._traffic.requests += 1
        self._writer = asyncio.get_running_loop().create_task(self._send(), name="exchange-writer")
        self._writer.add_done_callback(retrieve_exception)
        try:
            async with asyncio.timeout(None) as deadline:
                self._writer.add_done_callback(lambda _: self._set(deadline))
                while self._parser.head is None:
                    await self._read_more()
                return self._parser.head
        except TimeoutError:
            raise PrinterSilent(f"no answer began within {self._head_timeout_s:g} s") from None

    def _set(self, deadline: asyncio.Timeout) -> None:
        """From now on it is the printer's turn to begin its answer."""
        if self._head_timeout_s and self._parser.head is None:
            now = asyncio.get_running_loop().time()
            with contextlib.suppress(RuntimeError):  # nobody waits for an answer any more
                deadline.reschedule(now + self._head_timeout_s)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, decoded, as it comes. At its end the upload is stopped if it was refused."""
        while True:
            data = self._parser.take()
            if data:
                self._keep_answer(data)
                yield data
            elif self._parser.done:
                break
            else:
                await self._read_more()
        self._finish_reading()

    async def sent(self) -> None:
        """Wait until the upload is over; raises what ended it."""
        if self._writer is not None:
            await asyncio.shield(self._writer)

    @property
    def awaits_printer(self) -> bool:
        """It is the printer's turn: to take bytes, or, after all were sent, to give some."""
        return self._in_write or (self._in_read and self._sent)

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
        """Not a byte of an answer came."""
        return not self._received

    @property
    def heard(self) -> bool:
        """The head of an answer is there."""
        return self._parser.head is not None

    @property
    def head(self) -> Head | None:
        """Of the answer, as soon as it is there."""
        return self._parser.head

    @property
    def taken(self) -> bool:
        """The printer took the request to its end."""
        writer = self._writer
        sent = writer is not None and writer.done() and not writer.cancelled()
        return sent and writer is not None and writer.exception() is None and not self.cut

    async def stop(self) -> None:
        """Give up: no more is sent; the interface then needs a reset."""
        if self._writer is not None:
            await cancel_and_wait(self._writer)

    async def let_client_go(self) -> None:
        """Read no more of the client's body; the server, which answers it, may."""
        self._stop_upload()
        while self._pulling:  # noqa: ASYNC110 -- two steps of the loop, until the writer heard it
            await asyncio.sleep(0)

    def give_up(self) -> None:
        """See `Owed`."""
        self._keep_cancellation()
        self._enough = True
        if self._writer is not None:
            self._writer.cancel()

    async def finish(self, quiet_s: float) -> None:
        """Bring the exchange to its end without its client; see `Owed`."""
        try:
            await self._finish(quiet_s)
        except (IppUsbError, asyncio.CancelledError):
            self._keep_cancellation()
            raise

    def _keep_cancellation(self) -> None:
        """The printer may have half a document for a whole one, and was not told better."""
        job, pending_cancels = self._request.job, self._request.pending_cancels
        if (
            self.cut
            and not self._refused
            and not self._kept_cancellation
            and job
            and pending_cancels is not None
        ):
            pending_cancels.add(job, bytes(self._answer_head))
            self._kept_cancellation = True

    async def _finish(self, quiet_s: float) -> None:
        self._stop_upload()
        reader = asyncio.get_running_loop().create_task(self._read_to_end())
        try:
            await self._while_moving(reader, quiet_s)
            if self._writer is not None:
                await self._while_moving(self._writer, quiet_s)
        finally:
            await cancel_and_wait(reader)
            if self._writer is not None:
                await cancel_and_wait(self._writer)
        self._channel.rest()
        if self.cut and self._request.job is not None and not self._refused:
            await self._cancel_job(self._request.job, quiet_s)

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
            await self._write(head + request.body)
            return
        await self._write(head)
        data = await self._pull(request.stream)
        while data is not None:
            if request.job is not None:
                request.job.sent(data)
            # What the client sends meanwhile is collected by its connection: the slower the
            # printer, the larger, and so the fewer, the writes.
            await self._write(chunk(data))
            data = await self._pull(request.stream)
        await self._write(LAST_CHUNK)

    async def _pull(self, stream: AsyncIterator[bytes]) -> bytes | None:
        """The next bytes of the client's body; None at its end, or when they are not wanted."""
        if self._unwanted():
            self.cut = True
            return None
        self._pulling = True
        try:
            return await anext(stream, None)
        except ClientGone:
            self.cut = True
            return None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._unwanted() or task is None:
                raise
            task.uncancel()
            self.cut = True
            return None
        finally:
            self._pulling = False

    def _unwanted(self) -> bool:
        """Whether the rest of the upload was called off; may change at every await."""
        return self._enough

    async def _write(self, data: bytes) -> None:
        self._in_write = True
        try:
            await self._channel.write(data)
        finally:
            self._in_write = False
        self._traffic.bytes_out += len(data)
        self.progress += 1

    def _stop_upload(self) -> None:
        """Send no more of the body than what is on its way; end the framing."""
        self._enough = True
        if self._pulling and self._writer is not None:
            self._writer.cancel()

    # --- reading

    async def _read_more(self) -> None:
        parser = self._parser
        try:
            self._in_read = True
            async with asyncio.timeout(self._allowed_silence_s()):
                data = await self._channel.read()
        except TimeoutError:
            parser.end_of_stream()  # raises where the framing promised more
            return
        finally:
            self._in_read = False
        self._traffic.bytes_in += len(data)
        self._received += len(data)
        self.progress += 1
        parser.feed(data)

    def _allowed_silence_s(self) -> float | None:
        """After how long without a byte the response is over; None: it must say so itself."""
        head = self._parser.head
        if head is None:
            return None
        if head.framing is BodyFraming.EOF or self._parser.body_complete:
            return EOF_QUIET_S  # all is there but, perhaps, the last line of chunked framing
        return self._cut_response_s

    async def _read_to_end(self) -> None:
        while not self._parser.done:
            self._keep_answer(self._parser.take())
            if not self._parser.done:
                await self._read_more()
        self._keep_answer(self._parser.take())
        self._finish_reading()

    def _keep_answer(self, data: bytes) -> None:
        if self._request.job is not None and len(self._answer_head) < IPP_HEAD:
            self._answer_head += data[: IPP_HEAD - len(self._answer_head)]

    def _finish_reading(self) -> None:
        """The response is over: what follows it belongs to nobody."""
        if self._parser.surplus:
            log.info(
                "interface %d: %d bytes after the end of the answer",
                self._channel.number,
                len(self._parser.surplus),
            )
        self._channel.rest()
        if self._refused and not self._sent:
            self._stop_upload()  # refused early: the printer wants no more of it

    @property
    def _refused(self) -> bool:
        """The printer took nothing of the request, and its client may come again with it."""
        return self._parser.head is not None and self._parser.head.status >= 400

    async def _while_moving(self, task: asyncio.Task[None], quiet_s: float) -> None:
        """Wait for `task` as long as bytes move; raises PrinterSilent when none do."""
        while not task.done():
            before = self.progress
            await asyncio.wait([task], timeout=quiet_s)
            if not task.done() and self.progress == before:
                raise PrinterSilent(f"nothing moved for {quiet_s:g} s")
        await task

    # --- cancelling what a lost client began

    async def _cancel_job(self, job: InterruptedJob, quiet_s: float) -> None:
        body = cancellation(job, bytes(self._answer_head))
        if body is None:
            log.info("a cut upload left no job to cancel")
            return
        exchange = Exchange(
            self._channel,
            Request("POST", job.target, job.headers, body, connection=self._request.connection),
            self._traffic,
        )
        reader = asyncio.get_running_loop().create_task(_discard_answer(exchange))
        try:
            await exchange._while_moving(reader, quiet_s)
        finally:
            await cancel_and_wait(reader)
        if exchange._refused:  # with all of HTTP: it warms up, or is busy
            self._keep_cancellation()
            return
        log.info("interface %d: cancelled the job of a cut upload", self._channel.number)


async def _discard_answer(exchange: Exchange) -> None:
    await exchange.answer()
    async for _ in exchange.chunks():
        pass
    await exchange.sent()
