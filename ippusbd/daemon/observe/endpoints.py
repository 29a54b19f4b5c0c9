"""HTTP endpoints of a running daemon: metrics for Prometheus, a status page for people.

Both are available at the control socket; at ports of the loopback addresses only if the
configuration says so. A port that is in use disables its endpoint: printers are still served,
and the status says why there is no page.

Only GET and HEAD of fixed paths, one request a connection. On TCP the Host must be a name of this
machine, as for printers (`proxy.access.origin`): a web page whose name was pointed at 127.0.0.1 is
refused. At the control socket, where the kernel reports who connects, any Host is accepted.

aiohttp is imported when an endpoint is configured or first used, when the control socket is open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

from ippusbd.config import Config
from ippusbd.daemon.observe.status import PageStatus, Status
from ippusbd.kinds import Kind
from ippusbd.proxy.access.origin import refused_browser, refused_host
from ippusbd.proxy.admission.connection_limit import Connection, ConnectionLimit
from ippusbd.proxy.admission.handover import Handover, refusal
from ippusbd.proxy.admission.listeners import bind_all
from ippusbd.users.client_identity import identify

if TYPE_CHECKING:
    from ippusbd.proxy.aiohttp_server import HttpServer, web

log = logging.getLogger("ippusbd.daemon")

MAX_CLIENTS: Final = 32
CLIENT_S: Final = 5.0
MAX_HEAD_BYTES: Final = 16 * 1024
METHODS: Final = ("GET", "HEAD")
PAGE, METRICS = "/", "/metrics"
_ALWAYS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Endpoints:
    """Serves what `status`, the daemon's, reports."""

    def __init__(self, config: Config, status: Callable[[], Status]) -> None:
        self._config = config
        self._status = status
        self._trouble = ""
        self._ports: dict[int, set[str]] = {}  # the paths that are served at each
        if config.page:
            self._ports.setdefault(config.page_port, set()).add(PAGE)
        if config.metrics_port:
            self._ports.setdefault(config.metrics_port, set()).add(METRICS)
        self._server: HttpServer | None = None
        self._closed: dict[web.RequestHandler, asyncio.Future[None]] = {}  # of the control socket
        clock = asyncio.get_running_loop().time
        self._limit = ConnectionLimit(MAX_CLIENTS, stall_s=CLIENT_S, clock=clock)
        self._admitted: dict[web.RequestHandler, Connection] = {}

    def status(self) -> PageStatus:
        """Where the page is, or why there is none."""
        config = self._config
        is_served = config.page and not self._trouble
        url = f"http://{config.listen_host}:{config.page_port}/" if is_served else ""
        return PageStatus(url=url, trouble=self._trouble)

    async def start(self, stack: AsyncExitStack) -> None:
        """Listen as configured, until the end of `stack`."""
        stack.push_async_callback(self._close)
        config, loop = self._config, asyncio.get_running_loop()
        for port, paths in self._ports.items():
            try:
                sockets = bind_all(config.listen_addresses, port)
            except OSError as exc:
                trouble = Kind.PAGE.of(port=port, why=exc.strerror)
                what = " and ".join({PAGE: "status page", METRICS: "metrics"}[p] for p in paths)
                log.warning("%s disabled: %s", what, trouble)
                if PAGE in paths:
                    self._trouble = trouble.text
                continue
            server = self._http_server()
            full = refusal("too many clients; try again", int(CLIENT_S))
            for each in sockets:
                make = partial(Handover, partial(self._admit, server), full)
                listening = await loop.create_server(make, sock=each, backlog=MAX_CLIENTS)
                stack.callback(listening.close)

    async def answer(self, transport: asyncio.WriteTransport, head: bytes) -> None:
        """Answer the request `head` of a control socket's client; see `control.Http`."""
        handler = self._http_server()()
        closed = self._closed[handler] = asyncio.get_running_loop().create_future()
        transport.set_protocol(handler)
        handler.connection_made(transport)
        handler.data_received(head)
        await closed

    def _http_server(self) -> HttpServer:
        if self._server is None:
            from ippusbd.proxy.aiohttp_server import HttpServer

            self._server = HttpServer(
                self._respond,
                lost=self._lost,
                log=log,
                idle_s=CLIENT_S,
                max_header_bytes=MAX_HEAD_BYTES,
            )
        return self._server

    def _admit(self, server: HttpServer, transport: asyncio.Transport) -> web.RequestHandler | None:
        connection = self._limit.admit(identify(transport).owner, lambda _: transport.abort())
        if connection is None:
            return None
        handler = server()
        self._admitted[handler] = connection
        return handler

    def _lost(self, handler: web.RequestHandler) -> None:
        if connection := self._admitted.pop(handler, None):
            self._limit.left(connection)
        closed = self._closed.pop(handler, None)
        if closed is not None and not closed.done():
            closed.set_result(None)

    async def _close(self) -> None:
        if self._server is not None:
            await self._server.close(0)

    # --- a request

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        response = self._response(request)
        response.headers.update(_ALWAYS)
        response.force_close()
        return response

    def _response(self, request: web.BaseRequest) -> web.Response:
        from ippusbd.proxy.aiohttp_server import web

        here = request.transport.get_extra_info("sockname") if request.transport else None
        paths = {PAGE, METRICS}
        if isinstance(here, tuple):
            names = frozenset(self._config.hosts)
            headers, path = request.headers, request.rel_url.raw_path
            refused = refused_host(headers.get("Host"), here[0], names)
            refused = refused or refused_browser(request.method, path, headers, names)
            if refused is not None:
                to = {"Location": refused.location} if refused.location else None
                return web.Response(status=refused.status, text=f"{refused.reason}\n", headers=to)
            paths = self._ports[here[1]]
        if request.method not in METHODS:
            allow = {"Allow": ", ".join(METHODS)}
            return web.Response(status=405, text="only GET and HEAD are allowed\n", headers=allow)
        path = request.rel_url.path
        if path not in paths:
            return web.Response(status=404, text="no such page\n")
        return self._page() if path == PAGE else self._metrics()

    def _metrics(self) -> web.Response:
        from ippusbd.daemon.observe import metrics
        from ippusbd.proxy.aiohttp_server import web

        text = metrics.exposition(self._status(), metrics.process())
        return web.Response(body=text.encode(), headers={"Content-Type": metrics.CONTENT_TYPE})

    def _page(self) -> web.Response:
        from ippusbd.daemon.observe import page
        from ippusbd.proxy.aiohttp_server import web

        fields = {"Content-Security-Policy": page.POLICY, "Refresh": str(page.REFRESH_S)}
        text = "\n".join(page.document(self._status())) + "\n"
        return web.Response(text=text, content_type="text/html", headers=fields)
