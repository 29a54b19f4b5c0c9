"""One printer's HTTP server: on loopback TCP, on Unix sockets, and for network clients over TLS.

It accepts connections, as many as the limit allows, and hands each request to `responder`.

Knows aiohttp's server and listening sockets; nothing of what becomes of a request.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from itertools import count
from typing import TYPE_CHECKING

from ippusbd.aio import coarse_clock
from ippusbd.exchange.traffic import Traffic
from ippusbd.kinds import Diagnosis
from ippusbd.log import set_context
from ippusbd.proxy.admission.connection_limit import ConnectionLimit, Doing
from ippusbd.proxy.admission.handover import Handover, refusal
from ippusbd.proxy.aiohttp_server import HttpServer, web
from ippusbd.proxy.forward import Forwarder
from ippusbd.proxy.requests import ClientRequest, Visit
from ippusbd.proxy.responder import Responder
from ippusbd.proxy.settings import SiteSettings as SiteSettings
from ippusbd.proxy.settings import Wiring as Wiring
from ippusbd.proxy.spool import SpoolSpace
from ippusbd.usbio.pool_types import About
from ippusbd.users.client_identity import identify

if TYPE_CHECKING:
    import ssl

log = logging.getLogger("ippusbd.http")

HANDSHAKE_S = 15.0  # for a client's part of a TLS handshake
GOODBYE_S = 2.0  # for its answer when TLS ends
_numbers = count(1)  # of requests, of all printers


class PrinterSite:
    """Serves one printer on `port` of the loopback addresses, and on Unix sockets."""

    def __init__(self, settings: SiteSettings) -> None:
        self._settings = settings
        self._responder = Responder(settings)
        self._connections = ConnectionLimit(
            settings.max_clients,
            stall_s=settings.upload_stall_s,
            clock=coarse_clock(asyncio.get_running_loop()),
        )
        self._space = SpoolSpace(settings.spool_dir, settings.spool_bytes)
        self._visits: dict[web.RequestHandler, Visit] = {}
        self._full = refusal("too many clients; try again", settings.retry_after_s)
        self._listening: list[asyncio.Server] = []
        self._server: HttpServer | None = None
        self.port = 0
        self.label = ""  # the printer's, for log lines
        self.requests = 0  # so far, however they were answered
        self.in_progress = 0  # requests that are not answered to their end
        self.traffic = Traffic()

    async def start(self, sockets: list[socket.socket]) -> None:
        """Accept clients on bound `sockets`; the first TCP socket's port is the site's."""
        self._server = HttpServer(
            self._handle,
            lost=self._lost,
            log=log,
            idle_s=self._settings.idle_client_s,
            max_header_bytes=self._settings.max_header_bytes,
        )
        for listening in sockets:
            await self.listen(listening)

    async def listen(self, listening: socket.socket) -> None:
        """Accept clients on one more bound socket."""
        if not self.port and listening.family != socket.AF_UNIX:
            self.port = listening.getsockname()[1]
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._handover, sock=listening, backlog=128)
        self._listening.append(server)

    async def adopt(self, connection: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve a client that was accepted elsewhere; takes `connection` over.

        With `tls` it is a client of the network.
        """
        if self._server is None:  # the daemon is stopping
            connection.close()
            return
        try:
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(
                self._handover,
                connection,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_S if tls else None,
                ssl_shutdown_timeout=GOODBYE_S if tls else None,
            )
        except OSError as exc:
            log.info("a client disconnected at once: %s", exc)
            connection.close()

    def connect(self, wiring: Wiring) -> None:
        """The printer is there: forward requests to it."""
        self._responder.forwarder = Forwarder(
            self._settings, self.traffic, self._space, wiring, self.port
        )

    def disconnect(self, reason: Diagnosis) -> None:
        """The printer is away: answer 503 with `reason`."""
        self._responder.forwarder, self._responder.reason = None, reason
        self._responder.refused = None

    def queued(self) -> list[About]:
        """Requests that wait for an interface, the oldest first."""
        visits = [v for v in self._visits.values() if v.connection.doing is Doing.WAITING]
        visits.sort(key=lambda visit: visit.connection.since)
        return [v.waiting.about(v.connection.since) for v in visits if v.waiting is not None]

    @property
    def trouble(self) -> Diagnosis | None:
        """What the printer keeps from clients; None: nothing."""
        return self._responder.refused

    async def close(self) -> None:
        """Stop listening; requests in progress finish within the grace time."""
        for listening in self._listening:
            listening.close()
        self._listening.clear()
        server, self._server = self._server, None
        if server is not None:
            await server.close(self._settings.grace_s)

    # --- connections

    def _handover(self) -> Handover:
        return Handover(self._admit, self._full)

    def _admit(self, transport: asyncio.Transport) -> web.RequestHandler | None:
        """The HTTP server's protocol for a new connection; None: the limit is reached."""
        if self._server is None:
            return None
        identity = identify(transport)

        def leave(refused: bool) -> None:
            if refused:
                transport.write(self._full)
            transport.close() if not transport.get_write_buffer_size() else transport.abort()

        connection = self._connections.admit(identity.owner, leave)
        if connection is None:
            return None
        handler = self._server()
        self._visits[handler] = Visit(connection, self._connections, identity)
        return handler

    def _lost(self, handler: web.RequestHandler) -> None:
        visit = self._visits.pop(handler, None)
        if visit is not None:
            self._connections.left(visit.connection)

    # --- requests

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Log records of a request carry its number."""
        set_context(self.label, next(_numbers))
        visit = self._visits.get(request.protocol)
        if visit is None or self._server is None:
            raise asyncio.CancelledError  # its connection is closed
        is_told = log.isEnabledFor(logging.DEBUG)
        began = time.monotonic() if is_told else 0.0
        self.requests += 1
        self.in_progress += 1
        try:
            response = await self._responder.respond(ClientRequest(request, visit))
        finally:
            self.in_progress -= 1
        if is_told:
            took_ms = (time.monotonic() - began) * 1000
            path = request.rel_url.path
            log.debug("%s %s: %d in %.1f ms", request.method, path, response.status, took_ms)
        return response
