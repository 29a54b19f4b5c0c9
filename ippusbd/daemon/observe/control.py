r"""The control socket: JSON lines over a Unix socket, from the daemon's first moment to its last.

    -> {"command": "status"}\n
    <- {"ok": true, "result": {...}}\n      or {"ok": false, "error": "why", "reason": {...}}\n

`reason` is the error as a `Diagnosis`: its kind, its remedy and its facts.

A client whose first line is an HTTP request (`curl --unix-socket ... http://localhost/metrics`)
is passed to `http`, which closes the connection. A command of `streams` answers with a line for
each event,

    <- {"ok": true, "event": {...}}\n

until its client leaves or sends anything more.

The kernel's report of the peer decides who may connect: root, the daemon's own user,
and members of one group if it is configured. Clients are limited in number, requests
in size, and each client has its own task and deadlines, so a slow or silent one delays
no other.

Knows nothing of the commands: they are coroutine functions by name.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from ippusbd.broker.unix import Bound, bind
from ippusbd.daemon.state.files import make_directory
from ippusbd.dataclass_json import encode
from ippusbd.errors import IppUsbError
from ippusbd.kinds import Diagnosis, Kind
from ippusbd.users.accounts import Allowed, group_id
from ippusbd.users.peers import Connected, Peer, peer_of

log = logging.getLogger("ippusbd.daemon")

Handler = Callable[[Mapping[str, Any]], Awaitable[object]]
Stream = Callable[[Mapping[str, Any]], AsyncGenerator[object, None]]
Http = Callable[[asyncio.WriteTransport, bytes], Awaitable[None]]
"""Answers the request with that head, and returns when the connection is closed."""

MAX_REQUEST_BYTES: Final = 64 * 1024
LAST_ANSWERS_S: Final = 1.0
_HTTP: Final = (b"GET ", b"HEAD ")


class ControlServer:
    """Listens on `path` and answers with `handlers`."""

    def __init__(
        self,
        path: Path,
        handlers: Mapping[str, Handler],
        *,
        group: str = "",
        http: Http | None = None,
        streams: Mapping[str, Stream] | None = None,
        max_clients: int = 32,
        client_s: float = 5.0,
        peer_of: Callable[[Connected], Peer] = peer_of,
    ) -> None:
        self._path = path
        self._handlers = handlers
        self._http = http
        self._streams = streams or {}
        self._gid = group_id(group, "[daemon] control_group") if group else None
        gids = frozenset() if self._gid is None else frozenset({self._gid})
        self._allowed = Allowed(frozenset({0}), gids)
        self._peer_of = peer_of
        self._max_clients = max_clients
        self._client_s = client_s
        self._server: asyncio.Server | None = None
        self._bound: Bound | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._answering: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; the socket of a dead instance is replaced. The caller holds the instance's lock.

        Raises StateError if a live instance listens there, or the socket cannot be created.
        """
        make_directory(self._path.parent, 0o700 if self._gid is None else 0o755)
        mode = 0o600 if self._gid is None else 0o660
        self._bound = bind(self._path, mode=mode, gid=self._gid)
        self._server = await asyncio.start_unix_server(
            self._accepted, sock=self._bound.listening, limit=MAX_REQUEST_BYTES
        )

    async def close(self) -> None:
        """Stop listening; answers in progress are sent, other connections closed."""
        if self._server is None or self._bound is None:
            return
        self._bound.unlink()
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
        if refused is not None:
            writer.write(_line(_failure(refused)))
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="control")
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    def _refusal(self, writer: asyncio.StreamWriter) -> Diagnosis | None:
        if len(self._clients) >= self._max_clients:
            return Kind.CROWDED.of()
        peer = self._peer_of(writer.get_extra_info("socket"))
        if self._allowed.admits(peer.uid, peer.gids):
            return None
        log.warning("control socket: refused %s", peer)
        return Kind.CONTROL.of(again="the same command")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client: a line in, a line out, until it leaves or is too slow."""
        try:
            while line := await self._next_line(reader):
                if line.startswith(_HTTP) and self._http is not None:
                    await self._pass_to_http(self._http, line, reader, writer)
                    break
                request = _parsed(line)
                stream = self._streams.get(str(request.get("command")))
                if stream is not None:
                    await self._stream(stream(request), reader, writer)
                    break
                await self._answer(line, writer)
        except (TimeoutError, ConnectionError):
            writer.transport.abort()  # what it did not read is discarded
        finally:
            writer.close()

    async def _stream(
        self,
        events: AsyncGenerator[object, None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Send every event, until there are no more or the client leaves."""
        sending = asyncio.create_task(self._send_events(events, writer), name="control-stream")
        leaving = asyncio.create_task(reader.read(1), name="control-leaving")
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()  # raises what ended it
        finally:
            leaving.cancel()
            sending.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send_events(
        self, events: AsyncGenerator[object, None], writer: asyncio.StreamWriter
    ) -> None:
        async with aclosing(events) as each:
            try:
                async for event in each:
                    writer.write(_line({"ok": True, "event": event}))
                    async with asyncio.timeout(self._client_s):
                        await writer.drain()
            except IppUsbError as exc:
                writer.write(_line(_failure(exc.diagnosis)))

    async def _pass_to_http(
        self, http: Http, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = line
        while line.strip() and len(head) <= MAX_REQUEST_BYTES:
            line = await self._next_line(reader)
            head += line
        async with asyncio.timeout(self._client_s):
            await http(writer.transport, head)

    async def _next_line(self, reader: asyncio.StreamReader) -> bytes:
        """A request; empty at the end of the stream."""
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
            return _failure(Kind.REQUEST.of("not a JSON object on a line"))
        name = request.get("command")
        handler = self._handlers.get(name) if isinstance(name, str) else None
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return _failure(Kind.REQUEST.of(f"unknown command; known: {known}"))
        try:
            return {"ok": True, "result": encode(await handler(request))}
        except IppUsbError as exc:
            return _failure(exc.diagnosis)


def _parsed(line: bytes) -> dict[str, Any]:
    """The request in a line; empty if it is none."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return request if isinstance(request, dict) else {"command": None}


def _failure(reason: Diagnosis) -> dict[str, object]:
    return {"ok": False, "error": reason.text, "reason": encode(reason)}


def _line(answer: Mapping[str, object]) -> bytes:
    return json.dumps(answer).encode() + b"\n"
