"""One printer's HTTP server: on loopback TCP, on Unix sockets, and for who comes over TLS.

Lets clients in, as many as there are places, checks what they ask for, and has
it forwarded. While there is no printer the answer is 503 with Retry-After: CUPS
then waits, where 404 would stop its queue and 403 hold it.

Knows aiohttp's server and listening sockets; what becomes of a request is
`forward`'s.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from itertools import count

from ippusbd.aio import now
from ippusbd.errors import BadRequest, ClientGone, IppUsbError, NoInterface
from ippusbd.exchange.exchange import Traffic
from ippusbd.log import set_context
from ippusbd.proxy import authorize
from ippusbd.proxy.access.network import CHALLENGE
from ippusbd.proxy.access.origin import Refusal
from ippusbd.proxy.admission.connection_limit import Connection, ConnectionLimit, Doing
from ippusbd.proxy.admission.handover import Handover, refusal
from ippusbd.proxy.admission.listeners import bind as bind
from ippusbd.proxy.fast_aiohttp_import import no_certificates
from ippusbd.proxy.forward import Forwarder
from ippusbd.proxy.requests import ClientRequest, bare_request
from ippusbd.proxy.server_log import ServerLog
from ippusbd.proxy.settings import SiteSettings as SiteSettings
from ippusbd.proxy.settings import Wiring as Wiring
from ippusbd.users.client_identity import ClientIdentity, identify

with no_certificates():
    from aiohttp import web
    from aiohttp.http_exceptions import HttpProcessingError

log = logging.getLogger("ippusbd.http")

READ_BUFFER = 256 * 1024
HANDSHAKE_S = 15.0  # for a client's part of a TLS handshake
GOODBYE_S = 2.0  # for its answer when TLS ends
_numbers = count(1)  # of requests, of all printers


class _Server(web.Server):
    """aiohttp's, which tells who has left."""

    visits: dict[web.RequestHandler, tuple[Connection, ClientIdentity]]
    limit: ConnectionLimit

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        super().connection_lost(handler, exc)
        visit = self.visits.pop(handler, None)
        if visit is not None:
            self.limit.left(visit[0])


class PrinterSite:
    """Serves one printer on `port` of the loopback addresses, and on Unix sockets."""

    def __init__(self, settings: SiteSettings, *, reason: str = "starting") -> None:
        self._settings = settings
        self._wiring: Wiring | None = None
        self._reason = reason
        self._connections = ConnectionLimit(
            settings.max_clients,
            stall_s=settings.upload_stall_s,
            clock=now,
        )
        self._full = refusal("there are too many clients now", settings.retry_after_s)
        self._listening: list[asyncio.Server] = []
        self._server: _Server | None = None
        self._runner: web.ServerRunner | None = None
        self.port = 0
        self.label = ""  # the printer's, fit for a log line
        self.traffic = Traffic()

    async def start(self, sockets: list[socket.socket]) -> None:
        """Accept clients on bound `sockets`; the first TCP socket's port is the site's."""
        settings = self._settings
        server = self._server = _Server(
            self._handle,
            request_factory=bare_request,
            handler_cancellation=True,
            auto_decompress=False,
            access_log=None,
            lingering_time=0.5,
            keepalive_timeout=settings.idle_client_s,
            read_bufsize=READ_BUFFER,
            max_line_size=settings.max_header_bytes,
            max_field_size=settings.max_header_bytes,
            max_headers=1000,
            logger=ServerLog(log, HttpProcessingError),
        )
        server.visits, server.limit = {}, self._connections
        self._runner = web.ServerRunner(server, shutdown_timeout=settings.grace_s)
        await self._runner.setup()
        for listening in sockets:
            await self.listen(listening)

    async def listen(self, listening: socket.socket) -> None:
        """Accept clients on one more bound socket."""
        if not self.port and listening.family != socket.AF_UNIX:
            self.port = listening.getsockname()[1]
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._arrival, sock=listening, backlog=128)
        self._listening.append(server)

    async def adopt(self, connection: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve a client that was accepted elsewhere; takes `connection` over.

        With `tls` it is a client of the network.
        """
        if self._server is None:  # the daemon is leaving
            connection.close()
            return
        try:
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(
                self._arrival,
                connection,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_S if tls else None,
                ssl_shutdown_timeout=GOODBYE_S if tls else None,
            )
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
        for server in self._listening:
            server.close()
        self._listening.clear()
        self._server = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # --- letting clients in

    def _arrival(self) -> Handover:
        return Handover(self._admit, self._full)

    def _admit(self, transport: asyncio.Transport) -> web.RequestHandler | None:
        """The server's protocol for a new connection; None: there is no place for it."""
        if self._server is None:
            return None
        identity = identify(transport)

        def leave(told: bool) -> None:
            if told:
                transport.write(self._full)
            transport.close() if not transport.get_write_buffer_size() else transport.abort()

        client_connection = self._connections.admit(identity.client, leave)
        if client_connection is None:
            return None
        handler = self._server()
        self._server.visits[handler] = client_connection, identity
        return handler

    # --- one request

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Whatever is logged of it bears its number."""
        set_context(self.label, next(_numbers))
        if not log.isEnabledFor(logging.DEBUG):
            return await self._respond(request)
        began = time.monotonic()
        response = await self._respond(request)
        took_ms = (time.monotonic() - began) * 1000
        path = request.rel_url.path
        log.debug("%s %s: %d in %.1f ms", request.method, path, response.status, took_ms)
        return response

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        visit = self._server.visits.get(request.protocol) if self._server is not None else None
        if visit is None:
            raise asyncio.CancelledError  # its connection is closed
        client = ClientRequest(request, visit[1], visit[0], self._connections)
        try:
            return await self._answered(client)
        except ClientGone as exc:
            log.info("%s: %s", client, exc)
            return client.hang_up()
        except BadRequest as exc:
            log.info("%s: refused: %s", client, exc)
            response = web.Response(status=exc.http_status, text=f"ippusbd: {exc}\n")
            response.force_close()  # whatever follows it
            return response
        except NoInterface as exc:
            return self._unavailable(str(exc))
        except IppUsbError as exc:
            log.warning("%s: %s", client, exc)
            if exc.http_status == 503:
                return self._unavailable(str(exc))
            return web.Response(status=exc.http_status, text=f"ippusbd: {exc}\n")
        finally:
            client.is_at(Doing.NOTHING)

    def _remember(self, client: ClientRequest) -> None:
        """Who a connection's client is need not be found out again."""
        visits = self._server.visits if self._server is not None else {}
        visit = visits.get(client.web.protocol)
        if visit is not None:
            visits[client.web.protocol] = visit[0], client.identity

    def _unavailable(self, reason: str) -> web.Response:
        return web.Response(
            status=503,
            text=f"ippusbd: {reason}\n",
            headers={"Retry-After": str(self._settings.retry_after_s)},
        )

    def _refused(self, client: ClientRequest, refusal: Refusal) -> web.Response:
        level = logging.INFO if refusal.status == 401 else logging.WARNING  # browsers ask first
        log.log(level, "%s of %s: refused: %s", client, client.identity.text, refusal.reason)
        response = web.Response(status=refusal.status, text=f"ippusbd: {refusal.reason}\n")
        if refusal.status == 401:
            response.headers["WWW-Authenticate"] = CHALLENGE
        response.force_close()
        return response

    async def _refusal(self, client: ClientRequest) -> Refusal | None:
        """Why a request is not let through before anybody looks at its body; None: it is."""
        network = self._settings.network
        if not client.secure:
            return client.refusal(self._settings.hosts)
        return client.refusal(self._settings.hosts | network.names) or await network.refusal(
            client.target, client.web.headers.get("Authorization")
        )

    async def _answered(self, client: ClientRequest) -> web.StreamResponse:
        client.check()
        refused = await self._refusal(client)
        if refused is not None:
            return self._refused(client, refused)
        wiring = self._wiring
        if wiring is None:
            return self._unavailable(f"the printer is not ready: {self._reason}")
        client.ask_for_body()
        start, rest = await client.read_small(self._settings.small_body)
        if not self._settings.access.unrestricted:
            start, rest = await authorize.with_head(client, start, rest)
            refusal = await authorize.refusal(client, self._settings.access, start)
            self._remember(client)
            if refusal is not None:
                return refusal
        forwarder = Forwarder(self._settings, self.traffic, wiring, self.port)
        return await forwarder.forward(client, start, rest)
