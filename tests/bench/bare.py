"""The limit: the same requests on the same virtual device with pyusb alone, in one loop.

`down` and `up` are the device alone, without a client. `relay_down` and `relay_up` are the least
that any proxy has to do: one blocking loop between a client's socket and pyusb, which parses only
as much HTTP as shows where its own measurement ends.

The printer lives in this process, as it lives in the daemon's when that is measured.
"""

from __future__ import annotations

import array
import socket
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

from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.backend import VirtualBackend

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
        self._listener = socket.create_server(("127.0.0.1", 0))

    def close(self) -> None:
        self._listener.close()
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

    def answer(self) -> bytes:
        """A small answer, whole."""
        data = bytes(self.read())
        while (size := answer_size(data)) is None or len(data) < size:
            data += self.read()
        return data

    def port(self) -> Numbers:
        """Where relays listen."""
        return {"port": self._listener.getsockname()[1]}

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

    def relay_down(self, *, chunked: bool) -> Numbers:
        """One client's download; it asks, we carry."""
        client, _ = self._listener.accept()
        with client:
            start, cpu = time.perf_counter(), time.process_time()
            self.write(client.recv(TRANSFER))
            data = self.read()
            total = None if chunked else answer_size(bytes(data))
            have, tail = 0, b""
            while True:
                client.sendall(data)
                have += len(data)
                tail = (tail + bytes(data[-5:]))[-5:]
                if tail == LAST_CHUNK if total is None else have >= total:
                    return self._taken(start, cpu)
                data = self.read()

    def relay_up(self, size: int, *, chunked: bool) -> Numbers:
        """One client's upload of `size` bytes beside its head."""
        client, _ = self._listener.accept()
        with client:
            start, cpu = time.perf_counter(), time.process_time()
            left = len(sink_head(size, chunked=chunked)) + size + len(LAST_CHUNK) * chunked
            while left:
                count = client.recv_into(self._buffer)
                self._write(self._buffer if count == TRANSFER else self._buffer[:count])
                left -= count
            client.sendall(self.answer())
            return self._taken(start, cpu)

    @staticmethod
    def _taken(start: float, cpu: float) -> Numbers:
        return {"seconds": time.perf_counter() - start, "cpu_s": time.process_time() - cpu}

    def latency(self, count: int) -> dict[str, object]:
        request = get_printer_attributes()
        times, cpu = [], time.process_time()
        for _ in range(count):
            start = time.perf_counter()
            self.write(request)
            self.answer()
            times.append(1000 * (time.perf_counter() - start))
        return {"ms": times, "cpu_s": time.process_time() - cpu}

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
        names = ("down", "up", "relay_down", "relay_up", "latency", "rate", "port")
        serve({name: getattr(bare, name) for name in names})
    finally:
        bare.close()
        printer.close()
