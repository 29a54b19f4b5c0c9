"""The firmware: one HTTP server per IPP-over-USB interface, from power-up to power-off.

Each runs in a thread of its own, unless `start` runs it otherwise. An unplug ends them (their
pipes fail); `close` waits until the last one has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from ippusbd.virtual.http.messages import HttpHandler
from ippusbd.virtual.http.server import HttpServer, ServerHooks
from ippusbd.virtual.stats import Stats
from ippusbd.virtual.usb.device import VirtualDevice, VirtualInterface
from ippusbd.virtual.usb.waits import Steps, run


class Running(Protocol):
    """A coroutine that runs somewhere."""

    def is_alive(self) -> bool: ...
    def join(self) -> None: ...


Start = Callable[[str, Steps[None]], Running]


def in_thread(name: str, steps: Steps[None]) -> threading.Thread:
    thread = threading.Thread(target=run, args=(steps,), name=name, daemon=True)
    thread.start()
    return thread


class Firmware:
    """Starts with the device's power; must exist before the device is plugged in."""

    def __init__(
        self,
        device: VirtualDevice,
        hooks: ServerHooks,
        handler: HttpHandler,
        stats: Stats,
        start: Start = in_thread,
    ) -> None:
        self._device = device
        self._hooks = hooks
        self._handler = handler
        self._stats = stats
        self._start = start
        self._running: list[Running] = []
        device.powered.append(self._power_up)

    def _power_up(self, interface: VirtualInterface) -> None:
        if not interface.spec.speaks_ipp:
            return
        server = HttpServer(interface, self._hooks, self._handler, self._stats)
        name = f"virtual-{self._device.model.serial}-{interface.number}"
        self._running = [one for one in self._running if one.is_alive()]
        self._running.append(self._start(name, server.run()))

    def close(self) -> None:
        """Power off and wait for the end. Idempotent."""
        self._device.unplug()
        for one in self._running:
            one.join()
        self._running.clear()
