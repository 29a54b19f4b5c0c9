"""Forwards a client's request to the printer, and the printer's answer to the client.

An interface is leased and one exchange performed. A small answer is read to its
end, and its interface freed, before the client gets a byte of it. A large one is
read at the printer's pace, and delivered from a spool at the client's. A head
whose body does not come goes to the client after a moment. A client that is too
slow while others wait for what it holds is disconnected.

Knows aiohttp's responses, exchanges and leases; nothing of sockets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from enum import Enum
from typing import Final

from ippusbd.errors import ClientGone, DeviceGone, IppUsbError, UsbError
from ippusbd.exchange.exchange import Exchange
from ippusbd.exchange.interrupted_job import InterruptedJob, used_scan_job
from ippusbd.exchange.request import Request
from ippusbd.exchange.traffic import Traffic
from ippusbd.proxy.admission.connection_limit import Doing
from ippusbd.proxy.aiohttp_server import web
from ippusbd.proxy.delivery import Delivery
from ippusbd.proxy.heads import answer_fields, media_type
from ippusbd.proxy.redirects import Question, Redirects
from ippusbd.proxy.requests import ClientRequest, prefixed
from ippusbd.proxy.settings import SiteSettings, Wiring
from ippusbd.proxy.spool import SpoolSpace
from ippusbd.proxy.stall_timers import StallTimer
from ippusbd.usbio.pool_types import Lane, Lease, Purpose
from ippusbd.wire.http1 import Header, forwardable, overridden
from ippusbd.wire.http1_response import BodyFraming, Head
from ippusbd.wire.links import Rewriter

log = logging.getLogger("ippusbd.http")

PEEK: Final = 64 * 1024  # answers up to this size free their interface before they are sent
LONG_PATHS: Final = 64  # remembered ones, whose answers were large
CREATED: Final = 201
IPP: Final = "application/ipp"
CODED: Final = "content-encoding"


class _Unanswered(Exception):
    """The interface failed before a byte of the answer to a harmless question."""

    def __init__(self, failure: IppUsbError) -> None:
        self.failure = failure


class Forwarder:
    """Forwards requests to the printer of `wiring`, whose site listens on `port`."""

    def __init__(
        self,
        settings: SiteSettings,
        traffic: Traffic,
        space: SpoolSpace,
        wiring: Wiring,
        port: int,
    ) -> None:
        self._settings = settings
        self._space = space
        self._traffic = traffic
        self._wiring = wiring
        self._port = port
        self._long_paths: dict[str, None] = {}  # oldest first
        self._clock = asyncio.get_running_loop().time
        self._redirects = Redirects(self._clock)

    async def forward(
        self, client: ClientRequest, start: bytes, rest: AsyncIterator[bytes] | None
    ) -> web.StreamResponse:
        """The printer's answer to a request with the body `start`, and then `rest`.

        Raises the error that says why there is none.
        """
        body, stream = (start, None) if rest is None else (b"", prefixed(start, rest))
        to_printer = self._request(client, body, stream)
        client.waits_with(to_printer)
        try:
            return await self._twice(client, to_printer)
        except (ClientGone, asyncio.CancelledError):
            pending = self._wiring.pending_cancels
            if pending is not None and not client.hung_up:  # after a failure it comes again
                pending.scan_left(used_scan_job(to_printer.method, to_printer.target))
            raise

    async def _twice(self, client: ClientRequest, to_printer: Request) -> web.StreamResponse:
        try:
            return await self._once(client, to_printer)
        except _Unanswered as exc:
            log.info("%s: retried on another interface: %s", client, exc.failure)
        try:
            return await self._once(client, to_printer)
        except _Unanswered as exc:
            raise exc.failure from None

    async def _once(self, client: ClientRequest, to_printer: Request) -> web.StreamResponse:
        """One exchange. Raises _Unanswered when it may be tried again on another interface."""
        client.is_at(Doing.WAITING)
        identity, wait_s = client.identity.client, self._settings.lease_wait_s
        async with (
            nullcontext() if to_printer.stream is None else client.held(),
            self._wiring.pool.lease(
                wait_s=wait_s, lane=self._lane(client, to_printer), client=identity
            ) as lease,
        ):
            client.is_at(Doing.SERVED)
            client.go_on()
            exchange = lease.unfinished = self._exchange(lease, to_printer)
            try:
                with self._upload_timer(client, exchange, lease):
                    answer = await self._relay(client, exchange, lease)
            except IppUsbError as exc:
                await exchange.let_client_go()
                again = isinstance(exc, UsbError) and not isinstance(exc, DeviceGone)
                if again and exchange.untouched and exchange.repeatable:
                    raise _Unanswered(exc) from exc
                raise
            finally:
                # A cancelled request leaves its answer to the pool, without awaiting anything.
                if exchange.complete:
                    lease.unfinished = None
        return await answer.finish() if isinstance(answer, Delivery) else answer

    # --- lanes

    def _lane(self, client: ClientRequest, request: Request) -> Lane:
        """By what is known before; what turns out long later is noted by `_turns_long`."""
        long = request.stream is not None or request.purpose in (Purpose.SCAN, Purpose.LONG_POLL)
        return Lane.LONG if long or client.path in self._long_paths else Lane.SHORT

    def _turns_long(self, client: ClientRequest, lease: Lease) -> None:
        """The answer is large: the last interface is kept from such requests the next time."""
        lease.turns_long()
        if client.web.method == "GET":
            self._long_paths[client.path] = None
            if len(self._long_paths) > LONG_PATHS:
                del self._long_paths[next(iter(self._long_paths))]

    @property
    def _host(self) -> str:
        """The name by which the printer is asked."""
        return self._wiring.host or f"localhost:{self._port}"

    def _asks_for_password(self, client: ClientRequest) -> bool:
        return client.is_remote and self._settings.network.gate is not None

    def _exchange(self, lease: Lease, to_printer: Request) -> Exchange:
        return Exchange(
            lease.channel,
            to_printer,
            self._traffic,
            cut_response_s=self._wiring.cut_response_s,
            head_timeout_s=self._settings.head_timeout_s,
        )

    def _request(
        self, client: ClientRequest, body: bytes, stream: AsyncIterator[bytes] | None
    ) -> Request:
        """What the printer gets of the client's request."""
        request, wiring = client.web, self._wiring
        raw = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in request.raw_headers]
        if self._asks_for_password(client):  # the field was for us
            raw = [(name, value) for name, value in raw if name.lower() != "authorization"]
        usual = forwardable(raw, host=self._host, origins=client.origins(self._port))
        headers = tuple(overridden(usual, wiring.headers))
        job = InterruptedJob(client.target, headers) if request.content_type == IPP else None
        return Request(
            request.method,
            client.target,
            headers,
            body,
            stream,
            arrived=request.content.is_eof,
            connection=wiring.connection,
            job=job,
            pending_cancels=wiring.pending_cancels,
            client=client.program,
            size=request.content_length,
        )

    def _question(self, client: ClientRequest) -> Question:
        cookie = client.web.headers.get("Cookie", "")
        return Question(client.web.method, client.target, self._host, cookie)

    def _rewriter(
        self, client: ClientRequest, exchange: Exchange, head: Head, base: str
    ) -> Rewriter | None:
        """What changes the body; None: it passes as it is."""
        if client.web.method == "HEAD" or any(n.lower() == CODED for n, _ in head.headers):
            return None
        url = base + client.target
        password = self._asks_for_password(client)
        return self._wiring.rewriter(media_type(head), url, password, exchange.operation)

    # --- the answer

    async def _relay(
        self, client: ClientRequest, exchange: Exchange, lease: Lease
    ) -> web.StreamResponse | Delivery:
        """The printer's answer: whole and unsent if it is small, else on its way already."""
        head = await exchange.answer()
        base = client.base(self._port)
        self._redirects.check(self._question(client), head)
        headers = answer_fields(head, base)
        rewriter = self._rewriter(client, exchange, head, base)
        start = bytearray()
        found, chunks = await self._beginning(exchange, head, start)
        if found is Found.WHOLE:
            if not exchange.refused:  # an early success: see `_beginning`
                await exchange.sent()
            if media_type(head) == IPP:
                self._wiring.overhear(client.path, bytes(start))
            body = rewriter.whole(bytes(start)) if rewriter and start else bytes(start)
            exchange.client_has_answer()
            return _whole(client.web, head, headers, body)
        if found is Found.SILENT and head.status == CREATED:
            exchange.client_has_answer()  # all that matters is in the head
            return _whole(client.web, head, headers, b"")
        response = await _begun(client, head, headers, rewritten=rewriter is not None)
        if found is Found.SILENT:
            chunks = exchange.chunks()
        else:
            self._turns_long(client, lease)
        delivery = self._delivery(client, response, lease)
        try:
            await _pass(delivery, bytes(start), rewriter)
            del start
            async for data in chunks:
                await _pass(delivery, data, rewriter)
            if rewriter and (rest := rewriter.finish()):
                await delivery.put(rest)
            await exchange.sent()
            delivery.end()
        except (ClientGone, asyncio.CancelledError):
            await delivery.cancel()
            raise
        except IppUsbError as exc:
            delivery.end(exc)
        return delivery

    async def _beginning(
        self, exchange: Exchange, head: Head, start: bytearray
    ) -> tuple[Found, AsyncIterator[bytes]]:
        """Read the beginning of the answer into `start`; what was found, and the rest.

        Silence after an early success counts from the end of the upload: CUPS ends its document at
        the first byte of a success, and the printer would print half of it.
        """
        silence_s = None if head.framing is BodyFraming.EOF else self._settings.silence_s
        while True:
            chunks = exchange.chunks()
            found = await _collect(chunks, start, silence_s, self._clock)
            if found is not Found.SILENT or exchange.refused or exchange.upload_over:
                return found, chunks

    def _delivery(
        self, client: ClientRequest, response: web.StreamResponse, lease: Lease
    ) -> Delivery:
        stall_s = self._settings.client_stall_s
        return Delivery(
            client,
            response,
            self._space,
            lambda: lease.hinders,
            stall_s=stall_s,
            least=self._least(stall_s),
        )

    # --- clients that stall

    def _least(self, stall_s: float) -> int:
        """Bytes that a client has to move in `stall_s`, while others wait."""
        return max(int(self._settings.min_bytes_s * stall_s), 1)

    def _upload_timer(
        self, client: ClientRequest, exchange: Exchange, lease: Lease
    ) -> StallTimer | nullcontext[None]:
        """Disconnects a client that sends next to nothing of its document while others wait."""
        stall_s = self._settings.upload_stall_s
        if exchange.whole:
            return nullcontext()

        def blameless() -> bool:
            return not client.owes or exchange.awaits.printer or not lease.contended

        def disconnect() -> None:
            log.info(
                "%s: disconnected, it sent too little in %g s while others wait", client, stall_s
            )
            client.abort()

        least = self._least(stall_s)
        return StallTimer(
            lambda: client.received, blameless, disconnect, stall_s=stall_s, least=least
        )


async def _pass(delivery: Delivery, data: bytes, rewriter: Rewriter | None) -> None:
    """Deliver a piece of a long answer. An empty chunk would end it.

    Rewriting takes time: others have their turn after every slice.
    """
    if rewriter is None:
        await delivery.put(data)
        return
    for at in range(0, len(data), PEEK):
        if passed := rewriter.feed(data[at : at + PEEK]):
            await delivery.put(passed)
        await asyncio.sleep(0)


class Found(Enum):
    """What was found of an answer's body."""

    WHOLE = "whole"
    LARGE = "larger than PEEK"
    SILENT = "nothing more came for a while"


async def _collect(
    chunks: AsyncIterator[bytes],
    start: bytearray,
    silence_s: float | None,
    clock: Callable[[], float],
) -> Found:
    """Read into `start` up to a little more than PEEK bytes; `chunks` is over after SILENT."""
    since = clock()
    until = None if silence_s is None else since + silence_s
    try:
        async with asyncio.timeout_at(until) as silence:
            async for data in chunks:
                start += data
                if len(start) > PEEK:
                    return Found.LARGE
                # A timer for every piece would cost more than the piece.
                if silence_s is not None and clock() - since > silence_s / 10:
                    since = clock()
                    silence.reschedule(since + silence_s)
    except TimeoutError:
        return Found.SILENT
    return Found.WHOLE


async def _begun(
    client: ClientRequest, head: Head, headers: list[Header], *, rewritten: bool
) -> web.StreamResponse:
    """A response whose head is sent; a body that is `rewritten` may get another length."""
    response = web.StreamResponse(status=head.status, reason=head.reason, headers=headers)
    if head.framing is BodyFraming.LENGTH and not rewritten:
        response.content_length = head.length
    elif client.web.version >= (1, 1):
        response.enable_chunked_encoding()
    try:
        await response.prepare(client.web)
    except ConnectionError as exc:
        raise ClientGone(f"the client left before its answer: {exc}") from exc
    return response


def _whole(
    request: web.BaseRequest, head: Head, headers: list[tuple[str, str]], body: bytes
) -> web.Response:
    if request.method == "HEAD" and head.length is not None:
        headers = [*headers, ("Content-Length", str(head.length))]
    return web.Response(status=head.status, reason=head.reason, headers=headers, body=body)
