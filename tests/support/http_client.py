"""HTTP clients for stories: one that behaves, and one that dies where the test says.

h11 reads the answers, so that what the daemon writes is judged by somebody else's parser.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import h11

from ippusbd.wire import ipp

Headers = Iterable[tuple[str, str]]
TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Reply:
    """An answer read to its end. `complete`: its framing said so, not the connection's end."""

    status: int
    headers: dict[str, str]
    body: bytes
    http_version: bytes
    complete: bool
    raw_headers: tuple[tuple[bytes, bytes], ...]


class Connection:
    """A client's TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @property
    def socket(self) -> socket.socket:
        return self.writer.get_extra_info("socket")  # type: ignore[no-any-return]

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, method: str = "GET", *, timeout_s: float = TIMEOUT_S) -> Reply:
        """The next answer. A connection that ends too early gives what came, not `complete`."""
        async with asyncio.timeout(timeout_s):
            return await self._reply(method)

    async def _reply(self, method: str) -> Reply:
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        parser.send(h11.EndOfMessage())
        head: h11.Response | None = None
        body = bytearray()
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                data = await self.reader.read(65536)
                if not data and head is None:
                    raise ConnectionError("closed without an answer")
                try:
                    parser.receive_data(data)
                    if not data:
                        event = parser.next_event()
                except h11.RemoteProtocolError:
                    return _reply_of(head, body, complete=False)
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return _reply_of(head, body, complete=True)

    def kill(self) -> None:
        """Die as a process does whose kernel sends a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def leave(self) -> None:
        """Close in good order."""
        self.writer.close()


def _reply_of(head: h11.Response | None, body: bytearray, *, complete: bool) -> Reply:
    assert head is not None
    headers = {k.decode().lower(): v.decode("latin-1") for k, v in head.headers}
    return Reply(
        head.status_code,
        headers,
        bytes(body),
        head.http_version,
        complete,
        tuple(head.headers.raw_items()),
    )


@asynccontextmanager
async def connected(port: int, host: str = "127.0.0.1") -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
    connection = Connection(reader, writer)
    try:
        yield connection
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


def head(method: str, target: str, headers: Headers = (), *, version: str = "1.1") -> bytes:
    """A request head as written, Host first if the headers name none."""
    fields = list(headers)
    if not any(name.lower() == "host" for name, _ in fields):
        fields.insert(0, ("Host", "127.0.0.1"))
    lines = [f"{method} {target} HTTP/{version}", *(f"{n}: {v}" for n, v in fields)]
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def message(
    method: str, target: str, body: bytes = b"", headers: Headers = (), *, chunked: bool = False
) -> bytes:
    """A whole request; a chunked body is cut into odd pieces."""
    fields = list(headers)
    if not chunked:
        if body or method in ("POST", "PUT"):
            fields.append(("Content-Length", str(len(body))))
        return head(method, target, fields) + body
    pieces = (body[at : at + 40_009] for at in range(0, len(body), 40_009))
    coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head(method, target, [*fields, ("Transfer-Encoding", "chunked")]) + coded + b"0\r\n\r\n"


async def ask(
    port: int,
    method: str = "GET",
    target: str = "/",
    body: bytes = b"",
    headers: Headers = (),
    *,
    chunked: bool = False,
    host: str = "127.0.0.1",
    timeout_s: float = TIMEOUT_S,
) -> Reply:
    """One exchange on a connection of its own."""
    async with connected(port, host) as connection:
        data = message(method, target, body, headers, chunked=chunked)
        sending = asyncio.ensure_future(connection.send(data))
        try:
            return await connection.reply(method, timeout_s=timeout_s)
        finally:
            sending.cancel()
            await asyncio.wait([sending])


# --- IPP

IPP_TYPE = (("Content-Type", "application/ipp"),)


def ipp_request(
    code: int, *attributes: ipp.Attribute, request_id: int = 1, path: str = "/ipp/print"
) -> bytes:
    """An encoded IPP request; a document may follow it."""
    operation = (
        ipp.attribute("attributes-charset", ipp.charset()),
        ipp.attribute("attributes-natural-language", ipp.language()),
        ipp.attribute("printer-uri", ipp.uri(f"ipp://localhost{path}")),
        ipp.attribute("requesting-user-name", ipp.name("tester")),
        *attributes,
    )
    return ipp.encode(ipp.Message(code, request_id, (ipp.Group(ipp.Tag.OPERATION, operation),)))


async def ask_ipp(
    port: int,
    code: int,
    *attributes: ipp.Attribute,
    document: bytes = b"",
    request_id: int = 1,
    chunked: bool = False,
    timeout_s: float = TIMEOUT_S,
) -> ipp.Message:
    """One IPP exchange; asserts HTTP 200 and that the answer is this request's."""
    data = ipp_request(code, *attributes, request_id=request_id) + document
    reply = await ask(
        port, "POST", "/ipp/print", data, IPP_TYPE, chunked=chunked, timeout_s=timeout_s
    )
    assert reply.status == 200, reply
    assert reply.complete
    answer, _ = ipp.decode(reply.body)
    assert answer.request_id == request_id
    return answer
