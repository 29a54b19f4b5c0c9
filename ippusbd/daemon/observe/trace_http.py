"""The HTTP exchanges of a trace, recorded at a leased channel, one at a time.

An interface carries one exchange after the other, so the channel's calls mark where each begins
(`discard`, before its first byte) and ends (`rest`, after its last). The proxy does not know that
it is traced. Yields HAR entries (version 1.2, with `_interface`).

Without bodies, possible secrets are hidden as well: credentials, cookies, and the values in a
query. Knows `Channel` and wire.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ippusbd.errors import BadResponse, IppUsbError, UsbError
from ippusbd.usbio.protocols import Channel
from ippusbd.wire.http1 import Header
from ippusbd.wire.http1_response import ResponseParser

HEAD_MAX: Final = 256 * 1024
BODY_MAX: Final = 1 << 20  # of each body, when bodies are wanted
HIDDEN: Final = "(hidden)"
_SECRET: Final = frozenset(
    ("authorization", "proxy-authorization", "cookie", "set-cookie", "www-authenticate",
     "proxy-authenticate", "authentication-info")
)  # fmt: skip
_LINKS: Final = frozenset(("location", "content-location", "referer"))

Entry = dict[str, Any]


@dataclass(slots=True)
class _Kept:
    """The start of a body, and its whole size."""

    wanted: bool
    size: int = 0
    data: bytearray = field(default_factory=bytearray)

    def add(self, data: bytes) -> None:
        self.size += len(data)
        if self.wanted:
            self.data += data[: BODY_MAX - len(self.data)]

    def content(self) -> dict[str, Any]:
        """`text`, plain or in base64; empty if bodies are not wanted."""
        if not self.data:
            return {}
        cut = {"comment": f"cut after {BODY_MAX} bytes"} if self.size > len(self.data) else {}
        try:
            return {"text": self.data.decode("ascii"), **cut}
        except UnicodeDecodeError:
            return {"text": base64.b64encode(self.data).decode(), "encoding": "base64", **cut}


class _Exchange:
    """What was recorded of one exchange."""

    def __init__(self, number: int, *, bodies: bool) -> None:
        self._number = number
        self._bodies = bodies
        self._began = time.time()
        self._sent_at = self._first_at = self._last_at = self._began
        self._head = bytearray()
        self._head_size = 0
        self._request = _Kept(bodies)
        self._response = _Kept(bodies)
        self._parser = ResponseParser("GET")
        self._failure = ""

    @property
    def begun(self) -> bool:
        return bool(self._head)

    def wrote(self, data: bytes) -> None:
        self._sent_at = time.time()
        if self._head_size:
            self._request.add(data)
            return
        self._head += data[: HEAD_MAX - len(self._head)]
        end = self._head.find(b"\r\n\r\n")
        if end >= 0:
            self._head_size = end + 4
            self._request.add(bytes(self._head[self._head_size :]))
            del self._head[self._head_size :]
            self._parser = ResponseParser(bytes(self._head).partition(b" ")[0].decode("latin-1"))

    def read(self, data: bytes) -> None:
        self._last_at = time.time()
        if self._parser.head is None and not self._response.size:
            self._first_at = self._last_at
        try:
            self._parser.feed(data)
        except BadResponse as exc:
            self.failed(exc)
        self._response.add(self._parser.take())

    def failed(self, failure: IppUsbError) -> None:
        self._failure = self._failure or str(failure)

    def entry(self) -> Entry:
        """As a HAR entry."""
        lines = self._head.decode("latin-1").splitlines() or [""]
        method, _, rest = lines[0].partition(" ")
        target, _, version = rest.partition(" ")
        headers = [(n.strip(), v.strip()) for n, _, v in (x.partition(":") for x in lines[1:] if x)]
        send = max(self._sent_at - self._began, 0)
        wait = max(self._first_at - self._sent_at, 0)
        receive = max(self._last_at - self._first_at, 0)
        more = {"comment": self._failure} if self._failure else {}
        return {
            "startedDateTime": datetime.fromtimestamp(self._began, UTC).isoformat(),
            "time": _ms(max(self._last_at, self._sent_at) - self._began),
            "request": self._asked(method, target, version, headers),
            "response": self._answered(),
            "cache": {},
            "timings": {"send": _ms(send), "wait": _ms(wait), "receive": _ms(receive)},
            "_interface": self._number,
            **more,
        }

    def _asked(
        self, method: str, target: str, version: str, headers: list[Header]
    ) -> dict[str, Any]:
        host = next((v for n, v in headers if n.lower() == "host"), "localhost")
        kind = next((v for n, v in headers if n.lower() == "content-type"), "")
        post: dict[str, Any] = {}
        if self._request.size:
            kept = self._request.content()
            encoding = {"_encoding": kept.pop("encoding")} if "encoding" in kept else {}
            post = {"postData": {"mimeType": kind, "params": [], "text": "", **kept, **encoding}}
        return {
            "method": method,
            "url": self._url(f"http://{host}{target}"),
            "httpVersion": version,
            "cookies": [],
            "headers": self._fields(headers),
            "queryString": [],
            "headersSize": self._head_size or len(self._head),
            "bodySize": self._request.size,
            **post,
        }

    def _answered(self) -> dict[str, Any]:
        head = self._parser.head
        headers = list(head.headers) if head is not None else []
        kind = next((v for n, v in headers if n.lower() == "content-type"), "")
        where = next((v for n, v in headers if n.lower() == "location"), "")
        return {
            "status": head.status if head is not None else 0,
            "statusText": head.reason if head is not None else "",
            "httpVersion": "HTTP/{}.{}".format(*head.version) if head is not None else "",
            "cookies": [],
            "headers": self._fields(headers),
            "content": {"size": self._response.size, "mimeType": kind, **self._response.content()},
            "redirectURL": self._url(where),
            "headersSize": -1,
            "bodySize": self._response.size,
        }

    def _fields(self, headers: list[Header]) -> list[dict[str, str]]:
        return [{"name": name, "value": self._value(name.lower(), v)} for name, v in headers]

    def _value(self, name: str, value: str) -> str:
        if self._bodies:
            return value
        if name in _SECRET:
            return HIDDEN
        return self._url(value) if name in _LINKS else value

    def _url(self, url: str) -> str:
        """Without the values of its query, which may come from a form."""
        path, mark, query = url.partition("?")
        if self._bodies or not mark:
            return url
        return f"{path}?{'&'.join(map(_hidden, query.split('&')))}"


def _hidden(part: str) -> str:
    """`name=value` with its value hidden; all of it where there is no name."""
    name, sign, _ = part.partition("=")
    return f"{name}={HIDDEN}" if sign else HIDDEN


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


class WatchedChannel:
    """A `Channel` that reports each exchange over it to `record`."""

    def __init__(self, channel: Channel, record: Callable[[Entry], None], *, bodies: bool) -> None:
        self._channel = channel
        self._record = record
        self._bodies = bodies
        self._now = _Exchange(channel.number, bodies=bodies)

    @property
    def number(self) -> int:
        return self._channel.number

    async def read(self, due: int = 0, *, exact: bool = False) -> bytes:
        try:
            data = await self._channel.read(due, exact=exact)
        except UsbError as exc:
            self._over(exc)
            raise
        self._now.read(data)
        return data

    def read_ahead(self, due: int, *, exact: bool) -> None:
        self._channel.read_ahead(due, exact=exact)

    async def write(self, data: bytes) -> None:
        self._now.wrote(data)
        try:
            await self._channel.write(data)
        except UsbError as exc:
            self._now.failed(exc)
            raise

    def rest(self) -> None:
        self._channel.rest()
        self._over()

    def discard(self) -> int:
        self._over()
        return self._channel.discard()

    async def drain(self, quiet_s: float, limit: int) -> int:
        return await self._channel.drain(quiet_s, limit)

    def fail(self, failure: UsbError) -> None:
        self._now.failed(failure)
        self._channel.fail(failure)

    async def clear_halt(self) -> None:
        self._over()
        await self._channel.clear_halt()

    async def reset(self) -> None:
        self._over()
        await self._channel.reset()

    async def close(self) -> None:
        self._over()
        await self._channel.close()

    def _over(self, failure: UsbError | None = None) -> None:
        """Report the exchange, and begin the next."""
        now, self._now = self._now, _Exchange(self.number, bodies=self._bodies)
        if failure is not None:
            now.failed(failure)
        if now.begun:
            self._record(now.entry())
