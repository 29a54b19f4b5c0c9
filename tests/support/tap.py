"""What went over the cable to a virtual printer, and which requests h11 finds in it.

The virtual printer's own server is not asked: the judge of what a proxy sent must be somebody
else's parser, over all bytes of an interface.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import h11
import pytest

from ippusbd.virtual.http.server import Link


@dataclass
class Seen:
    """A request on the cable; names in lower case."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


@dataclass
class Cable:
    """All bytes to the printer, by interface."""

    bytes: dict[int, bytearray] = field(default_factory=lambda: defaultdict(bytearray))

    def requests(self, path: str = "") -> list[Seen]:
        """Complete requests, those whose target begins with `path`.

        Fails the test when anything on the cable is not HTTP.
        """
        found = [seen for data in list(self.bytes.values()) for seen in _parsed(bytes(data))]
        return [seen for seen in found if seen.target.startswith(path)]


def _parsed(data: bytes) -> Iterator[Seen]:
    while data:
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        parser.receive_data(data)
        seen: Seen | None = None
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Request):
                headers = [(k.decode(), v.decode("latin-1")) for k, v in event.headers]
                seen = Seen(event.method.decode(), event.target.decode("latin-1"), headers)
            elif isinstance(event, h11.Data):
                assert seen is not None
                seen.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert seen is not None
                yield seen
                break
            else:
                return  # the request is not over
        data, _ = parser.trailing_data


@contextmanager
def tapped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cable]:
    """Listen on the cables of all virtual printers within the block."""
    cable = Cable()
    receive = Link.recv

    async def recv(link: Link, timeout_s: float | None = None) -> bytes:
        data = await receive(link, timeout_s)
        cable.bytes[link.interface.number] += data
        return data

    with monkeypatch.context() as patched:
        patched.setattr(Link, "recv", recv)
        yield cable
