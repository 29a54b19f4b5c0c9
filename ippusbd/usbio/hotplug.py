"""Notices that something changed on the USB bus. A hint, never a fact.

udev's events wake the supervisor, after udev has set the device node's
permissions; without udev, or when an event is lost, the supervisor's poll finds the change.

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
    """Calls `changed` for every add, remove or bind of a USB device, in the loop.

    udev reports an arrival when the device node has its permissions; the kernel itself reports
    a departure some tenths of a second before udev has worked through its rules.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._monitors: list[pyudev.Monitor] = []

    def start(self) -> bool:
        """Whether udev is running and can be listened to."""
        if not UDEV_RUNS.exists():
            log.info(
                "no udev (%s is not there): polling for printers;"
                " a libusb that relies on udev finds none that is plugged in later",
                UDEV_RUNS,
            )
            return False
        try:
            import pyudev

            context = pyudev.Context()
            for source in ("udev", "kernel"):
                monitor = pyudev.Monitor.from_netlink(context, source=source)
                monitor.filter_by("usb", "usb_device")
                monitor.start()
                self._monitors.append(monitor)
        except (ImportError, OSError) as exc:
            self._monitors.clear()
            log.warning("cannot listen to udev (%s): polling for printers", exc)
            return False
        for monitor in self._monitors:
            asyncio.get_running_loop().add_reader(monitor.fileno(), self._readable, monitor)
        return True

    def stop(self) -> None:
        for monitor in self._monitors:
            asyncio.get_running_loop().remove_reader(monitor.fileno())
        self._monitors.clear()

    def _readable(self, monitor: pyudev.Monitor) -> None:
        try:
            while monitor.poll(timeout=0) is not None:
                self._changed()
        except OSError as exc:  # ENOBUFS: events came faster than they were read
            log.info("udev events were lost: %s", exc)
            self._changed()
