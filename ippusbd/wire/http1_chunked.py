"""A decoder of chunked bodies, independent of where USB splits the stream.

    SIZE --0--> TRAILER --empty line--> DONE
     ^  +--n--> DATA --n bytes--> AFTER
     +----------------------------+

Invariant: it buffers at most one line of `MAX_LINE` bytes of framing, and
body bytes are sliced once and never searched. Extensions and trailers are
read and dropped. Lines may end in a bare LF. Errors quote nothing: what stands
where framing should may be a document. Knows RFC 9112 7.1.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from ippusbd.errors import BadResponse

MAX_LINE: Final = 4096  # bytes of a size with its extensions, or of a trailer field

_SIZE: Final = re.compile(rb"[ \t]*0*([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
# What mostly stands between two chunks; anything else is read line by line.
_BETWEEN: Final = re.compile(rb"\r\n([1-9A-Fa-f][0-9A-Fa-f]{0,14})\r\n")


class _State(Enum):
    SIZE = auto()
    DATA = auto()
    AFTER = auto()
    TRAILER = auto()
    DONE = auto()


class ChunkedBody:
    """Decodes one body; bytes of it are appended to the list given to `feed`."""

    def __init__(self, *, max_trailers: int) -> None:
        self._state = _State.SIZE
        self._left = 0  # bytes missing from the chunk
        self._line = bytearray()
        self._trailers_left = max_trailers

    @property
    def done(self) -> bool:
        """The empty line after the trailers was read."""
        return self._state is _State.DONE

    @property
    def all_data(self) -> bool:
        """The last chunk's size was read; only trailers or their end may be missing."""
        return self._state in (_State.TRAILER, _State.DONE)

    @property
    def due(self) -> int:
        """Bytes missing from the chunk that began; 0: no chunk did."""
        return self._left

    def feed(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Decode from `data[at:]`; returns where the body ended, or the length of `data`.

        Raises BadResponse; body bytes before the fault are in `pieces`.
        """
        while at < len(data) and self._state is not _State.DONE:
            if self._state is _State.DATA:
                at = self._take_data(data, at, pieces)
            else:
                at = self._take_line(data, at)
        return at

    def _take_data(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """The rest of this chunk, and all following ones that are complete and plainly framed."""
        end = at + self._left
        match = _BETWEEN.match
        while (found := match(data, end)) is not None:
            between, size = found[0], int(found[1], 16)
            while data.startswith(between, end):  # chunks of one size, one after the other
                pieces.append(data[at:end])
                at = end + len(between)
                end = at + size
        pieces.append(data[at:end])
        self._left = max(end - len(data), 0)
        if not self._left:
            self._state = _State.AFTER
        return min(end, len(data))

    def _take_line(self, data: bytes, at: int) -> int:
        room = MAX_LINE - len(self._line)
        end = data.find(b"\n", at, at + room + 1)
        if end < 0:
            if len(data) - at > room:
                raise BadResponse(f"over {MAX_LINE} bytes without a line's end in chunked framing")
            self._line += data[at:]
            return len(data)
        line = bytes(self._line) + data[at:end]
        self._line.clear()
        self._on_line(line.removesuffix(b"\r"))
        return end + 1

    def _on_line(self, line: bytes) -> None:
        match self._state:
            case _State.SIZE:
                self._on_size(line)
            case _State.AFTER:
                self._on_chunk_end(line)
            case _:
                self._on_trailer(line)

    def _on_size(self, line: bytes) -> None:
        size = _SIZE.fullmatch(line)
        if size is None:
            raise BadResponse("a line that is not a chunk size")
        self._left = int(size[1], 16)
        self._state = _State.DATA if self._left else _State.TRAILER

    def _on_chunk_end(self, line: bytes) -> None:
        if line:
            raise BadResponse("a chunk longer than its size")
        self._state = _State.SIZE

    def _on_trailer(self, line: bytes) -> None:
        if not line:
            self._state = _State.DONE
        elif not self._trailers_left:
            raise BadResponse("too many trailer fields")
        self._trailers_left -= 1
