r"""The control socket: JSON lines over a Unix socket, from the daemon's first moment to its last.

    -> {"command": "status"}\n
    <- {"ok": true, "result": {...}}\n      or {"ok": false, "error": "why"}\n

A client whose first line is an HTTP request (`curl --unix-socket ... http://localhost/metrics`)
gets one of `pages`, and is sent away. A command of `streams` answers with a line for each event,

    <- {"ok": true, "event": {...}}\n

until its client leaves, or says anything more.

Who may ask is decided by the kernel's word on the peer: root, our own user,
and members of one group if it is configured. Clients are bounded in number, requests
in size, and each client has a task and deadlines of its own, so a slow or
silent one delays nobody.

Knows nothing of what is asked: commands are coroutine functions by name.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final

from ippusbd.daemon.observe.http import METHODS, Pages, answer
from ippusbd.daemon.state.state_file import make_directory
from ippusbd.errors import IppUsbError, StateError
from ippusbd.users.accounts import group_id

log = logging.getLogger("ippusbd.daemon")

Handler = Callable[[Mapping[str, Any]], Awaitable[object]]
Stream = Callable[[Mapping[str, Any]], AsyncGenerator[object, None]]

MAX_REQUEST_BYTES: Final = 64 * 1024
LAST_ANSWERS_S: Final = 1.0
_HTTP: Final = tuple(f"{method} ".encode() for method in METHODS)
_PEER_GROUPS: Final = 59  # SO_PEERGROUPS of asm-generic/socket.h; Python has no name for it
_MAX_GROUPS: Final = 65536  # NGROUPS_MAX


class ControlServer:
    """Listens on `path` and answers with `handlers`."""

    def __init__(
        self,
        path: Path,
        handlers: Mapping[str, Handler],
        *,
        group: str = "",
        pages: Pages | None = None,
        streams: Mapping[str, Stream] | None = None,
        max_clients: int = 32,
        client_s: float = 5.0,
    ) -> None:
        self._path = path
        self._handlers = handlers
        self._pages = pages or {}
        self._streams = streams or {}
        self._group = group_id(group, "[daemon] control_group") if group else None
        self._max_clients = max_clients
        self._client_s = client_s
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._clients: set[asyncio.Task[None]] = set()
        self._answering: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Answer from now on; the socket of a dead instance is replaced.

        Raises StateError if a live instance listens there, or the socket cannot be made.
        """
        listening = listen(self._path, self._group)
        self._inode = self._path.stat().st_ino
        self._server = await asyncio.start_unix_server(
            self._accepted, sock=listening, limit=MAX_REQUEST_BYTES
        )

    async def close(self) -> None:
        """Stop listening, let answers under way go out, send the others away."""
        if self._server is None:
            return
        with suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:  # not that of a successor
                self._path.unlink()
        self._server.close()
        for task in self._clients - self._answering:
            task.cancel()
        if self._clients:
            _, late = await asyncio.wait(self._clients, timeout=LAST_ANSWERS_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    # --- clients

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        refused = self._refusal(writer)
        if refused:
            writer.write(_line({"ok": False, "error": refused}))
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="control")
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    def _refusal(self, writer: asyncio.StreamWriter) -> str:
        if len(self._clients) >= self._max_clients:
            return "too many clients at once; try again"
        peer = writer.get_extra_info("socket")
        pid, uid, gid = struct.unpack(
            "3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        )
        if uid in (0, os.geteuid()) or self._group in (gid, *_peer_groups(peer)):
            return ""
        log.warning("control: user %d (process %d) refused", uid, pid)
        return "you may not ask this daemon"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client: a line in, a line out, until it leaves or is too slow."""
        try:
            while line := await self._next_line(reader):
                if line.startswith(_HTTP):
                    await self._browse(line, reader, writer)
                    break
                request = _parsed(line)
                stream = self._streams.get(str(request.get("command")))
                if stream is not None:
                    await self._tell(stream(request), reader, writer)
                    break
                await self._answer(line, writer)
        except (TimeoutError, ConnectionError):
            writer.transport.abort()  # what it did not take is not kept for it
        finally:
            writer.close()

    async def _tell(
        self,
        events: AsyncGenerator[object, None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Every event, until there are no more or the client has seen enough."""
        telling = asyncio.create_task(self._tell_all(events, writer), name="control-stream")
        leaving = asyncio.create_task(reader.read(1), name="control-leaving")
        try:
            await asyncio.wait([telling, leaving], return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                telling.result()  # raises what ended it
        finally:
            leaving.cancel()
            telling.cancel()
            await asyncio.gather(telling, leaving, return_exceptions=True)

    async def _tell_all(
        self, events: AsyncGenerator[object, None], writer: asyncio.StreamWriter
    ) -> None:
        async with aclosing(events) as each:
            try:
                async for event in each:
                    writer.write(_line({"ok": True, "event": event}))
                    async with asyncio.timeout(self._client_s):
                        await writer.drain()
            except IppUsbError as exc:
                writer.write(_line({"ok": False, "error": str(exc)}))

    async def _browse(
        self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one HTTP request. The kernel said who asks, so its Host may be anything."""
        head = line
        while line.strip() and len(head) <= MAX_REQUEST_BYTES:
            line = await self._next_line(reader)
            head += line
        async with asyncio.timeout(self._client_s):
            writer.write(await answer(head, self._pages, any_host=True))
            await writer.drain()

    async def _next_line(self, reader: asyncio.StreamReader) -> bytes:
        """A request; empty at the end."""
        async with asyncio.timeout(self._client_s):
            try:
                return await reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as exc:
                raise ConnectionAbortedError("request too long") from exc
            except asyncio.IncompleteReadError:
                return b""

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        try:
            writer.write(_line(await self._reply(line)))
            async with asyncio.timeout(self._client_s):
                await writer.drain()
        finally:
            self._answering.discard(task)

    async def _reply(self, line: bytes) -> dict[str, object]:
        request = _parsed(line)
        if not request:
            return {"ok": False, "error": "not a line of JSON"}
        name = request.get("command")
        handler = self._handlers.get(name) if isinstance(name, str) else None
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return {"ok": False, "error": f"unknown command; known: {known}"}
        try:
            return {"ok": True, "result": await handler(request)}
        except IppUsbError as exc:
            return {"ok": False, "error": str(exc)}


def _parsed(line: bytes) -> dict[str, Any]:
    """The request in a line; empty if there is none."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return request if isinstance(request, dict) else {"command": None}


def _line(answer: Mapping[str, object]) -> bytes:
    return json.dumps(answer).encode() + b"\n"


# --- the socket


def listen(path: Path, group: int | None = None) -> socket.socket:
    """A listening socket that only we, root and `group` can open.

    The caller holds the instance's lock: nobody else replaces the same stale socket now.
    """
    make_directory(path.parent)
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        os.fchmod(listening.fileno(), 0o600)  # Linux gives the file this mode: no moment is open
        listening.bind(str(path))
        if group is not None:
            os.chown(path, -1, group)
            path.chmod(0o660)
        listening.listen(64)
    except OSError as exc:
        listening.close()
        raise StateError(f"{path} cannot be made: {exc.strerror or exc}") from exc
    return listening


def _remove_stale(path: Path) -> None:
    """Unlink a socket nobody listens on. Raises StateError for one that is alive."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as client:
        try:
            client.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            if not path.is_socket():
                raise StateError(f"{path} is in the way: not a socket") from None
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # alive, with many clients
        except OSError as exc:
            raise StateError(f"{path} cannot be used: {exc.strerror or exc}") from exc
    raise StateError(f"another ippusbd listens on {path}")


def _peer_groups(peer: socket.socket) -> tuple[int, ...]:
    """The supplementary groups that the peer had when it connected."""
    try:
        raw = peer.getsockopt(socket.SOL_SOCKET, _PEER_GROUPS, 4 * _MAX_GROUPS)
    except OSError:
        return ()
    return struct.unpack(f"{len(raw) // 4}I", raw)
