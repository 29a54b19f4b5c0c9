"""Framed messages with one client of the broker or of a keep-alive socket.

A client that is malformed, slow or silent is disconnected within a bounded
time, in good order: what was sent reaches it, then the end of the stream.

Knows asyncio's streams; never which messages make sense.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from ippusbd.errors import ClientGone
from ippusbd.wire.broker import MAX_MESSAGE, encode, next_message

SEND_S: Final = 0.5


class MessageStream:
    """One client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._received = b""

    async def receive(self, within_s: float | None) -> str:
        """The next message. Raises ClientGone when there is none in time; BadRequest."""
        try:
            async with asyncio.timeout(within_s):
                while (message := next_message(self._received)) is None:
                    more = await self._reader.read(MAX_MESSAGE)
                    if not more:
                        raise ClientGone("disconnected")
                    self._received += more
        except TimeoutError:
            raise ClientGone("sent no complete message in time") from None
        except OSError as exc:
            raise ClientGone(f"disconnected: {exc.strerror}") from exc
        text, self._received = message
        return text

    async def send(self, text: str) -> None:
        """Send one message. Raises ClientGone."""
        self._writer.write(encode(text))
        try:
            async with asyncio.timeout(SEND_S):
                await self._writer.drain()
        except (OSError, TimeoutError) as exc:
            raise ClientGone(f"does not read its answer: {exc}") from exc


@asynccontextmanager
async def message_stream(connection: socket.socket) -> AsyncIterator[MessageStream]:
    """Messages over `connection`, which is closed at the end."""
    reader, writer = await asyncio.open_connection(sock=connection, limit=1024)
    try:
        yield MessageStream(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
