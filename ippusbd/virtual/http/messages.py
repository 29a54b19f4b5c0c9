"""One HTTP request to the virtual printer and its response, as the services see them.

The body of a request is read in pieces, the body of a response may be an iterator: no document
is ever held whole. What a misbehaving printer does to a response on the wire is a field of
`HttpResponse`, so that a personality needs no code of its own for it.

Knows no threads and no HTTP syntax; `server` does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from ippusbd.errors import IppUsbError
from ippusbd.virtual.usb.device import VirtualInterface
from ippusbd.virtual.usb.pipes import Buffer

SMALL_BODY = 1 << 20
Reader = Callable[[], Awaitable[bytes | None]]


class TooBig(IppUsbError):
    """A body exceeds its limit."""

    http_status = 413


@dataclass(slots=True)
class HttpResponse:
    """A body that is an iterator needs `length`, or is sent chunked.

    An empty piece of it flushes what was written so far.
    """

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: Buffer | Iterable[Buffer] = b""
    length: int | None = None
    reason: str = ""
    # How it goes wrong on the wire:
    prefix: bytes = b""  # before the status line
    cut_at: int | None = None  # bytes that are sent, head included
    head_only: bool = False  # the body is never sent
    stuck: bool = False  # then silence until the interface is reset
    zlps_s: float = 0.0  # then zero-length packets for this long, or until the next request
    rest_after_fetch: bool = False  # the rest of the request is read after the response was
    delay_s: float = 0.0  # before the first byte
    piece: int = 0  # bytes per transfer, with pauses in between
    pause_s: float = 0.0

    def header(self, name: str) -> str:
        return header_of(self.headers, name)

    def with_header(self, name: str, value: str) -> HttpResponse:
        """This response with the field added or replaced."""
        kept = [(key, text) for key, text in self.headers if key.lower() != name.lower()]
        self.headers = [*kept, (name, value)]
        return self


class HttpRequest:
    """A request whose head was read; `piece` reads the rest from the wire."""

    def __init__(
        self,
        method: str,
        target: str,
        headers: list[tuple[str, str]],
        *,
        interface: VirtualInterface,
        piece: Reader,
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        split = urlsplit(target)
        self.method = method
        self.target = target
        self.path = unquote(split.path)
        self.query = {key: values[-1] for key, values in parse_qs(split.query).items()}
        self.headers = headers
        self.interface = interface
        self.piece = piece  # the next piece of the body; None: it has ended
        self.pause = pause  # raises SessionEnded

    def header(self, name: str) -> str:
        """The first field of that name, "" if there is none."""
        return header_of(self.headers, name)

    @property
    def base_url(self) -> str:
        """How the client reaches the printer: the start of URLs in responses."""
        return f"http://{self.header('Host') or 'localhost'}"

    @property
    def has_body(self) -> bool:
        chunked = bool(self.header("Transfer-Encoding"))
        return chunked or self.header("Content-Length") not in ("", "0")

    async def read(self, limit: int = SMALL_BODY) -> bytes:
        """The whole body. Raises TooBig over `limit` bytes."""
        data = bytearray()
        while (piece := await self.piece()) is not None:
            data += piece
            if len(data) > limit:
                raise TooBig(f"a body over {limit} bytes")
        return bytes(data)


def header_of(headers: Iterable[tuple[str, str]], name: str) -> str:
    return next((value for key, value in headers if key.lower() == name.lower()), "")


def plain(status: int, text: str = "") -> HttpResponse:
    """A short text response."""
    return HttpResponse(status, [("Content-Type", "text/plain; charset=utf-8")], text.encode())


HttpHandler = Callable[[HttpRequest], Awaitable[HttpResponse]]


class Router:
    """Which service answers which path; the longest matching prefix wins."""

    def __init__(self, routes: dict[str, HttpHandler]) -> None:
        self._routes = sorted(routes.items(), key=lambda route: -len(route[0]))

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        for prefix, handler in self._routes:
            if request.path == prefix or request.path.startswith(prefix.rstrip("/") + "/"):
                return await handler(request)
        return plain(404, "no such resource\n")
