"""The limit: the same requests on the same virtual device with pyusb alone, in one loop.

The printer lives in this process, as it lives in the daemon's when that is measured.
"""

from __future__ import annotations

import array
import time

import usb.core
import usb.util
from messages import (
    LAST_CHUNK,
    PIECE,
    answer_size,
    big,
    get_printer_attributes,
    piece,
    sink_head,
)
from worker import Numbers, serve

from ippusbd.virtual.backend import VirtualBackend
from ippusbd.virtual.printer import VirtualPrinter

TRANSFER = 256 * 1024
TIMEOUT_MS = 10_000


class Bare:
    """Interface 0, claimed by pyusb."""

    def __init__(self, printer: VirtualPrinter) -> None:
        self._dev = usb.core.find(backend=VirtualBackend([printer.device]))
        self._dev.detach_kernel_driver(0)
        self._dev.set_interface_altsetting(0, 1)
        face = self._dev.get_active_configuration()[(0, 1)]
        addresses = [endpoint.bEndpointAddress for endpoint in face]
        self._into = next(a for a in addresses if a & 0x80)
        self._out = next(a for a in addresses if not a & 0x80)
        self._buffer = array.array("B", bytes(TRANSFER))

    def close(self) -> None:
        usb.util.dispose_resources(self._dev)

    def write(self, data: bytes) -> None:
        self._write(array.array("B", data))

    def _write(self, data: array.array[int]) -> None:
        """One transfer."""
        sent = self._dev.write(self._out, data, TIMEOUT_MS)
        if sent != len(data):
            raise SystemExit(f"bench: the device took {sent} bytes of {len(data)}")

    def read(self) -> memoryview:
        count = self._dev.read(self._into, self._buffer, TIMEOUT_MS)
        return memoryview(self._buffer)[:count].cast("B")

    def answer(self) -> int:
        start = b""
        while (size := answer_size(start)) is None:
            start += self.read()
        have = len(start)
        while have < size:
            have += len(self.read())
        return size

    # --- what is measured

    def down(self, size: int, *, chunked: bool) -> Numbers:
        start, cpu = time.perf_counter(), time.process_time()
        self.write(big(size, chunked=chunked))
        head = bytes(self.read())
        total = None if chunked else answer_size(head)
        have, tail = len(head), head[-5:]
        while have < total if total is not None else tail != LAST_CHUNK:
            data = self.read()
            have += len(data)
            tail = (tail + bytes(data[-5:]))[-5:]
        return self._taken(start, cpu)

    def up(self, size: int, *, chunked: bool) -> Numbers:
        part = array.array("B", piece(chunked=chunked))
        start, cpu = time.perf_counter(), time.process_time()
        self.write(sink_head(size, chunked=chunked))
        for _ in range(size // PIECE):
            self._write(part)
        if chunked:
            self.write(LAST_CHUNK)
        self.answer()
        return self._taken(start, cpu)

    @staticmethod
    def _taken(start: float, cpu: float) -> Numbers:
        return {"seconds": time.perf_counter() - start, "cpu_s": time.process_time() - cpu}

    def latency(self, count: int) -> dict[str, object]:
        request = get_printer_attributes()
        times = []
        for _ in range(count):
            start = time.perf_counter()
            self.write(request)
            self.answer()
            times.append(1000 * (time.perf_counter() - start))
        return {"ms": times}

    def rate(self, count: int) -> Numbers:
        request = get_printer_attributes()
        start = time.perf_counter()
        for _ in range(count):
            self.write(request)
            self.answer()
        return {"per_s": count / (time.perf_counter() - start)}


if __name__ == "__main__":
    printer = VirtualPrinter(interfaces=3)
    bare = Bare(printer)
    try:
        serve(
            {"down": bare.down, "up": bare.up, "latency": bare.latency, "rate": bare.rate}  # type: ignore[dict-item]
        )
    finally:
        bare.close()
        printer.close()
