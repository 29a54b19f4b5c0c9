"""One HTTP request to the virtual printer and its answer, as the services see them.

A `Request`'s body is read in pieces by whoever wants it, an answer's body may be an iterator:
no document is ever held whole. What a misbehaving printer does to an answer on the wire is
said in fields of `Response`, so that a personality needs no code of its own for it.

Knows no sockets, threads or HTTP syntax; `http_server` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from ippusbd.errors import IppUsbError

if TYPE_CHECKING:
    from ippusbd.virtual.usb.device import VirtualDevice, VirtualInterface
    from ippusbd.virtual.usb.pipes import Buffer

SMALL_BODY = 1 << 20


class TooBig(IppUsbError):
    """A body that should be small is not."""

    http_status = 413


@dataclass(slots=True)
class Response:
    """An answer. A body that is no bytes needs `length`, or goes out chunked.

    An empty piece of an iterated body means: what was said so far shall leave now.
    """

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: Buffer | Iterable[Buffer] = b""
    length: int | None = None
    reason: str = ""
    # How it goes wrong on the wire:
    prefix: bytes = b""  # before the status line
    cut_at: int | None = None  # so many bytes go out, head included
    stuck: bool = False  # then silence until the interface is reset
    zlps_s: float = 0.0  # then zero-length packets, so long, or until the next request
    rest_after_fetch: bool = False  # the request's rest is read once the answer was fetched
    piece: int = 0  # so many bytes per transfer, then `pause_s`
    pause_s: float = 0.0

    def header(self, name: str) -> str:
        return header_of(self.headers, name)

    def with_header(self, name: str, value: str) -> Response:
        """This answer with the field added, or replaced where it is there already."""
        kept = [(key, text) for key, text in self.headers if key.lower() != name.lower()]
        self.headers = [*kept, (name, value)]
        return self


class Request:
    """A request whose head is there; `body` reads the rest from the wire."""

    def __init__(
        self,
        method: str,
        target: str,
        headers: list[tuple[str, str]],
        *,
        device: VirtualDevice,
        face: VirtualInterface,
        pieces: Callable[[], Iterator[bytes]],
        pause: Callable[[float], None],
    ) -> None:
        split = urlsplit(target)
        self.method = method
        self.target = target
        self.path = unquote(split.path)
        self.query = {key: values[-1] for key, values in parse_qs(split.query).items()}
        self.headers = headers
        self.device = device
        self.face = face
        self.pause = pause  # blocks; ends early when the session does
        self._pieces = pieces
        self._body: Iterator[bytes] | None = None

    def header(self, name: str) -> str:
        """The first field of that name, "" if there is none."""
        return header_of(self.headers, name)

    @property
    def base_url(self) -> str:
        """How the client reached us: what URLs in our answers begin with."""
        return f"http://{self.header('Host') or 'localhost'}"

    @property
    def has_body(self) -> bool:
        chunked = bool(self.header("Transfer-Encoding"))
        return chunked or self.header("Content-Length") not in ("", "0")

    def body(self) -> Iterator[bytes]:
        """The pieces of the body; every call goes on where the last one stopped."""
        if self._body is None:
            self._body = self._pieces()
        return self._body

    def read(self, limit: int = SMALL_BODY) -> bytes:
        """The whole body. Raises TooBig over `limit` bytes."""
        data = bytearray()
        for piece in self.body():
            data += piece
            if len(data) > limit:
                raise TooBig(f"a body over {limit} bytes")
        return bytes(data)


def header_of(headers: Iterable[tuple[str, str]], name: str) -> str:
    return next((value for key, value in headers if key.lower() == name.lower()), "")


def plain(status: int, text: str = "") -> Response:
    """A short text answer."""
    return Response(status, [("Content-Type", "text/plain; charset=utf-8")], text.encode())


Handler = Callable[[Request], Response]


class Router:
    """Which service answers which path; the longest matching prefix wins."""

    def __init__(self, routes: dict[str, Handler]) -> None:
        self._routes = sorted(routes.items(), key=lambda route: -len(route[0]))

    def __call__(self, request: Request) -> Response:
        for prefix, handler in self._routes:
            if request.path == prefix or request.path.startswith(prefix.rstrip("/") + "/"):
                return handler(request)
        return plain(404, "no such resource\n")
