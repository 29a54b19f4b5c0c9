"""A parser that finds where a printer's response ends, the core of this project.

USB has no closed connection: a byte that is not read becomes the start of the
next client's answer, and reading one byte too many waits for ever. So the
parser determines exactly what belongs to the response, keeps what follows it
as `surplus`, and never guesses an end: a response without framing goes on
until the caller, which has a clock, calls `end_of_stream`.

    junk -> head (1xx: again) -> body by length, chunks or silence -> done

Invariants: where the stream is split changes nothing; feeding raises
BadResponse or nothing, and afterwards always the same; memory holds one head,
the body bytes not yet taken, and bounded rests. Knows RFC 9112 6.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from ippusbd.errors import BadResponse
from ippusbd.wire import http1_fields
from ippusbd.wire.http1 import Header
from ippusbd.wire.http1_chunked import ChunkedBody

SURPLUS_KEPT: Final = 256 * 1024  # bytes; one big read

_MAGIC: Final = b"HTTP/"
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_HEAD_STEP: Final = 4096  # bytes looked at at once, so that a big read is not copied for its head
_BODILESS: Final = frozenset((204, 304))


class BodyFraming(Enum):
    """How a response declares where its body ends; EOF: not at all."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    EOF = "eof"


@dataclass(frozen=True, slots=True)
class Head:
    """A response's head. `length` is the declared Content-Length unless the body is chunked."""

    status: int
    reason: str
    version: tuple[int, int]
    headers: tuple[Header, ...]
    framing: BodyFraming
    length: int | None

    def value(self, name: str) -> str:
        """Of the first field with that name; empty: there is none."""
        wanted = name.lower()
        return next((v for n, v in self.headers if n.lower() == wanted), "")


class ResponseParser:
    """Feed it what the printer sends for one request of `method`; take the body from it."""

    def __init__(
        self,
        method: str,
        *,
        max_head: int = 256 * 1024,
        max_fields: int = 1000,
        max_junk: int = 16 * 1024,
        max_informational: int = 10_000,
    ) -> None:
        self.head: Head | None = None
        self.done = False
        self.surplus = b""  # what came after the end, its first SURPLUS_KEPT bytes
        self.skipped = 0  # bytes before the status line, empty lines included
        self._method = method
        self._max_head, self._max_fields, self._max_junk = max_head, max_fields, max_junk
        self._informational_left = max_informational
        self._failed: str | None = None
        self._buffer = bytearray()  # junk's tail, then the head
        self._in_head = False  # the buffer begins with _MAGIC
        self._left = 0  # bytes missing from a body with a length
        self._chunked = ChunkedBody(max_trailers=max_fields)
        self._pieces: list[bytes] = []

    @property
    def body_complete(self) -> bool:
        """All body bytes were read, at most the end of chunked framing is missing.

        Some firmware never sends that: after a short silence `end_of_stream` is right.
        """
        return self.done or self._chunked.all_data

    @property
    def due(self) -> int:
        """Bytes that are still to come, at least; all of them if `due_exactly`."""
        if self.head is not None and self.head.framing is BodyFraming.CHUNKED:
            return self._chunked.due
        return self._left

    @property
    def due_exactly(self) -> bool:
        """Nothing but `due` bytes is to come, or a last line that fits into a packet."""
        return self._left > 0 or self.body_complete

    def feed(self, data: bytes) -> None:
        """Parse what the printer sent; empty data, as of a zero-length packet, means nothing.

        Raises BadResponse; the body before the fault can be taken.
        """
        if self._failed is not None:
            raise BadResponse(self._failed)
        at = 0
        try:
            while at < len(data):
                at = self._step(data, at)
        except BadResponse as exc:
            self._failed = str(exc)
            raise

    def take(self) -> bytes:
        """The decoded body bytes since the last call."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken

    def end_of_stream(self) -> None:
        """The printer sends no more: the end of a body without framing.

        Raises BadResponse when the framing promised more. Done already: does nothing.
        """
        if self._failed is not None:
            raise BadResponse(self._failed)
        if self.head is None:
            self._failed = "no response at all"
        elif self.head.framing is not BodyFraming.EOF and not self.body_complete:
            missing = f", {self._left} bytes missing" if self._left else ""
            self._failed = f"the response is incomplete{missing}"
        if self._failed is not None:
            raise BadResponse(self._failed)
        self.done = True

    def _step(self, data: bytes, at: int) -> int:
        """Parse `data[at:]` to the end of the current state; returns where that is."""
        if self.done:
            self.surplus += data[at : at + SURPLUS_KEPT - len(self.surplus)]
            return len(data)
        if self.head is None:
            return self._step_head(data, at)
        match self.head.framing:
            case BodyFraming.LENGTH:
                return self._step_length(data, at)
            case BodyFraming.CHUNKED:
                at = self._chunked.feed(data, at, self._pieces)
                self.done = self._chunked.done
                return at
            case _:
                self._pieces.append(data[at:])
                return len(data)

    def _step_length(self, data: bytes, at: int) -> int:
        end = min(at + self._left, len(data))
        self._pieces.append(data[at:end])
        self._left -= end - at
        self.done = not self._left
        return end

    def _step_head(self, data: bytes, at: int) -> int:
        searched = len(self._buffer)
        self._buffer += data[at : at + _HEAD_STEP]
        at = min(at + _HEAD_STEP, len(data))
        if not self._in_head:
            self._skip_junk()
        ending = _HEAD_END.search(self._buffer, max(searched - 2, 0)) if self._in_head else None
        size = ending.end() if ending is not None else len(self._buffer)
        if size > self._max_head:
            raise BadResponse(f"a response head of more than {self._max_head} bytes")
        if ending is None:
            return at
        at -= len(self._buffer) - size
        raw = bytes(self._buffer[:size])
        self._buffer.clear()
        self._in_head = False
        self._on_head(raw)
        return at

    def _skip_junk(self) -> None:
        found = self._buffer.find(_MAGIC)
        self._in_head = found >= 0
        junk = found if self._in_head else max(len(self._buffer) - len(_MAGIC) + 1, 0)
        self.skipped += junk
        if self.skipped > self._max_junk:
            raise BadResponse(f"no status line in {self._max_junk} bytes")
        del self._buffer[:junk]

    def _on_head(self, raw: bytes) -> None:
        head = _parsed(raw, self._method, self._max_fields)
        if 100 <= head.status < 200:
            self._on_informational(head)
            return
        self.head = head
        self._left = (head.length or 0) if head.framing is BodyFraming.LENGTH else 0
        self.done = head.framing is BodyFraming.NONE or (
            head.framing is BodyFraming.LENGTH and not self._left
        )

    def _on_informational(self, head: Head) -> None:
        if head.status == 101:
            raise BadResponse("101 Switching Protocols, unrequested")
        if not self._informational_left:
            raise BadResponse("too many 1xx responses")
        self._informational_left -= 1


def _parsed(raw: bytes, method: str, max_fields: int) -> Head:
    lines = http1_fields.head_lines(raw)
    version, status, reason = http1_fields.status_line(lines[0])
    headers = http1_fields.fields(lines[1:], max_fields)
    members = http1_fields.framing_members(headers)
    chunked = http1_fields.is_chunked(members)
    length = None if chunked else http1_fields.declared_length(members)
    bodiless = method == "HEAD" or status < 200 or status in _BODILESS
    return Head(
        status=status,
        reason=reason,
        version=version,
        headers=headers,
        framing=BodyFraming.NONE if bodiless else _framing(chunked, length),
        length=length,
    )


def _framing(chunked: bool, length: int | None) -> BodyFraming:
    if chunked:
        return BodyFraming.CHUNKED
    return BodyFraming.EOF if length is None else BodyFraming.LENGTH
