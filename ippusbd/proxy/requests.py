"""A client's request as it is read: its head, its body, and what its connection is at.

A small body is read whole before a printer is asked; a larger one is a stream.
How far it came and whose turn it is can be seen from outside, so that a client
that stops in the middle cannot hold what others wait for.

Knows aiohttp's requests; nothing of printers.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ippusbd.errors import ClientGone
from ippusbd.proxy.access.origin import Refusal, refused_host, refused_site
from ippusbd.proxy.admission.connection_limit import Connection, ConnectionLimit, Doing
from ippusbd.proxy.admission.handover import READ_SERVED, may_read
from ippusbd.proxy.fast_aiohttp_import import no_certificates
from ippusbd.proxy.heads import NO_TYPE, origin_form, refuse_ambiguous
from ippusbd.users.client_identity import ClientIdentity

with no_certificates():
    from aiohttp import web
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http import SERVER_SOFTWARE, RawRequestMessage
    from aiohttp.http_exceptions import HttpProcessingError
    from aiohttp.streams import StreamReader

PROGRESS = 1024  # so many bytes of a body are progress; fewer are a trickle


class ClientRequest:
    """A request, and the connection's place among the `guests`."""

    def __init__(
        self,
        request: web.BaseRequest,
        identity: ClientIdentity,
        client_connection: Connection,
        connections: ConnectionLimit,
    ) -> None:
        self.web = request
        self.identity = identity
        self._client_connection = client_connection
        self._connections = connections
        self.target = ""  # as it was sent, as a path; see `check`
        self.received = 0  # bytes of the body
        self._held = False
        self.owes = False  # it is the client's turn: to send more of the body

    def check(self) -> None:
        """Look at the head. Raises BadRequest for what is no request to a printer."""
        self.target = origin_form(self.web.method, self.web._message.path)
        refuse_ambiguous(self.web.version, self.web.raw_headers)

    async def identify(self, *, by_group: bool) -> None:
        """Have `who` tell the user, and his groups if they matter."""
        self.identity = await self.identity.known(by_group=by_group)

    def refusal(self, names: frozenset[str]) -> Refusal | None:
        """Whether a web page is behind it that has no business here; `names` are ours.

        Raises ClientGone.
        """
        if self.identity.unix:
            return None
        if self.identity.ends is None:
            raise ClientGone("left before it was looked at")
        headers, here = self.web.headers, self.identity.ends[1][0]
        wrong_host = refused_host(headers.get("Host"), here, names)
        return wrong_host or refused_site(self.web.method, headers, self.web.scheme)

    def __str__(self) -> str:
        path = self.web._message.path.partition("?")[0]  # as it was sent: no escapes undone
        return f"{self.web.method[:20]} {path[:200]}"

    def is_at(self, doing: Doing) -> None:
        """For who decides which connection gives way."""
        self._connections.now(self._client_connection, doing)

    def ask_for_body(self) -> None:
        """A client may wait to be asked (RFC 9110, 10.1.1)."""
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
        stream = self._stream()
        if (self.web.content_length or 0) > limit:
            return b"", stream
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
        """`start` longer by what `enough` wants of `rest`; less only at the body's end."""
        if rest is None:
            return start, None
        data = bytearray(start)
        while not enough(bytes(data)):
            more = await anext(rest, None)
            if more is None:
                return bytes(data), None
            data += more
        return bytes(data), rest

    @property
    def content_types(self) -> list[str]:
        """All that it says its body is."""
        return list(self.web.headers.getall("Content-Type", ()))

    # --- what waits for an interface waits in the client's own buffers, not in ours

    def hold(self, *, streams: bool) -> None:
        """Read nothing more of a body that streams, until `go_on` or `release`."""
        if streams and not self.web.content.is_eof():  # a parser without a body cannot be paused
            self._held = True
            self.web.protocol.pause_reading()

    def go_on(self) -> None:
        """It is served now. Raises ClientGone when its client left in the meantime, unread."""
        if self._held and (_has_left(self.web.transport) or self.identity.has_closed):
            raise ClientGone("left while it waited")
        self.release()

    def release(self) -> None:
        """Read on. Idempotent."""
        if self._held:
            self._held = False
            may_read(self.web.transport, READ_SERVED)
            if self.web.transport is not None:
                self.web.protocol.resume_reading()

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
                    self.is_at(self._client_connection.doing)
                yield data
        except (ConnectionError, HttpProcessingError, web.PayloadAccessError) as exc:
            raise ClientGone(f"left in the middle of its request: {exc}") from exc

    @property
    def secure(self) -> bool:
        """It came over TLS, so from the network."""
        return self.web.secure

    @property
    def is_local(self) -> bool:
        """A Unix socket's client: what it called its host is nothing a browser could open."""
        return self.identity.unix

    def base(self, port: int) -> str:
        """How this client reached us; links to the printer start with it."""
        return f"{self.web.scheme}://{self.web.headers.get('Host') or f'localhost:{port}'}"

    def abort(self) -> None:
        """Let the client go, whatever it was doing."""
        if self.web.transport is not None:
            self.web.transport.abort()

    def hang_up(self) -> web.StreamResponse:
        """Close the connection after what was sent; aiohttp then sends nothing more."""
        if self.web.transport is not None:
            self.web.transport.close()
        return web.Response(status=499)

    @property
    def fetches_picture(self) -> bool:
        """It takes as long as a scanner needs for a page."""
        return self.web.method == "GET" and self.web.rel_url.path.endswith("/NextDocument")


@asynccontextmanager
async def releasing(client: ClientRequest) -> AsyncIterator[None]:
    """At the end of the block `client` is read again, however it ends."""
    try:
        yield
    finally:
        client.release()


def _has_left(transport: asyncio.BaseTransport | None) -> bool:
    """The other end is closed, whatever is still to be read of what it said."""
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


class BareRequest(web.BaseRequest):
    """Asked by aiohttp before an answer's head is written."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        # What aiohttp adds to an answer that has no such field is not what the printer said.
        if response.headers.get("Content-Type") == NO_TYPE:
            del response.headers["Content-Type"]
        if response.headers.get("Server") == SERVER_SOFTWARE:
            del response.headers["Server"]


def bare_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """aiohttp's request factory."""
    return BareRequest(message, payload, protocol, writer, task, asyncio.get_running_loop())
