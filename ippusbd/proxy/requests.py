"""A client's request: its head, its body as it is read, and the state of its connection.

A small body is read whole before a printer is involved; a larger one is a stream. How
far the client has come and whether it is its turn can be seen from outside, so that a
client that stops in the middle cannot hold what others wait for.

Knows aiohttp's requests; nothing of printers.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ippusbd.errors import ClientGone
from ippusbd.exchange.request import Request
from ippusbd.proxy.access.origin import OWN_NAMES
from ippusbd.proxy.admission.connection_limit import Connection, ConnectionLimit, Doing
from ippusbd.proxy.admission.handover import READ_SERVED, may_read
from ippusbd.proxy.aiohttp_server import HttpProcessingError, target_of, web
from ippusbd.proxy.heads import origin_form, refuse_ambiguous
from ippusbd.users.client_identity import ClientIdentity
from ippusbd.wire.text import one_line

AGENT_CHARS = 40
PROGRESS = 1024  # so many bytes of a body count as progress


@dataclass(slots=True)
class Visit:
    """A client's connection: its place under the limit, and who the client is, as known so far."""

    connection: Connection
    limit: ConnectionLimit
    identity: ClientIdentity
    waiting: Request | None = None  # for an interface, or on its way
    program: str = ""  # found out once


class ClientRequest:
    """One request on the connection `visit`."""

    def __init__(self, request: web.BaseRequest, visit: Visit) -> None:
        self.web = request
        self._visit = visit
        self.target = ""  # as it was sent, as a path; see `check`
        self.received = 0  # bytes of the body
        self.owes = False  # it is the client's turn: to send more of the body
        self.hung_up = False  # its connection was closed by us, not by the client
        self._held = False

    def __str__(self) -> str:
        path = target_of(self.web).partition("?")[0]  # as it was sent: no escapes undone
        return f"{self.web.method[:20]} {path[:200]}"

    def check(self) -> None:
        """Check the head. Raises BadRequest for a request that no printer must see."""
        self.target = origin_form(self.web.method, target_of(self.web))
        refuse_ambiguous(self.web.version, self.web.raw_headers)

    # --- who the client is

    @property
    def identity(self) -> ClientIdentity:
        return self._visit.identity

    async def identify(self, *, by_group: bool) -> None:
        """Look up the user, and its groups if `by_group`; once for a connection."""
        self._visit.identity = await self.identity.known(by_group=by_group)

    @property
    def is_remote(self) -> bool:
        """It came over TLS, so from the network."""
        return self.web.secure

    @property
    def path(self) -> str:
        """Its target without the query."""
        return self.target.partition("?")[0]

    @property
    def content_types(self) -> list[str]:
        """All its Content-Type fields."""
        return list(self.web.headers.getall("Content-Type", ()))

    def base(self, port: int) -> str:
        """The URL that the client used; links to the printer start with it.

        A client of a Unix socket names a host that no browser can open: it gets localhost.
        """
        host = None if self.identity.unix else self.web.headers.get("Host")
        return f"{self.web.scheme}://{host or f'localhost:{port}'}"

    def origins(self, port: int) -> frozenset[str]:
        """What pages that we served to this client may have for their origin, in lower case."""
        named = f"{self.web.scheme}://{self.web.headers.get('Host', '')}".lower()
        here = () if self.is_remote else (*OWN_NAMES, "127.0.0.1", "[::1]")
        return frozenset({named, *(f"http://{name}:{port}" for name in here)})

    @property
    def program(self) -> str:
        """Who it is, for status: what the kernel reports, and what the client says."""
        if not self._visit.program:
            agent = self.identity.program or self.web.headers.get("User-Agent", "a program")
            self._visit.program = f"{one_line(agent, AGENT_CHARS)} ({self.identity.text})"
        return self._visit.program

    def waits_with(self, to_printer: Request | None) -> None:
        """What of it waits for an interface, or is on its way."""
        self._visit.waiting = to_printer

    def is_at(self, doing: Doing) -> None:
        """Report progress to the connection limit."""
        self._visit.limit.now(self._visit.connection, doing)

    def made_progress(self) -> None:
        """It is at the same, and bytes moved."""
        self.is_at(self._visit.connection.doing)

    @property
    def unsent(self) -> int:
        """Bytes written to the connection that the kernel did not take yet."""
        transport = self.web.transport
        return transport.get_write_buffer_size() if transport is not None else 0

    # --- reading the body

    def ask_for_body(self) -> None:
        """Send 100 Continue to a client that waits for it (RFC 9110, 10.1.1)."""
        request = self.web
        expects = request.headers.get("Expect", "").lower() == "100-continue"
        if expects and request.version >= (1, 1) and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def read_small(self, limit: int) -> tuple[bytes, AsyncIterator[bytes] | None]:
        """A body of at most `limit` bytes, and None; of a larger one its start, and the rest.

        Raises ClientGone.
        """
        if not self.web.can_read_body:
            return b"", None
        stream, size, content = self._stream(), self.web.content_length, self.web.content
        if size is not None and size > limit:
            return b"", stream
        if size is not None and content.is_eof() and content.exception() is None:
            self.received = size  # it came with its head
            return content.read_nowait(), None
        start = bytearray()
        self.is_at(Doing.SENDING)
        async for data in stream:
            start += data
            if len(start) > limit:
                return bytes(start), stream
        return bytes(start), None

    async def read_until(
        self, enough: Callable[[bytes], bool], start: bytes, rest: AsyncIterator[bytes] | None
    ) -> tuple[bytes, AsyncIterator[bytes] | None]:
        """`start`, extended from `rest` until `enough`, or to the body's end."""
        if rest is None:
            return start, None
        data = bytearray(start)
        while not enough(bytes(data)):
            more = await anext(rest, None)
            if more is None:
                return bytes(data), None
            data += more
        return bytes(data), rest

    async def _stream(self) -> AsyncIterator[bytes]:
        content = self.web.content.iter_any().__aiter__()
        seen = 0
        try:
            while True:
                self.owes = True
                data = await anext(content, b"")
                self.owes = False
                if not data:
                    return
                self.received += len(data)
                if self.received - seen >= PROGRESS:
                    seen = self.received
                    self.made_progress()
                yield data
        except ConnectionError as exc:
            raise ClientGone(f"the client left in the middle of its request: {exc}") from exc
        except (HttpProcessingError, web.PayloadAccessError) as exc:  # they quote the body
            raise ClientGone("the body of the request is malformed") from exc

    # --- a body that waits for an interface waits in the client's own buffers

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Read nothing more of the body, until `go_on` or the end of the block."""
        if not self.web.content.is_eof():  # a parser without a body cannot be paused
            self._held = True
            self.web.protocol.pause_reading()
        try:
            yield
        finally:
            self._release()

    def go_on(self) -> None:
        """Read on. Raises ClientGone when the client left in the meantime."""
        if self._held and (_has_left(self.web.transport) or self.identity.has_closed):
            raise ClientGone("the client left while it waited")
        self._release()

    def _release(self) -> None:
        if self._held:
            self._held = False
            may_read(self.web.transport, READ_SERVED)
            if self.web.transport is not None:
                self.web.protocol.resume_reading()

    # --- ending the connection

    def abort(self) -> None:
        """Close the connection at once; unsent data is lost."""
        if self.web.transport is not None:
            self.web.transport.abort()

    def hang_up(self) -> web.StreamResponse:
        """Close the connection after what was sent; aiohttp then sends nothing more."""
        self.hung_up = True
        if self.web.transport is not None:
            self.web.transport.close()
        return web.Response(status=499)


def _has_left(transport: asyncio.BaseTransport | None) -> bool:
    """The client closed its end, even if data is still to be read."""
    if transport is None:
        return True
    look = select.poll()
    look.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return bool(look.poll(0))


async def prefixed(start: bytes, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """`start`, then the rest of a body."""
    if start:
        yield start
    async for data in stream:
        yield data
