"""A TLS listener on an address of the network, open to clients from allowed addresses.

The connection of any other client is closed before a byte is read. Handshakes have a deadline and
a limit, because connections in a handshake are not yet counted by the server's own limit. Clients
share the places by address, and by link.

Knows sockets and tasks; nothing of what is sent inside TLS.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Final

from ippusbd.fair_tasks import FairTasks
from ippusbd.users.client_identity import host

log = logging.getLogger("ippusbd.http")

HANDSHAKES: Final = 64  # at a time
ACCEPTS_PER_TURN: Final = 16
NO_FILES_S: Final = 1.0  # pause after a failed accept


class TlsListener:
    """Accepts on a bound, non-blocking socket until `close`."""

    def __init__(
        self,
        listening: socket.socket,
        admits: Callable[[str], bool],
        adopt: Callable[[socket.socket], Coroutine[None, None, None]],
    ) -> None:
        """`admits(address)`: it is allowed; `adopt` takes a connection over."""
        self._listening = listening
        self._admits = admits
        self._adopt = adopt
        self._handshakes: set[asyncio.Task[None]] = set()
        self._places = FairTasks(HANDSHAKES)
        self._pause: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(listening, self._accept)

    async def close(self) -> None:
        """Stop listening; handshakes in progress are cancelled."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()
        for task in self._handshakes:
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                connection, peer = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                log.warning("cannot accept connections from the network: %s", exc.strerror)
                self._loop.remove_reader(self._listening)
                self._pause = self._loop.call_later(
                    NO_FILES_S, self._loop.add_reader, self._listening, self._accept
                )
                return
            connection.setblocking(False)
            self._admit(connection, str(peer[0]))

    def _admit(self, connection: socket.socket, address: str) -> None:
        if not self._admits(address):
            log.info("%s is not in the allowed networks: closed", address)
            connection.close()
            return
        task = self._loop.create_task(self._adopt(connection), name="tls-handshake")
        self._handshakes.add(task)

        def ended(_: asyncio.Task[None]) -> None:
            self._handshakes.discard(task)
            if task.cancelled():  # perhaps before it began
                connection.close()

        task.add_done_callback(ended)
        if self._places.add(task, *host(address)) is not None:
            log.info("too many TLS handshakes: the oldest of the client with most is ended")
