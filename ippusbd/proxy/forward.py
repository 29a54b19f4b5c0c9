"""Forwards a client's request to the printer, and the printer's answer to the client.

An interface is leased and one exchange performed. A small answer is read to its
end, and its interface freed, before the client gets a byte of it; a large one is
streamed at the client's pace. A client that stops moving while others wait is
disconnected, whether it reads or sends.

When the printer fails in the middle of an answer, the connection is closed
without a terminator: a cut answer must not look complete.

Knows aiohttp's responses, exchanges and leases; nothing of sockets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import nullcontext

from ippusbd.errors import ClientGone, DeviceGone, IppUsbError, UsbError
from ippusbd.exchange.exchange import Exchange, Request, Traffic
from ippusbd.exchange.interrupted_job import InterruptedJob
from ippusbd.proxy.admission.connection_limit import Doing
from ippusbd.proxy.aiohttp_server import web
from ippusbd.proxy.heads import answer_fields, media_type
from ippusbd.proxy.requests import ClientRequest, prefixed
from ippusbd.proxy.settings import SiteSettings, Wiring
from ippusbd.proxy.stall_timers import ReaderStallTimer, UploadStallTimer
from ippusbd.usbio.pool import Lane, Lease
from ippusbd.wire.http1 import forwardable
from ippusbd.wire.http1_response import BodyFraming, Head
from ippusbd.wire.links import asking_for_passwords

log = logging.getLogger("ippusbd.http")

PEEK = 64 * 1024  # answers up to this size free their interface before they are sent
CREATED, CREATED_BODY_S = 201, 2.0
IPP = "application/ipp"


class _Unanswered(Exception):
    """The interface failed before a byte of the answer to a harmless question."""

    def __init__(self, failure: IppUsbError) -> None:
        self.failure = failure


class Forwarder:
    """Forwards requests to the printer of `wiring`, whose site listens on `port`."""

    def __init__(self, settings: SiteSettings, traffic: Traffic, wiring: Wiring, port: int) -> None:
        self._settings = settings
        self._traffic = traffic
        self._wiring = wiring
        self._port = port

    async def forward(
        self, client: ClientRequest, start: bytes, rest: AsyncIterator[bytes] | None
    ) -> web.StreamResponse:
        """The printer's answer to a request with the body `start`, and then `rest`.

        Raises the error that says why there is none.
        """
        body, stream = (start, None) if rest is None else (b"", prefixed(start, rest))
        to_printer = self._request(client, body, stream)
        lane = Lane.LONG if stream is not None or client.fetches_picture else Lane.SHORT
        try:
            return await self._once(client, to_printer, lane)
        except _Unanswered as exc:
            log.info("%s: retried on another interface: %s", client, exc.failure)
        try:
            return await self._once(client, to_printer, lane)
        except _Unanswered as exc:
            raise exc.failure from None

    async def _once(
        self, client: ClientRequest, to_printer: Request, lane: Lane
    ) -> web.StreamResponse:
        """One exchange. Raises _Unanswered when it may be tried again on another interface."""
        client.is_at(Doing.WAITING)
        identity, wait_s = client.identity.client, self._settings.lease_wait_s
        async with (
            client.held(streams=to_printer.stream is not None),
            self._wiring.pool.lease(wait_s=wait_s, lane=lane, client=identity) as lease,
        ):
            client.is_at(Doing.SERVED)
            client.go_on()
            exchange = lease.unfinished = self._exchange(lease, to_printer)
            try:
                with self._upload_timer(client, exchange, lease):
                    return await self._relay(client, exchange, lease)
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
        headers = tuple(forwardable(raw, host=wiring.host or f"localhost:{self._port}"))
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
        )

    async def _relay(
        self, client: ClientRequest, exchange: Exchange, lease: Lease
    ) -> web.StreamResponse:
        """The printer's answer: whole and unsent if it is small, else already streamed."""
        head = await exchange.answer()
        base = client.base(self._port)
        headers = answer_fields(head, base)
        chunks = exchange.chunks() if head.status != CREATED else _body_of_created(exchange)
        start = bytearray()
        async for data in chunks:
            start += data
            if len(start) > PEEK:
                break
        else:
            if head.status < 400:
                await exchange.sent()
            if media_type(head) == IPP:
                self._wiring.overhear(bytes(start))
            body = _rewritten(head, self._wiring, base, bytes(start))
            if self._asks_for_password(client):
                body = asking_for_passwords(media_type(head), body)
            return _whole(client.web, head, headers, body)
        response = web.StreamResponse(status=head.status, reason=head.reason, headers=headers)
        if head.framing is BodyFraming.LENGTH:
            response.content_length = head.length
        elif client.web.version >= (1, 1):
            response.enable_chunked_encoding()
        await response.prepare(client.web)
        try:
            with self._reader_timer(client, lease) as timer:
                await timer.of(response.write(bytes(start)))
                del start
                async for data in chunks:
                    await timer.of(response.write(data))
            await exchange.sent()
        except (ClientGone, ConnectionError) as exc:
            raise ClientGone(f"the client left in the middle of the answer: {exc}") from exc
        except IppUsbError as exc:
            log.warning("%s: answer cut: %s", client, exc)
            client.hang_up()
        return response

    # --- clients that stall

    def _reader_timer(self, client: ClientRequest, lease: Lease) -> ReaderStallTimer:
        """Disconnects a client that reads nothing while others wait."""
        stall_s = self._settings.client_stall_s

        def disconnect() -> None:
            log.info(
                "%s: disconnected, it read nothing for %g s while others wait", client, stall_s
            )
            client.abort()

        return ReaderStallTimer(lambda: lease.contended, stall_s, disconnect)

    def _upload_timer(
        self, client: ClientRequest, exchange: Exchange, lease: Lease
    ) -> UploadStallTimer | nullcontext[None]:
        """Disconnects a client that sends next to nothing of its document while others wait."""
        stall_s = self._settings.upload_stall_s
        if exchange.whole:
            return nullcontext()

        def blameless() -> bool:
            return not client.owes or exchange.awaits.printer or not lease.contended

        def disconnect() -> None:
            log.info(
                "%s: disconnected, it sent nothing for %g s while others wait", client, stall_s
            )
            client.abort()

        return UploadStallTimer(lambda: client.received, blameless, stall_s, disconnect)


async def _body_of_created(exchange: Exchange) -> AsyncIterator[bytes]:
    """A 201 says all in its head, the Location: a body that does not come is not waited for."""
    chunks = exchange.chunks()
    while True:
        try:
            async with asyncio.timeout(CREATED_BODY_S):
                data = await anext(chunks, None)
        except TimeoutError:
            log.info("the body of a 201 did not come in %g s", CREATED_BODY_S)
            exchange.delivered = True
            return
        if data is None:
            return
        yield data


def _rewritten(head: Head, wiring: Wiring, base: str, body: bytes) -> bytes:
    if wiring.rewrite is None or not body:
        return body
    return wiring.rewrite(media_type(head), base, body)


def _whole(
    request: web.BaseRequest, head: Head, headers: list[tuple[str, str]], body: bytes
) -> web.Response:
    if request.method == "HEAD" and head.length is not None:
        headers = [*headers, ("Content-Length", str(head.length))]
    return web.Response(status=head.status, reason=head.reason, headers=headers, body=body)
