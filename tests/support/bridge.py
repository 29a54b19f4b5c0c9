"""TCP on loopback joined straight to a virtual printer's pipes, to test the printer alone.

Nothing of the daemon is in between: no leases, no header rules. Each connection gets an
interface of its own, chosen anew, so that what an earlier client left behind is gone. What
the daemon is for is missing here on purpose.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading

from ippusbd.errors import EndpointHalted, IppUsbError, TransferTimeout
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.device import Setup, VirtualInterface

SLICE_S = 0.02


class Bridge:
    """`with Bridge(printer) as bridge:` serves `127.0.0.1:bridge.port`."""

    def __init__(self, printer: VirtualPrinter) -> None:
        self.printer = printer
        self._free: queue.Queue[VirtualInterface] = queue.Queue()
        self._threads: list[threading.Thread] = []
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def url(self, path: str = "/", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Bridge:
        device = self.printer.device
        device.plug()
        device.control(Setup(0x00, 9, device.spec.configuration_value, 0, 0))
        for interface in device.interfaces:
            if interface.spec.speaks_ipp:
                self._free.put(interface)
        self._spawn(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _spawn(self, target: object, *args: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=args)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        interface = self._take()
        if interface is None:
            client.close()
            return
        try:
            self.printer.device.control(Setup(0x01, 11, 1, interface.number, 0))
            interface.ipp.into.flush()
            done = threading.Event()
            back = self._spawn(self._to_client, client, interface, done)
            self._to_printer(client, interface)
            done.set()
            back.join()
        finally:
            client.close()
            self._free.put(interface)

    def _take(self) -> VirtualInterface | None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Empty):
                return self._free.get(timeout=SLICE_S)
        return None

    def _to_printer(self, client: socket.socket, interface: VirtualInterface) -> None:
        client.settimeout(SLICE_S)
        while not self._stopped.is_set():
            try:
                data = client.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return
            if not data:
                return
            view = memoryview(data)
            while len(view) and not self._stopped.is_set():
                try:
                    view = view[interface.ipp.out.write(view, SLICE_S) :]
                except TransferTimeout:
                    continue
                except IppUsbError:
                    return

    def _to_client(
        self, client: socket.socket, interface: VirtualInterface, done: threading.Event
    ) -> None:
        buffer = bytearray(65536)
        while not done.is_set() and not self._stopped.is_set():
            try:
                count = interface.ipp.into.read_into(memoryview(buffer), SLICE_S)
                client.sendall(buffer[:count])
            except (TransferTimeout, EndpointHalted, TimeoutError):
                continue
            except (IppUsbError, OSError):
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                return
