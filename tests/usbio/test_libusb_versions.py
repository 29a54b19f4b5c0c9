"""libusb 1.0.26 aborts the process where later versions return an error: it needs a workaround."""

from __future__ import annotations

import ctypes
import errno
from typing import Any

import pytest
import usb.core

from ippusbd.errors import DeviceGone
from ippusbd.usbio.pyusb_host import PyusbHandle


class Numbers(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint16) for name in ("major", "minor", "micro", "nano"))


class Library:
    """What is asked of a loaded libusb."""

    def __init__(self, *version: int) -> None:
        def libusb_get_version() -> Any:
            return ctypes.pointer(Numbers(*version))

        self.libusb_get_version = libusb_get_version


class GoneDevice:
    """A backend whose device was unplugged a moment ago."""

    def __init__(self, library: Library | None) -> None:
        if library is not None:
            self.lib = library
        self.asked: list[str] = []

    def open_device(self, _: object) -> object:
        return object()

    def is_kernel_driver_active(self, *_: object) -> bool:
        self.asked.append("is_kernel_driver_active")
        raise usb.core.USBError("gone", -4, errno.ENODEV)

    def set_interface_altsetting(self, *_: object) -> None:
        self.asked.append("set_interface_altsetting")
        raise usb.core.USBError("gone", -4, errno.ENODEV)


@pytest.mark.parametrize(
    ("library", "asked"),
    [
        (Library(1, 0, 26, 11724), "is_kernel_driver_active"),
        (Library(1, 0, 27, 11882), "set_interface_altsetting"),
        (Library(1, 0, 28, 11946), "set_interface_altsetting"),
        (None, "set_interface_altsetting"),
    ],
)
def test_set_interface_reaches_an_unplugged_device_only_where_libusb_survives_it(
    library: Library | None, asked: str
) -> None:
    backend: Any = GoneDevice(library)
    handle = PyusbHandle(backend, None, None, None)
    with pytest.raises(DeviceGone):
        handle.set_alternate(0, 1)
    assert backend.asked == [asked]
