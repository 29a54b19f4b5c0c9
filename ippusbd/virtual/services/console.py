"""The web console of the virtual printer, and resources to measure with.

`/` is for people; `/big?bytes=N[&chunked=1]` returns N reproducible bytes (`pseudo_random`),
`/sink` returns the size and sha256 of what it was sent. No body is ever held whole.
"""

from __future__ import annotations

import hashlib
import html
import json
import random
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from ippusbd.virtual.http.messages import HttpRequest, HttpResponse, plain
from ippusbd.virtual.services.ipp_printer import IppPrinter

PIECE: Final = 64 * 1024
POOL: Final = 1 << 20
STRIDE: Final = 4099  # odd: pieces differ, so a swapped or repeated one changes the sha256

PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{name}</title>
<link rel="icon" href="/icon-128.png">
<style>body{{font:16px/1.5 sans-serif;max-width:46em;margin:2em auto;padding:0 1em}}
table{{border-collapse:collapse}}td,th{{padding:.2em .8em;text-align:left}}
th{{border-bottom:1px solid}}</style></head>
<body><h1>{name}</h1><p>{model}: {state}</p>
<h2 id="supplies">Supplies</h2><table><tr><th>Supply<th>Level</tr>{supplies}</table>
<h2>Documents</h2><table><tr><th>Job<th>Format<th>Bytes<th>State<th>SHA-256</tr>{documents}</table>
</body></html>
"""


@lru_cache(maxsize=1)
def _pool() -> bytes:
    return random.Random("ippusbd").randbytes(POOL + PIECE)


def pseudo_random(size: int) -> Iterator[memoryview]:
    """`size` reproducible bytes, in pieces of 64 KB."""
    pool = memoryview(_pool())
    number = 0
    while size > 0:
        start = number * STRIDE % POOL
        yield pool[start : start + min(PIECE, size)]
        size -= PIECE
        number += 1


def pseudo_random_sha256(size: int) -> str:
    digest = hashlib.sha256()
    for piece in pseudo_random(size):
        digest.update(piece)
    return digest.hexdigest()


def icon(size: int) -> bytes:
    """A PNG of a printer, made with zlib alone."""
    unit = size // 8

    def gray(x: int, y: int) -> int:
        if 2 * unit <= x < 6 * unit and unit <= y < 7 * unit and not 3 * unit <= y < 5 * unit:
            return 230  # paper
        return 60 if unit <= x < 7 * unit and 3 * unit <= y < 6 * unit else 160

    rows = b"".join(b"\0" + bytes(gray(x, y) for x in range(size)) for y in range(size))
    head = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


class Console:
    """Everything that is neither IPP nor eSCL."""

    def __init__(self, printer: IppPrinter) -> None:
        self._printer = printer

    async def index(self, request: HttpRequest) -> HttpResponse:
        if request.path != "/":
            return plain(404, "no such page\n")
        printer = self._printer
        data = PAGE.format(
            name=html.escape(printer.model.name),
            model=html.escape(printer.model.make_and_model),
            state="stopped: " + ", ".join(printer.reasons) if printer.stopped else "ready",
            supplies="<tr><td>Black toner<td>80 %</tr><tr><td>Colour toner<td>50 %</tr>",
            documents="".join(self._rows()),
        )
        return HttpResponse(200, [("Content-Type", "text/html; charset=utf-8")], data.encode())

    def _rows(self) -> Iterator[str]:
        for one in self._printer.jobs.documents[-50:]:
            state = "complete" if one.completed else "incomplete"
            yield (
                f"<tr><td>{one.job_id}<td>{html.escape(one.format)}<td>{one.size}"
                f"<td>{state}<td><code>{one.sha256}</code></tr>"
            )

    async def icon(self, request: HttpRequest) -> HttpResponse:
        size = 512 if "512" in request.path else 128
        return HttpResponse(200, [("Content-Type", "image/png")], _icon(size))

    async def big(self, request: HttpRequest) -> HttpResponse:
        text = request.query.get("bytes", "")
        if not (text.isascii() and text.isdigit()):
            return plain(400, "use /big?bytes=N\n")
        length = None if request.query.get("chunked") == "1" else int(text)
        headers = [("Content-Type", "application/octet-stream")]
        body = pseudo_random(int(text)) if request.method != "HEAD" else ()
        return HttpResponse(200, headers, body, length)

    async def sink(self, request: HttpRequest) -> HttpResponse:
        if request.method not in ("POST", "PUT"):
            return plain(405, "POST or PUT\n").with_header("Allow", "POST, PUT")
        digest, size = hashlib.sha256(), 0
        while (piece := await request.piece()) is not None:
            digest.update(piece)
            size += len(piece)
        answer = json.dumps({"bytes": size, "sha256": digest.hexdigest()})
        return HttpResponse(200, [("Content-Type", "application/json")], answer.encode())


@lru_cache(maxsize=2)
def _icon(size: int) -> bytes:
    return icon(size)
