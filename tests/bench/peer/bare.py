"""The limit: the same exchanges by pyusb alone, one blocking loop on one interface.

Runs as a program of its own while no daemon does; prints one JSON object.
"""

from __future__ import annotations

import array
import json
import re
import statistics
import sys
import threading
import time

import usb.core
import usb.util
from clients import get_printer_attributes

# Of the daemon: IN up to 256 KB, OUT 64 KB.
READ, WRITE = 256 * 1024, 64 * 1024
TIMEOUT_MS = 30_000
PRESENT_S = 10.0
TIMES = 3  # a single transfer varies by half
LENGTH = re.compile(rb"^content-length:\s*(\d+)", re.IGNORECASE | re.MULTILINE)


def _printer() -> usb.core.Device:
    """May be asked for before the kernel has enumerated it."""
    until = time.monotonic() + PRESENT_S
    while (device := usb.core.find(idVendor=0x1209, idProduct=0x0001)) is None:
        if time.monotonic() > until:
            raise SystemExit("no printer on the bus")
        time.sleep(0.1)
    return device


class Bare:
    """Interface 0 of the printer, taken from its kernel driver."""

    def __init__(self) -> None:
        self._dev = _printer()
        if self._dev.is_kernel_driver_active(0):
            self._dev.detach_kernel_driver(0)
        self._dev.set_interface_altsetting(0, 1)
        face = self._dev.get_active_configuration()[(0, 1)]
        addresses = [endpoint.bEndpointAddress for endpoint in face]
        self._into = next(a for a in addresses if a & 0x80)
        self._out = next(a for a in addresses if not a & 0x80)
        self._buffer = array.array("B", bytes(READ))

    def close(self) -> None:
        usb.util.dispose_resources(self._dev)

    def _write(self, data: bytes) -> None:
        self._dev.write(self._out, array.array("B", data), TIMEOUT_MS)

    def _read(self) -> memoryview:
        count = self._dev.read(self._into, self._buffer, TIMEOUT_MS)
        return memoryview(self._buffer)[:count]

    def _answer(self) -> None:
        """One answer with a length, to its end."""
        head = b""
        while (end := head.find(b"\r\n\r\n")) < 0:
            head += self._read().tobytes()
        found = LENGTH.search(head[: end + 2])
        if not head.startswith(b"HTTP/1.1 200") or found is None:
            raise SystemExit(f"unexpected: {head[:200]!r}")
        left = end + 4 + int(found[1]) - len(head)
        while left > 0:
            left -= len(self._read())

    def ask(self, count: int) -> dict[str, float]:
        request = get_printer_attributes()
        took = []
        for _ in range(count):
            start = time.perf_counter()
            self._write(request)
            self._answer()
            took.append(1000 * (time.perf_counter() - start))
        took.sort()
        p50, p99 = took[count // 2], took[count * 99 // 100]
        return {"p50_ms": p50, "p99_ms": p99, "per_s": 1000 * count / sum(took)}

    def down(self, size: int) -> float:
        start = time.perf_counter()
        self._write(f"GET /big?bytes={size} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self._answer()
        return time.perf_counter() - start

    def up(self, size: int) -> float:
        piece = array.array("B", b"x" * WRITE)
        reader = threading.Thread(target=self._answer)
        start = time.perf_counter()
        reader.start()
        head = f"POST /sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
        self._write(head.encode())
        for sent in range(0, size, WRITE):
            self._dev.write(self._out, piece[: size - sent], TIMEOUT_MS)
        reader.join()
        return time.perf_counter() - start


def main() -> None:
    size, asked = int(sys.argv[1]), int(sys.argv[2])
    bare = Bare()
    try:
        bare.ask(3)
        figures = bare.ask(asked)
        for way, move in (("down", bare.down), ("up", bare.up)):
            figures[f"{way}_s"] = statistics.median(move(size) for _ in range(TIMES))
        figures["cpu_s"] = time.process_time()
    finally:
        bare.close()
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
