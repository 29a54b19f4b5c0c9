"""The same bytes for the daemon's client and for the bare loop."""

from __future__ import annotations

import re

from ippusbd.wire import ipp

PIECE = 256 * 1024
CODED = b"%x\r\n%b\r\n" % (PIECE - 9, bytes(PIECE - 9))  # a chunk that fills one USB transfer
LENGTH = re.compile(rb"^content-length:\s*(\d+)", re.IGNORECASE | re.MULTILINE)
LAST_CHUNK = b"0\r\n\r\n"


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def big(size: int, *, chunked: bool) -> bytes:
    return get(f"/big?bytes={size}" + ("&chunked=1" if chunked else ""))


def sink_head(size: int, *, chunked: bool) -> bytes:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    return f"POST /sink HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n".encode()


def print_head() -> bytes:
    """Start of a Print-Job, chunked."""
    body = _ipp(ipp.Operation.PRINT_JOB, ipp.attribute("job-name", ipp.name("growth")))
    head = (
        "POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    return head.encode() + b"%x\r\n%b\r\n" % (len(body), body)


def piece(*, chunked: bool) -> bytes:
    """A piece of an upload, framed: `PIECE` bytes either way."""
    return CODED if chunked else bytes(PIECE)


def get_printer_attributes() -> bytes:
    """What CUPS asks a printer when it makes a queue."""
    body = _ipp(
        ipp.Operation.GET_PRINTER_ATTRIBUTES,
        ipp.attribute("requested-attributes", ipp.keyword("all")),
    )
    head = (
        "POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _ipp(operation: ipp.Operation, *attributes: ipp.Attribute) -> bytes:
    group = ipp.Group(
        ipp.Tag.OPERATION,
        (
            ipp.attribute("attributes-charset", ipp.charset()),
            ipp.attribute("attributes-natural-language", ipp.language()),
            ipp.attribute("printer-uri", ipp.uri("ipp://localhost/ipp/print")),
            *attributes,
        ),
    )
    return ipp.encode(ipp.Message(operation, 1, (group,)))


def answer_size(start: bytes) -> int | None:
    """Length of an answer with this start, head included; None: its head is incomplete."""
    end = start.find(b"\r\n\r\n")
    if end < 0:
        return None
    if not start.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"bench: answered {start[:60]!r}")
    length = LENGTH.search(start[:end])
    if length is None:
        raise SystemExit(f"bench: an answer without a length: {start[:end]!r}")
    return end + 4 + int(length[1])
