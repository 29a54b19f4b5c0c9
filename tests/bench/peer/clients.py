"""Prepared requests, and `load` (load.c) as functions: cheap clients in their own process.

Every figure comes with the clients' own cost (`own_cpu_s`), so that a reader
sees whether the daemon or the client was measured.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from programs import run
from report import Failed

from ippusbd.wire import ipp

FOLDER = Path("/run/bench")
FIRST_S = 30.0
Figures = dict[str, Any]


class Clients:
    """`Clients(program)` writes the requests once; `program` is load.c compiled."""

    def __init__(self, program: Path) -> None:
        self._program = program
        FOLDER.mkdir(exist_ok=True)

    def ask(self, port: int, *, clients: int, seconds: float, keep: bool) -> Figures:
        """Get-Printer-Attributes again and again."""
        request = _file("attributes", get_printer_attributes())
        return self._load("ask", port, request, clients, seconds, "keep" if keep else "new")

    def upload(self, port: int, size: int, *, chunked: bool) -> Figures:
        head = _file("sink", b"POST /sink HTTP/1.1\r\nHost: localhost\r\n")
        figures = self._load("move", port, head, size, "chunked" if chunked else "length")
        if f'"bytes": {size}' not in figures["answer"]:
            raise Failed(f"an upload of {size} bytes ended as {figures}")
        return figures

    def download(self, port: int, size: int, *, chunked: bool) -> Figures:
        target = f"/big?bytes={size}{'&chunked=1' if chunked else ''}"
        head = _file("big", f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        figures = self._load("move", port, head, 0, "plain")
        if (figures["status"], figures["bytes"]) != (200, size):
            raise Failed(f"a download of {size} bytes ended as {figures}")
        return figures

    def first(self, port: int) -> Figures:
        """Waits for the first answer 200 and says when it came (`at_s`, monotonic)."""
        request = _file("attributes", get_printer_attributes())
        return self._load("first", port, request, FIRST_S)

    def first_command(self, port: int) -> list[str]:
        """As `first`, for a caller that starts it itself."""
        request = _file("attributes", get_printer_attributes())
        return [str(self._program), "first", str(port), str(request), str(FIRST_S)]

    def _load(self, *words: object) -> Figures:
        figures: Figures = json.loads(run(self._program, *words, limit_s=180))
        return figures


def _file(name: str, data: bytes) -> Path:
    path = FOLDER / name
    path.write_bytes(data)
    return path


def get_printer_attributes() -> bytes:
    """All of them, as CUPS asks when it makes a queue."""
    operation = (
        ipp.attribute("attributes-charset", ipp.charset()),
        ipp.attribute("attributes-natural-language", ipp.language()),
        ipp.attribute("printer-uri", ipp.uri("ipp://localhost/ipp/print")),
        ipp.attribute("requested-attributes", ipp.keyword("all")),
    )
    groups = (ipp.Group(ipp.Tag.OPERATION, operation),)
    body = ipp.encode(ipp.Message(ipp.Operation.GET_PRINTER_ATTRIBUTES, 1, groups))
    return post("/ipp/print", f"Content-Length: {len(body)}") + body


def post(target: str, framing: str) -> bytes:
    """A head of an IPP request."""
    return (
        f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
        f"{framing}\r\n\r\n"
    ).encode()
