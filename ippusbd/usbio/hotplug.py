"""Hears that something changed on the USB bus. A hint, never a fact.

With udev its events wake the supervisor, after udev has set the device node's
permissions; without udev, and as a net below it, only the supervisor's poll does.

Knows pyudev (imported late, it is only needed on a machine with udev) and asyncio.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyudev

log = logging.getLogger("ippusbd.usb")

UDEV_RUNS = Path("/run/udev/control")


class Hotplug:
    """Calls `changed` for every add, remove or bind of a USB device, in the loop."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._monitor: pyudev.Monitor | None = None

    def start(self) -> bool:
        """Whether udev is there to be listened to."""
        if not UDEV_RUNS.exists():
            log.info("no udev: looking for printers from time to time")
            return False
        try:
            import pyudev

            monitor = pyudev.Monitor.from_netlink(pyudev.Context())
            monitor.filter_by("usb", "usb_device")
            monitor.start()
        except (ImportError, OSError) as exc:
            log.warning("cannot listen to udev (%s): looking for printers from time to time", exc)
            return False
        self._monitor = monitor
        asyncio.get_running_loop().add_reader(monitor.fileno(), self._readable)
        return True

    def stop(self) -> None:
        if self._monitor is not None:
            asyncio.get_running_loop().remove_reader(self._monitor.fileno())
            self._monitor = None

    def _readable(self) -> None:
        assert self._monitor is not None
        while self._monitor.poll(timeout=0) is not None:
            self._changed()
