"""The first protocol of a connection: hands it over to the HTTP server, or refuses it with 503.

A refused client gets a whole response, whatever it was about to request, and a
moment to read it: closing at once would reset the connection before that.

Knows asyncio's transports; `admit` decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

LINGER_S = 0.5  # for reading the response, before the connection is closed


# Bytes read from a connection at once. What a client sends before it is served is buffered, for
# each of hundreds of clients; what it sends later is passed on.
READ_AT_FIRST = 32 * 1024
READ_SERVED = 256 * 1024


class _Reads(Protocol):
    """asyncio's transports of sockets."""

    max_size: int


def may_read(transport: asyncio.BaseTransport | None, size: int) -> None:
    """Set how many bytes `transport` reads at once."""
    if transport is not None:
        cast(_Reads, transport).max_size = size


class Handover(asyncio.Protocol):
    """The protocol of a new connection. `admit` returns its next one; None: refuse it."""

    def __init__(
        self, admit: Callable[[asyncio.Transport], asyncio.Protocol | None], refusal: bytes
    ) -> None:
        self._admit = admit
        self._refusal = refusal
        self._closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        may_read(transport, READ_AT_FIRST)
        admitted = self._admit(transport)
        if admitted is not None:
            transport.set_protocol(admitted)
            admitted.connection_made(transport)
            return
        transport.write(self._refusal)
        if transport.can_write_eof():
            transport.write_eof()
        loop = asyncio.get_running_loop()
        self._closing = loop.call_later(LINGER_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """A refused client's request is ignored."""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._closing is not None:
            self._closing.cancel()


def dismiss(transport: asyncio.Transport, refusal: bytes) -> None:
    """Answer `refusal` to a client whose protocol has given `transport` up, and close it."""
    protocol = Handover(lambda _: None, refusal)
    transport.set_protocol(protocol)
    transport.resume_reading()  # closing with unread data would reset the connection
    protocol.connection_made(transport)


def refusal(reason: str, retry_after_s: int) -> bytes:
    """A whole response 503 that ends its connection."""
    return _last_response("503 Service Unavailable", f"Retry-After: {retry_after_s}\r\n", reason)


def malformed(reason: str) -> bytes:
    """A whole response 400 that ends its connection."""
    return _last_response("400 Bad Request", "", reason)


def _last_response(status: str, fields: str, reason: str) -> bytes:
    text = f"ippusbd: {reason}\n"
    return (
        f"HTTP/1.1 {status}\r\n"
        f"{fields}"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(text)}\r\n"
        f"Connection: close\r\n\r\n{text}"
    ).encode("ascii")
