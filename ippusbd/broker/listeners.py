"""All the Unix sockets of one run directory, opened and closed together.

A listener accepts, asks the kernel who the client is, refuses those that are
not admitted and hands over the others. Listeners are closed only while no
client is connecting: `close_if_quiet` closes all of them, and if it then finds
a client in any queue, it opens all again and serves it. So an idle exit loses
no client: it was accepted, or found no socket and may start a daemon.

A socket that systemd passed stays systemd's: its name is never touched, and
clients in its queue are served by the next instance.

Knows the event loop and `unix`; never what is spoken inside.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ippusbd.broker.unix import Bound, FolderLocked, bind, lock_folder
from ippusbd.errors import StateError
from ippusbd.users.accounts import EVERYBODY, Allowed
from ippusbd.users.ownership import make_folder, why
from ippusbd.users.peers import Peer, peer_of

log = logging.getLogger("ippusbd.broker")

OnClient = Callable[[socket.socket, Peer], None]
"""Takes ownership of a client's connection; must not wait."""

ACCEPTS_PER_TURN: Final = 64
OUT_OF_FILES_S: Final = 1.0
MAX_LISTENERS: Final = 256  # a device may show another vendor and product at every plug
CLAIM_TRIES, CLAIM_PAUSE_S = 200, 0.01


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """Where the sockets are, and who may use them."""

    folder: Path
    mode: int = 0o660
    gid: int | None = None
    allowed: Allowed = EVERYBODY


@dataclass(slots=True, eq=False)
class _Listener:
    name: str
    on_client: OnClient
    listening: socket.socket
    bound: Bound | None  # None: inherited from systemd
    known: set[tuple[int, int]] = field(
        default_factory=set
    )  # users that connected before, for the log


class Listeners:
    """Opens sockets by name; see the module."""

    def __init__(self, settings: ListenerSettings) -> None:
        self._settings = settings
        self._listeners: dict[str, _Listener] = {}
        self._pauses: set[asyncio.TimerHandle] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._listeners

    async def open(self, name: str, on_client: OnClient, *, alias: str = "") -> None:
        """Accept clients at `name` (and `alias`) in the folder, which is made if missing.

        Raises StateError; also when a live instance listens there.
        """
        if len(self._listeners) >= MAX_LISTENERS:
            raise StateError(f"{name}: {MAX_LISTENERS} sockets are open; restart the daemon")
        self._make_folder()
        for _ in range(CLAIM_TRIES):
            with suppress(FolderLocked):
                with lock_folder(self._settings.folder):
                    self._open(name, on_client, alias)
                return
            await asyncio.sleep(CLAIM_PAUSE_S)
        raise StateError(f"{self._settings.folder}: another instance holds the lock")

    def inherit(self, name: str, on_client: OnClient, listening: socket.socket) -> None:
        """Accept clients at a socket that systemd passed."""
        listening.setblocking(False)
        self._watch(_Listener(name, on_client, listening, None))

    def close_if_quiet(self) -> bool:
        """Close all; or False, and all are open again, because a client connected meanwhile."""
        try:
            with lock_folder(self._settings.folder):
                listeners = list(self._listeners.values())
                late = self._close_all()
                if not late:
                    _close_inherited(listeners)
                    return True
                self._reopen(listeners)
        except FolderLocked:
            return False
        except StateError as exc:  # the folder was removed
            log.warning("%s", exc)
            self.close()
            return True
        for listener, connections in late:
            log.info(
                "%s: a client connected during the idle exit, which is cancelled", listener.name
            )
            for connection in connections:
                self._hand_over(listener, connection)
        return False

    def close(self) -> None:
        """Close all now; clients still in a queue are refused. Idempotent."""
        listeners = list(self._listeners.values())
        for _, connections in self._close_all():
            for connection in connections:
                connection.close()
        _close_inherited(listeners)

    # --- opening and closing

    def _make_folder(self) -> None:
        folder = self._settings.folder
        try:
            make_folder(folder, 0o755)
        except OSError as exc:
            raise StateError(f"{folder}: {why(exc, folder)}") from exc

    def _open(self, name: str, on_client: OnClient, alias: str) -> None:
        settings = self._settings
        bound = bind(settings.folder / name, mode=settings.mode, gid=settings.gid, alias=alias)
        self._watch(_Listener(name, on_client, bound.listening, bound))

    def _watch(self, listener: _Listener) -> None:
        self._listeners[listener.name] = listener
        asyncio.get_running_loop().add_reader(listener.listening, self._accept, listener)

    def _close_all(self) -> list[tuple[_Listener, list[socket.socket]]]:
        """Close every listener; those with queued connections, and these."""
        for pause in self._pauses:
            pause.cancel()
        self._pauses.clear()
        listeners, self._listeners = self._listeners, {}
        late = []
        for listener in listeners.values():
            asyncio.get_running_loop().remove_reader(listener.listening)
            connections = listener.bound.close_and_take_queued() if listener.bound else []
            if connections:
                late.append((listener, connections))
        return late

    def _reopen(self, listeners: list[_Listener]) -> None:
        for listener in listeners:
            if listener.bound is None:
                self._watch(listener)
                continue
            try:
                self._open(listener.name, listener.on_client, listener.bound.alias)
            except StateError as exc:  # queued clients are served all the same
                log.error("cannot reopen a socket: %s", exc)

    # --- accepting

    def _accept(self, listener: _Listener) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                connection, _ = listener.listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                self._pause(listener, exc)
                return
            self._hand_over(listener, connection)

    def _pause(self, listener: _Listener, exc: OSError) -> None:
        """Out of file descriptors: the queue keeps its clients until some are free again."""
        log.error("%s: cannot accept: %s", listener.name, exc.strerror)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener.listening)
        self._pauses.add(loop.call_later(OUT_OF_FILES_S, self._resume, listener))

    def _resume(self, listener: _Listener) -> None:
        if self._listeners.get(listener.name) is listener:
            asyncio.get_running_loop().add_reader(listener.listening, self._accept, listener)

    def _hand_over(self, listener: _Listener, connection: socket.socket) -> None:
        """Hand over a client, or refuse it."""
        connection.setblocking(False)
        try:
            peer = peer_of(connection)
        except OSError:
            connection.close()
            return
        if not self._settings.allowed.admits(peer.uid, peer.gids):
            log.warning("%s: refused %s", listener.name, peer)
            connection.close()
            return
        first = (peer.uid, peer.gid) not in listener.known
        listener.known.add((peer.uid, peer.gid))
        log.log(logging.INFO if first else logging.DEBUG, "%s: client %s", listener.name, peer)
        listener.on_client(connection, peer)


def _close_inherited(listeners: list[_Listener]) -> None:
    """Close our copies of systemd's sockets; the others are closed already."""
    for listener in listeners:
        if listener.bound is None:
            listener.listening.close()
