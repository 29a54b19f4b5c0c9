"""Responses as printers send them, for the tests of the response parser."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import strategies as st

from ippusbd.errors import BadResponse
from ippusbd.wire.http1_response import Head, ResponseParser


@dataclass(frozen=True)
class Outcome:
    """All that a parser tells of one stream."""

    head: Head | None
    body: bytes
    done: bool
    body_complete: bool
    surplus: bytes
    skipped: int
    error: str | None


def outcome(pieces: Iterable[bytes], *, method: str = "GET", **limits: int) -> Outcome:
    parser = ResponseParser(method, **limits)
    body, error = b"", None
    try:
        for piece in pieces:
            parser.feed(piece)
            body += parser.take()
    except BadResponse as exc:
        error = str(exc)
    return Outcome(
        head=parser.head,
        body=body + parser.take(),
        done=parser.done,
        body_complete=parser.body_complete,
        surplus=parser.surplus,
        skipped=parser.skipped if error is None else -1,  # how far it got before the fault
        error=error,
    )


def single_bytes(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


def cut_at(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


def chunked(pieces: Iterable[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces if p) + b"0\r\n\r\n"


_LINES = [
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 100 Continue",
    b"HTTP/1.0 404",
    b"HTTP/1.1 204 No Content",
    b"HTTP/2.0 200 OK",
    b"HTTP/1.1 99",
    b"Content-Length: 5",
    b"Content-Length : 12",
    b"Content-Length: 6, 6",
    b"Transfer-Encoding: Chunked",
    b"Transfer-Encoding: gzip",
    b"Connection: close",
    b"X: y",
    b" folded",
    b"no field",
    b"5",
    b"a;ext=1",
    b"00A",
    b"0",
    b"hello",
    b"\0",
    b"junk",
    b"",
]

# Lines that mean something here or there, in any order, with any end, and noise between them.
mangled = st.lists(
    st.one_of(
        st.builds(
            lambda line, end: line + end,
            st.sampled_from(_LINES),
            st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r", b""]),
        ),
        st.binary(max_size=8),
    ),
    max_size=20,
).map(b"".join)
