"""Ways to look at a running daemon: metrics for Prometheus, a page for people.

Both are always at the control socket; at ports of the loopback addresses only if the
configuration says so. A port that is taken is a pity, not an end: printers are served all
the same, and the status says why there is no page.

Knows the configuration and the status; what is shown is `metrics`' and `page`'s business.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from ippusbd.config import Config
from ippusbd.daemon.observe.http import Pages, Reply, WebServer
from ippusbd.proxy.admission.listening import bind_all

log = logging.getLogger("ippusbd.daemon")

Status = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


class Endpoints:
    """`status` is the daemon's; `pages` may be shown to whoever may ask the daemon."""

    def __init__(self, config: Config, status: Status) -> None:
        self._config = config
        self._status = status
        self._trouble = ""
        self.pages: Pages = {"/": self._page, "/metrics": self._metrics}

    def status(self) -> dict[str, str]:
        """Where the page is, or why it is nowhere; for `ippusbd status --json`."""
        config = self._config
        url = f"http://localhost:{config.page_port}/" if config.page and not self._trouble else ""
        return {"url": url, "trouble": self._trouble}

    async def start(self, stack: AsyncExitStack) -> None:
        """Listen as configured, until the end of `stack`."""
        config = self._config
        ports: dict[int, dict[str, Callable[[], Awaitable[Reply]]]] = {}
        if config.page:
            ports.setdefault(config.page_port, {})["/"] = self._page
        if config.metrics_port:
            ports.setdefault(config.metrics_port, {})["/metrics"] = self._metrics
        for port, pages in ports.items():
            await self._serve(port, pages, stack)

    async def _serve(self, port: int, pages: Pages, stack: AsyncExitStack) -> None:
        config = self._config
        hosts = [host for host in (config.listen_ipv4, config.listen_ipv6) if host]
        try:
            sockets = bind_all(hosts, port)
        except OSError as exc:
            trouble = f"port {port} cannot be had: {exc.strerror}"
            log.warning("%s: not there: %s", " and ".join(pages), trouble)
            if "/" in pages:
                self._trouble = trouble
            return
        server = WebServer(sockets, pages)
        await server.start()
        stack.push_async_callback(server.close)

    async def _metrics(self) -> Reply:
        from ippusbd.daemon.observe import metrics, process

        text = metrics.exposition(await self._status({}), process.usage())
        return Reply(text, metrics.CONTENT_TYPE)

    async def _page(self) -> Reply:
        from ippusbd.daemon.observe import page

        return page.reply(await self._status({}))
