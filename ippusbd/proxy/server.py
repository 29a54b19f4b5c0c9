"""One printer's HTTP server on loopback: the only module that imports aiohttp.

A request is classified, its small body read whole, an interface leased, and
one exchange performed. A small answer is read to its end, and its interface
given back, before the client gets a byte of it; a large one is streamed at the
client's pace. While there is no printer the answer is 503 with Retry-After:
CUPS then waits, where 404 would stop its queue and 403 hold it.

A printer that fails in the middle of an answer closes the connection without
a terminator: a cut answer must not look complete.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from ippusbd.errors import ClientGone, DeviceGone, IppUsbError, NoInterface, UsbError
from ippusbd.proxy.cut_jobs import CutJob
from ippusbd.proxy.exchange import Exchange, Request, Traffic
from ippusbd.proxy.heads import NO_TYPE, answer_fields, media_type, origin_form
from ippusbd.proxy.lean import no_certificates
from ippusbd.proxy.pace import Pace
from ippusbd.proxy.server_log import ServerLog
from ippusbd.proxy.sockets import bind as bind
from ippusbd.usbio.pool import InterfacePool, Lane, Lease
from ippusbd.wire.http1 import forwardable
from ippusbd.wire.http1_response import BodyFraming, Head

with no_certificates():
    from aiohttp import web
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http import SERVER_SOFTWARE, RawRequestMessage
    from aiohttp.http_exceptions import HttpProcessingError
    from aiohttp.streams import StreamReader

log = logging.getLogger("ippusbd.http")

PEEK = 64 * 1024  # answers up to this size free their interface before they are sent
READ_BUFFER = 256 * 1024
IPP = "application/ipp"


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """How a site treats clients; see the configuration keys of the same names."""

    small_body: int = 32 * 1024
    lease_wait_s: float = 60.0
    client_stall_s: float = 15.0
    retry_after_s: int = 5
    grace_s: float = 10.0
    max_header_bytes: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class Wiring:
    """A printer that is there: its interfaces, and what its quirks ask of an exchange."""

    pool: InterfacePool
    connection: str | None = None
    host: str = ""  # "": localhost:PORT
    cut_response_s: float | None = None
    rewrite: Callable[[str, str, bytes], bytes] | None = None  # (content type, base, body) -> body


class _Unanswered(Exception):
    """The interface failed before a byte of the answer to a harmless question."""

    def __init__(self, failure: IppUsbError) -> None:
        self.failure = failure


class PrinterSite:
    """Serves one printer on `port` of the loopback addresses, and on Unix sockets."""

    def __init__(self, settings: SiteSettings, *, reason: str = "starting") -> None:
        self._settings = settings
        self._wiring: Wiring | None = None
        self._reason = reason
        self._runner: web.ServerRunner | None = None
        self.port = 0
        self.traffic = Traffic()

    async def start(self, sockets: list[socket.socket]) -> None:
        """Accept clients on bound `sockets`; the first TCP socket's port is the site's."""
        server = web.Server(
            self._handle,
            request_factory=_request,
            handler_cancellation=True,
            auto_decompress=False,
            access_log=None,
            lingering_time=0.5,
            read_bufsize=READ_BUFFER,
            max_line_size=self._settings.max_header_bytes,
            max_field_size=self._settings.max_header_bytes,
            max_headers=1000,
            logger=ServerLog(log, HttpProcessingError),
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=self._settings.grace_s)
        await self._runner.setup()
        for listening in sockets:
            await self.listen(listening)

    async def listen(self, listening: socket.socket) -> None:
        """Accept clients on one more bound socket."""
        assert self._runner is not None
        if not self.port and listening.family != socket.AF_UNIX:
            self.port = listening.getsockname()[1]
        await web.SockSite(self._runner, listening, backlog=128).start()

    async def adopt(self, connection: socket.socket) -> None:
        """Serve a client that was accepted elsewhere; takes `connection` over."""
        loop = asyncio.get_running_loop()
        server = self._runner.server if self._runner is not None else None
        if server is None:  # the daemon is leaving
            connection.close()
            return
        try:
            await loop.connect_accepted_socket(server, connection)
        except OSError as exc:
            log.info("a client left at once: %s", exc)
            connection.close()

    def connect(self, wiring: Wiring) -> None:
        """The printer is there: forward from now on."""
        self._wiring = wiring

    def disconnect(self, reason: str) -> None:
        """The printer is away: 503 with `reason` from now on."""
        self._wiring = None
        self._reason = reason

    async def close(self) -> None:
        """Stop listening; exchanges in flight finish within the grace time."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # --- one request

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._forward(request)
        except ClientGone as exc:
            log.info("%s %s: %s", request.method, request.rel_url.path, exc)
            return _hang_up(request)
        except NoInterface as exc:
            return self._unavailable(str(exc))
        except IppUsbError as exc:
            log.warning("%s %s: %s", request.method, request.rel_url.path, exc)
            if exc.http_status == 503:
                return self._unavailable(str(exc))
            return web.Response(status=exc.http_status, text=f"ippusbd: {exc}\n")

    def _unavailable(self, reason: str) -> web.Response:
        return web.Response(
            status=503,
            text=f"ippusbd: {reason}\n",
            headers={"Retry-After": str(self._settings.retry_after_s)},
        )

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        wiring = self._wiring
        if wiring is None:
            return self._unavailable(f"the printer is not ready: {self._reason}")
        target = origin_form(request.method, request._message.path)  # as it was sent
        _continue(request)
        body, rest = await _read_small(request, self._settings.small_body)
        to_printer = self._request(request, wiring, target, body, rest)
        lane = Lane.LONG if rest is not None or _fetches_picture(request) else Lane.SHORT
        try:
            return await self._once(request, to_printer, lane, wiring)
        except _Unanswered as exc:
            log.info("%s %s: once more, because: %s", request.method, target, exc.failure)
        try:
            return await self._once(request, to_printer, lane, wiring)
        except _Unanswered as exc:
            raise exc.failure from None

    async def _once(
        self, request: web.BaseRequest, to_printer: Request, lane: Lane, wiring: Wiring
    ) -> web.StreamResponse:
        """One exchange. Raises _Unanswered when it may be tried again on another interface."""
        async with wiring.pool.lease(wait_s=self._settings.lease_wait_s, lane=lane) as lease:
            exchange = Exchange(
                lease.channel, to_printer, self.traffic, cut_response_s=wiring.cut_response_s
            )
            lease.owed = exchange
            try:
                return await self._relay(request, exchange, lease, wiring)
            except IppUsbError as exc:
                await exchange.let_client_go()
                again = isinstance(exc, UsbError) and not isinstance(exc, DeviceGone)
                if again and exchange.untouched and exchange.repeatable:
                    raise _Unanswered(exc) from exc
                raise
            finally:
                # A cancelled request leaves its answer to the pool, without awaiting anything.
                if exchange.complete:
                    lease.owed = None

    def _request(
        self,
        request: web.BaseRequest,
        wiring: Wiring,
        target: str,
        body: bytes,
        rest: AsyncIterator[bytes] | None,
    ) -> Request:
        """What the printer gets of the client's request."""
        raw = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in request.raw_headers]
        headers = tuple(forwardable(raw, host=wiring.host or f"localhost:{self.port}"))
        job = None
        if rest is not None and request.content_type == IPP:
            job = CutJob(target, headers)
        return Request(
            request.method, target, headers, body, rest, connection=wiring.connection, job=job
        )

    async def _relay(
        self, request: web.BaseRequest, exchange: Exchange, lease: Lease, wiring: Wiring
    ) -> web.StreamResponse:
        """The printer's answer: whole, unsent when it is small; streamed when it is not."""
        head = await exchange.answer()
        base = _base(request, self.port)
        headers = answer_fields(head, base)
        chunks = exchange.chunks()
        start = bytearray()
        async for data in chunks:
            start += data
            if len(start) > PEEK:
                break
        else:
            if head.status < 400:
                await exchange.sent()
            body_base = f"http://localhost:{self.port}" if _is_local(request) else base
            return _whole(request, head, headers, _rewritten(head, wiring, body_base, bytes(start)))
        response = web.StreamResponse(status=head.status, reason=head.reason, headers=headers)
        if head.framing is BodyFraming.LENGTH:
            response.content_length = head.length
        elif request.version >= (1, 1):
            response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            with self._pace(request, lease) as pace:
                await pace.of(response.write(bytes(start)))
                del start
                async for data in chunks:
                    await pace.of(response.write(data))
            await exchange.sent()
        except (ClientGone, ConnectionError) as exc:
            raise ClientGone(f"the client left in the middle of the answer: {exc}") from exc
        except IppUsbError as exc:
            log.warning("%s %s: the answer was cut: %s", request.method, request.rel_url.path, exc)
            _hang_up(request)
        return response

    def _pace(self, request: web.BaseRequest, lease: Lease) -> Pace:
        """One that takes nothing while others wait is let go."""
        stall_s = self._settings.client_stall_s

        def let_go() -> None:
            path = request.rel_url.path
            log.info("%s: its client read nothing for %g s while others wait", path, stall_s)
            if request.transport is not None:
                request.transport.abort()

        return Pace(lambda: lease.contended, stall_s, let_go)


# --- reading a client's request


class _Request(web.BaseRequest):
    """Asked by aiohttp before an answer's head is written."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        # What aiohttp adds to an answer that has no such field is not what the printer said.
        if response.headers.get("Content-Type") == NO_TYPE:
            del response.headers["Content-Type"]
        if response.headers.get("Server") == SERVER_SOFTWARE:
            del response.headers["Server"]


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return _Request(message, payload, protocol, writer, task, loop)


def _continue(request: web.BaseRequest) -> None:
    """Ask for the body of a client that waits to be asked (RFC 9110, 10.1.1)."""
    expects = request.headers.get("Expect", "").lower() == "100-continue"
    if expects and request.version >= (1, 1) and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _read_small(
    request: web.BaseRequest, limit: int
) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """A body of at most `limit` bytes, and None; of a larger one nothing yet, and its stream."""
    if not request.can_read_body:
        return b"", None
    stream = _client_bytes(request)
    if (request.content_length or 0) > limit:
        return b"", stream
    start = bytearray()
    async for data in stream:
        start += data
        if len(start) > limit:
            return b"", _prefixed(bytes(start), stream)
    return bytes(start), None


async def _client_bytes(request: web.BaseRequest) -> AsyncIterator[bytes]:
    try:
        async for data in request.content.iter_any():
            yield data
    except (ConnectionError, HttpProcessingError, web.PayloadAccessError) as exc:
        raise ClientGone(f"left in the middle of its request: {exc}") from exc


async def _prefixed(start: bytes, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for data in stream:
        yield data


def _fetches_picture(request: web.BaseRequest) -> bool:
    return request.method == "GET" and request.rel_url.path.endswith("/NextDocument")


# --- answering


def _base(request: web.BaseRequest, port: int) -> str:
    """How this client reached us; links to the printer start with it."""
    return f"http://{request.headers.get('Host') or f'localhost:{port}'}"


def _is_local(request: web.BaseRequest) -> bool:
    """A Unix socket's client: what it called its host is nothing a browser could open."""
    bound = request.transport and request.transport.get_extra_info("sockname")
    return not isinstance(bound, tuple)


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


def _hang_up(request: web.BaseRequest) -> web.StreamResponse:
    """Close the connection after what was sent; aiohttp then sends nothing more."""
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=499)
