"""Clients that leave in the middle, each followed by a normal one that must not be affected.

They leave with a reset or a plain end of the connection, in the middle of a
print job with a length or chunked, before the answer to a small request, or in
the middle of a big answer. Judged by the printer's own counters: no cut job may
count as complete, no request may reach it as broken HTTP. The next client gets
its own answer (the request's id is returned) within its time-out.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from clients import Figures, get_printer_attributes, post
from lab import Printers
from programs import until

from ippusbd.wire import ipp

PATIENCE_S = 5.0
QUIET_S = 4.0
LIMIT_S = 300.0  # enough for who refuses nobody; the others have shown it by then
DOCUMENT = (8_000, 400_000)  # from small ones that a proxy may hold whole to streamed ones
BIG = 3_000_000


class Vanishing:
    """Clients that leave, at the same bytes whichever daemon it is."""

    def __init__(self, printers: Printers, port: int) -> None:
        self._printers = printers
        self._port = port
        self._random = random.Random("vanishing")
        self._counts: Counter[str] = Counter(refused=0, strangers_answer=0)
        self._slowest_s = 0.0

    def run(self, count: int) -> Figures:
        before = self._printers.ask("stats")
        documents = len(self._printers.documents())
        start = time.monotonic()
        ways = (self._upload_length, self._upload_chunked, self._request, self._download)
        for number in range(count):
            if time.monotonic() > start + LIMIT_S:
                count = number
                break
            self._leave(ways[number % len(ways)], reset=number % 8 < 4)
            self._next_client(number + 1)
        took_s = time.monotonic() - start
        self._until_quiet()
        after = self._printers.ask("stats")
        return {
            "cut_jobs": self._cut_jobs(documents),
            "broken_http": after["broken_http"] - before["broken_http"],
            **self._counts,
            "next_client_slowest_s": self._slowest_s,
            "clients": count,
            "seconds": took_s,
        }

    def _until_quiet(self) -> None:
        """Wait until nothing has reached the printer for a while."""
        last: list[Any] = [None, time.monotonic()]

        def quiet() -> bool:
            stats = self._printers.ask("stats")
            if stats != last[0]:
                last[:] = [stats, time.monotonic()]
            return time.monotonic() - last[1] > QUIET_S

        until(quiet, "a printer that nothing reaches any more", 120)

    def _cut_jobs(self, known: int) -> int:
        """Documents that the printer counts as complete; every one of ours was cut."""
        return sum(one["completed"] for one in self._printers.documents()[known:])

    # --- who leaves

    def _leave(self, way: Callable[[socket.socket], None], *, reset: bool) -> None:
        with contextlib.closing(socket.create_connection(("127.0.0.1", self._port), 5)) as sock:
            with contextlib.suppress(OSError):  # the daemon may be the first to close
                way(sock)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _upload_length(self, sock: socket.socket) -> None:
        size, cut = self._document()
        head = post("/ipp/print", f"Content-Length: {len(PRINT_JOB) + size}")
        sock.sendall(head + PRINT_JOB + bytes(cut))

    def _upload_chunked(self, sock: socket.socket) -> None:
        _, cut = self._document()
        head = post("/ipp/print", "Transfer-Encoding: chunked")
        sock.sendall(head + b"%x\r\n%b\r\n" % (len(PRINT_JOB), PRINT_JOB))
        for start in range(0, cut, 32_768):
            piece = bytes(min(32_768, cut - start))
            sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))

    def _document(self) -> tuple[int, int]:
        """Its size, and how much of it is sent."""
        size = self._random.randint(*DOCUMENT)
        return size, self._random.randint(0, size - 1)

    def _request(self, sock: socket.socket) -> None:
        sock.sendall(get_printer_attributes())
        time.sleep(self._random.uniform(0, 0.02))

    def _download(self, sock: socket.socket) -> None:
        sock.sendall(f"GET /big?bytes={BIG} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        left = self._random.randint(1, BIG // 4)
        while left > 0 and (data := sock.recv(min(left, 65_536))):
            left -= len(data)

    # --- who comes next

    def _next_client(self, request_id: int) -> None:
        start = time.monotonic()
        try:
            answer = self._ask(request_id)
        except (OSError, http.client.HTTPException):
            answer = b""
        self._slowest_s = max(self._slowest_s, time.monotonic() - start)
        if not answer:
            self._counts["refused"] += 1
        elif answer[4:8] != request_id.to_bytes(4, "big"):
            self._counts["strangers_answer"] += 1

    def _ask(self, request_id: int) -> bytes:
        """The answer's body; empty: it is not 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            body = _message(ipp.Operation.GET_PRINTER_ATTRIBUTES, request_id)
            connection.request("POST", "/ipp/print", body, {"Content-Type": "application/ipp"})
            response = connection.getresponse()
            data = response.read()
            return data if response.status == 200 else b""


def _message(operation: int, request_id: int = 1) -> bytes:
    attributes = (
        ipp.attribute("attributes-charset", ipp.charset()),
        ipp.attribute("attributes-natural-language", ipp.language()),
        ipp.attribute("printer-uri", ipp.uri("ipp://localhost/ipp/print")),
        ipp.attribute("requesting-user-name", ipp.name("anna")),
    )
    return ipp.encode(
        ipp.Message(operation, request_id, (ipp.Group(ipp.Tag.OPERATION, attributes),))
    )


PRINT_JOB = _message(ipp.Operation.PRINT_JOB)
