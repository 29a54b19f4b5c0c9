"""The smallest HTTP server that a browser and Prometheus are content with.

GET and HEAD of a few fixed paths; one request a connection, no body, no keep-alive, bounded
in size, time and number. On TCP the Host must name this machine's loopback: a page of another
site whose name was pointed at 127.0.0.1 gets nothing (DNS rebinding). The control socket, which
the kernel guards, asks no Host.

Knows asyncio streams; nothing of what the pages show.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

log = logging.getLogger("ippusbd.daemon")

MAX_HEAD_BYTES: Final = 16 * 1024
CLIENT_S: Final = 5.0
MAX_CLIENTS: Final = 32
METHODS: Final = ("GET", "HEAD")
_HOST: Final = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    421: "Misdirected Request",
}
_ALWAYS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Connection", "close"),
)


@dataclass(frozen=True, slots=True)
class Reply:
    body: str
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


Pages = Mapping[str, Callable[[], Awaitable[Reply]]]


async def answer(head: bytes, pages: Pages, *, any_host: bool = False) -> bytes:
    """The whole response to a request whose head is `head`."""
    lines = head.decode("latin-1").splitlines()
    method, _, rest = (lines[0] if lines else "").partition(" ")
    target, _, version = rest.partition(" ")
    if not version.startswith("HTTP/1."):
        return _encoded(Reply("not an HTTP request\n", status=400))
    hosts = [line.partition(":")[2].strip() for line in lines if line[:5].lower() == "host:"]
    if not any_host and (len(hosts) != 1 or not _HOST.fullmatch(hosts[0])):
        return _encoded(Reply("this is localhost, and answers to no other name\n", status=421))
    if method not in METHODS:
        allow = (("Allow", ", ".join(METHODS)),)
        return _encoded(Reply("only looked at: GET\n", status=405, headers=allow))
    page = pages.get(target.partition("?")[0])
    if page is None:
        return _encoded(Reply("no such page\n", status=404))
    return _encoded(await page(), body=method != "HEAD")


def _encoded(reply: Reply, *, body: bool = True) -> bytes:
    content = reply.body.encode("utf-8", "replace")
    fields = (
        ("Content-Type", reply.content_type),
        ("Content-Length", str(len(content))),
        *_ALWAYS,
        *reply.headers,
    )
    head = f"HTTP/1.1 {reply.status} {_REASONS[reply.status]}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
    return head.encode("latin-1", "replace") + (content if body else b"")


class WebServer:
    """Serves `pages` on bound sockets, from `start` to `close`."""

    def __init__(self, sockets: list[socket.socket], pages: Pages) -> None:
        self._sockets = sockets
        self._pages = pages
        self._servers: list[asyncio.Server] = []
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        for listening in self._sockets:
            server = await asyncio.start_server(
                self._accepted, sock=listening, limit=MAX_HEAD_BYTES, backlog=MAX_CLIENTS
            )
            self._servers.append(server)

    async def close(self) -> None:
        """Stop listening, and send clients away."""
        for server in self._servers:
            server.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MAX_CLIENTS:
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="web")
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(CLIENT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await answer(head, self._pages))
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            writer.transport.abort()
        except asyncio.LimitOverrunError:
            writer.write(_encoded(Reply("too long\n", status=400)))
        finally:
            writer.close()
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(CLIENT_S):
                    await writer.wait_closed()
