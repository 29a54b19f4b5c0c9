"""A simulated kernel for a virtual device: drivers, claims and permissions.

The virtual device is only the far end of the cable. A program that uses it through a real
kernel also meets drivers on interfaces, exclusive claims, and settings that return to 0 when
an interface is released. The in-process backend uses this simulation; behind USB/IP a real
kernel does the same.

The rules are those of Linux' usbfs. Errors carry errno numbers; the backend turns them into
pyusb's exceptions.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ippusbd.errors import DeviceGone
from ippusbd.virtual.usb.device import Setup, VirtualDevice

SET_CONFIGURATION: Final = (0x00, 9)
SET_INTERFACE: Final = (0x01, 11)
ADDRESSES: Final = itertools.count()  # a replug gets a new one


class Refused(Exception):
    """The simulated kernel refuses a call."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.errno = number


@dataclass(eq=False, slots=True)
class VirtualHandle:
    """One open file of a device; closing it releases its claims."""

    port: Port
    plug_count: int
    claims: set[int] = field(default_factory=set)
    closed: bool = False


class Port:
    """A port of the simulated hub, with a device that may be plugged in."""

    def __init__(
        self, device: VirtualDevice, number: int, addresses: Iterator[int] = ADDRESSES
    ) -> None:
        self.device = device
        self._addresses = addresses
        self.number = number
        self.address = 0
        self.drivers: dict[int, str] = {}  # interface -> kernel driver bound now
        self.driver_log: list[tuple[str, int]] = []  # ("detach" or "attach", interface)
        self._handles: set[VirtualHandle] = set()
        self._lock = threading.RLock()
        self._seen = 0
        device.plug_changed.append(self._plug_changed)
        self._plug_changed()

    def forget_device(self) -> None:
        if self._plug_changed in self.device.plug_changed:
            self.device.plug_changed.remove(self._plug_changed)

    def _plug_changed(self) -> None:
        with self._lock:
            if not self.device.plugged or self._seen == self.device.plug_count:
                return
            self._seen = self.device.plug_count
            self.address = 2 + next(self._addresses) % 126  # 1 is the root hub's
            for handle in self._handles:  # of the device that was there before
                handle.claims.clear()
            self._handles.clear()
            with contextlib.suppress(DeviceGone):  # it is unplugged again already
                self._configure(self.device.spec.configuration_value)

    @property
    def present(self) -> bool:
        """Is there a device, and has the kernel enumerated it?"""
        return self.device.plugged and self._seen == self.device.plug_count

    # --- files

    def open(self) -> VirtualHandle:
        handle = VirtualHandle(self, self.device.plug_count)
        self._check(handle)
        with self._lock:
            self._handles.add(handle)
        return handle

    def close(self, handle: VirtualHandle) -> None:
        with self._lock:
            for number in tuple(handle.claims):
                self._release(handle, number)
            handle.closed = True
            self._handles.discard(handle)

    def _check(self, handle: VirtualHandle) -> None:
        """A handle from before a replug stays invalid."""
        if handle.closed or not self.device.plugged or handle.plug_count != self.device.plug_count:
            raise Refused(errno.ENODEV)

    # --- configuration and settings

    def set_configuration(self, handle: VirtualHandle, value: int) -> None:
        """EBUSY while a driver or a program has an interface, as on Linux."""
        with self._lock:
            self._check(handle)
            if self.drivers or any(one.claims for one in self._handles):
                raise Refused(errno.EBUSY)
            self._configure(value)

    def _configure(self, value: int) -> None:
        self.device.control(Setup(*SET_CONFIGURATION, value, 0, 0))
        present = self.device.interfaces if value else ()
        self.drivers = {f.number: f.spec.driver for f in present if f.spec.driver}

    def configuration(self, handle: VirtualHandle) -> int:
        self._check(handle)
        return self.device.control(Setup(0x80, 8, 0, 0, 1))[0]

    def set_interface(self, handle: VirtualHandle, number: int, alternate: int) -> None:
        self.check_claimed(handle, number)
        self.device.control(Setup(*SET_INTERFACE, alternate, number, 0))

    def reset(self, handle: VirtualHandle) -> None:
        """A port reset; the kernel restores configuration and settings after it."""
        with self._lock:
            self._check(handle)
            settings = {
                interface.number: interface.alternate for interface in self.device.interfaces
            }
            configuration = self.device.configuration
            self.device.reset()
            self.device.control(Setup(*SET_CONFIGURATION, configuration, 0, 0))
            for number, alternate in settings.items():
                if alternate:
                    self.device.control(Setup(*SET_INTERFACE, alternate, number, 0))

    # --- claims and drivers

    def claim(self, handle: VirtualHandle, number: int) -> None:
        with self._lock:
            self._check_interface(handle, number)
            others = any(number in one.claims for one in self._handles - {handle})
            if others or number in self.drivers:
                raise Refused(errno.EBUSY)
            handle.claims.add(number)

    def release(self, handle: VirtualHandle, number: int) -> None:
        with self._lock:
            self._check(handle)
            if number not in handle.claims:
                raise Refused(errno.ENOENT)
            self._release(handle, number)

    def _release(self, handle: VirtualHandle, number: int) -> None:
        handle.claims.discard(number)
        if self.device.plugged and handle.plug_count == self.device.plug_count:
            interface = self.device.interface(number)
            if interface.alternate:
                self.device.control(Setup(*SET_INTERFACE, 0, number, 0))

    def check_claimed(self, handle: VirtualHandle, number: int) -> None:
        self._check(handle)
        if number not in handle.claims:
            raise Refused(errno.ENOENT)

    def check_alive(self, handle: VirtualHandle) -> None:
        self._check(handle)

    def driver(self, handle: VirtualHandle, number: int) -> str:
        """The kernel driver on an interface, "" if none."""
        self._check_interface(handle, number)
        return self.drivers.get(number, "")

    def detach(self, handle: VirtualHandle, number: int) -> None:
        with self._lock:
            self._check_interface(handle, number)
            if self.drivers.pop(number, None) is None:
                raise Refused(errno.ENOENT)
            self.driver_log.append(("detach", number))

    def attach(self, handle: VirtualHandle, number: int) -> None:
        with self._lock:
            self._check_interface(handle, number)
            if number in self.drivers or any(number in one.claims for one in self._handles):
                raise Refused(errno.EBUSY)
            if driver := self.device.interface(number).spec.driver:
                self.drivers[number] = driver
            self.driver_log.append(("attach", number))

    def _check_interface(self, handle: VirtualHandle, number: int) -> None:
        self._check(handle)
        if number not in {interface.number for interface in self.device.interfaces}:
            raise Refused(errno.ENOENT)
