"""A door to the network: lets in over TLS who comes from where clients may come from.

Whoever does not is told nothing: his connection is closed before a byte is read. A handshake has
a deadline and there are only so many at a time, because a client that never finishes one is no
guest of the server yet, and would cost memory for nothing.

Knows sockets and tasks; what is spoken inside TLS is the server's affair.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Final

log = logging.getLogger("ippusbd.http")

HANDSHAKES: Final = 64  # at a time; more are refused
NO_FILES_S: Final = 1.0  # pause when no connection can be taken


class TlsListener:
    """Accepts on a bound socket until `close`."""

    def __init__(
        self,
        listening: socket.socket,
        admits: Callable[[str], bool],
        greet: Callable[[socket.socket], Awaitable[None]],
    ) -> None:
        """`admits` tells whether an address may come in; `greet` takes a connection over."""
        self._listening = listening
        self._admits = admits
        self._greet = greet
        self._greeting: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._accept(), name="door")

    async def close(self) -> None:
        """Let nobody more in."""
        tasks = {self._task, *self._greeting}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        self._listening.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(self._listening)
            except OSError as exc:
                log.warning("no connection can be taken from the network: %s", exc.strerror)
                await asyncio.sleep(NO_FILES_S)
                continue
            address = str(peer[0])
            if not self._admits(address):
                log.info("%s may not use this printer: closed", address)
                connection.close()
            elif len(self._greeting) >= HANDSHAKES:
                log.info("%s: too many come at once: closed", address)
                connection.close()
            else:
                self._meet(connection)

    def _meet(self, connection: socket.socket) -> None:
        task = asyncio.create_task(self._met(connection), name="TLS handshake")
        self._greeting.add(task)
        task.add_done_callback(self._greeting.discard)

    async def _met(self, connection: socket.socket) -> None:
        await self._greet(connection)
