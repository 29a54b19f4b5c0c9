"""The firmware's threads: one HTTP server per IPP-over-USB interface, from power-up to power-off.

An unplug ends the threads (their pipes fail); `close` waits until the last one has ended.
"""

from __future__ import annotations

import threading

from ippusbd.virtual.http.messages import HttpHandler
from ippusbd.virtual.http.server import HttpServer, ServerHooks
from ippusbd.virtual.stats import Stats
from ippusbd.virtual.usb.device import VirtualDevice, VirtualInterface


class Firmware:
    """Starts with the device's power; must exist before the device is plugged in."""

    def __init__(
        self, device: VirtualDevice, hooks: ServerHooks, handler: HttpHandler, stats: Stats
    ) -> None:
        self._device = device
        self._hooks = hooks
        self._handler = handler
        self._stats = stats
        self._threads: list[threading.Thread] = []
        device.powered.append(self._start)

    def _start(self, interface: VirtualInterface) -> None:
        if not interface.spec.speaks_ipp:
            return
        server = HttpServer(interface, self._hooks, self._handler, self._stats)
        name = f"virtual-{self._device.model.serial}-{interface.number}"
        thread = threading.Thread(target=server.run, name=name, daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()]
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Power off and wait for the threads. Idempotent."""
        self._device.unplug()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
