"""The virtual printer under the real pyusb: an `IBackend` in this process.

`usb.core.find(backend=VirtualBackend([printer.device]))` finds it, and everything above pyusb
works as with hardware: time-outs with partial counts, errno and libusb codes, exclusive
claims, kernel drivers to detach. Descriptors are parsed from the bytes that the device
returns, so pyusb sees what a kernel would see.

Calls block in the caller's thread, as libusb's do. The only module of `virtual` that knows
pyusb; `Any` stays here.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any, Final, ParamSpec, TypeVar

import usb.backend
import usb.core

from ippusbd.errors import (
    DeviceGone,
    EndpointHalted,
    IppUsbError,
    TransferTimeout,
)
from ippusbd.virtual.usb.device import Setup, VirtualDevice
from ippusbd.virtual.usb.host import Port, Refused, VirtualHandle
from ippusbd.virtual.usb.parsed import ConfigurationNode, parse_configuration
from ippusbd.virtual.usb.pipes import Overflow

P = ParamSpec("P")
R = TypeVar("R")

BUS: Final = 1
SPEED_HIGH: Final = 3
LIBUSB_CODES: Final = {
    errno.EIO: -1,
    errno.EINVAL: -2,
    errno.EACCES: -3,
    errno.ENODEV: -4,
    errno.ENOENT: -5,
    errno.EBUSY: -6,
    errno.ETIMEDOUT: -7,
    errno.EOVERFLOW: -8,
    errno.EPIPE: -9,
}


def _usb_error(number: int, text: str) -> Exception:
    kind = usb.core.USBTimeoutError if number == errno.ETIMEDOUT else usb.core.USBError
    error: Exception = kind(text, LIBUSB_CODES[number], number)
    return error


def _errno_of(exc: IppUsbError | Refused) -> int:
    if isinstance(exc, Refused):
        return exc.errno
    for kind, number in (
        (DeviceGone, errno.ENODEV),
        (EndpointHalted, errno.EPIPE),
        (TransferTimeout, errno.ETIMEDOUT),
        (Overflow, errno.EOVERFLOW),
    ):
        if isinstance(exc, kind):
            return number
    return errno.EIO


def _translated(call: Callable[P, R]) -> Callable[P, R]:
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except (IppUsbError, Refused) as exc:
            raise _usb_error(_errno_of(exc), str(exc)) from exc

    return wrapper


def _seconds(timeout_ms: int) -> float | None:
    """0 means no time-out in libusb."""
    return timeout_ms / 1000 if timeout_ms else None


class VirtualBackend(usb.backend.IBackend):  # type: ignore[misc]
    """Devices on one simulated bus; `plug` and `unplug` change it at any time."""

    def __init__(self, devices: Iterable[VirtualDevice] = ()) -> None:
        super().__init__()
        self.ports: list[Port] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        for device in devices:
            self.plug(device)

    def plug(self, device: VirtualDevice) -> Port:
        """Give the device its own port (once) and power."""
        device.plug()
        with self._lock:
            port = next((one for one in self.ports if one.device is device), None)
            if port is None:
                port = Port(device, len(self.ports) + 1)
                self.ports.append(port)
        return port

    def unplug(self, device: VirtualDevice) -> None:
        device.unplug()

    def port(self, device: VirtualDevice) -> Port:
        """The device's port, for tests that inspect drivers and claims."""
        return next(one for one in self.ports if one.device is device)

    def _finalize_object(self) -> None:
        for port in self.ports:
            port.forget_device()

    # --- enumeration

    def enumerate_devices(self) -> Iterator[Port]:
        return iter([port for port in self.ports if port.present])

    def get_parent(self, dev: Port) -> None:
        return None

    @_translated
    def get_device_descriptor(self, dev: Port) -> Any:
        raw = dev.device.control(Setup(0x80, 6, 0x0100, 0, 18))
        return SimpleNamespace(
            bLength=raw[0],
            bDescriptorType=raw[1],
            bcdUSB=int.from_bytes(raw[2:4], "little"),
            bDeviceClass=raw[4],
            bDeviceSubClass=raw[5],
            bDeviceProtocol=raw[6],
            bMaxPacketSize0=raw[7],
            idVendor=int.from_bytes(raw[8:10], "little"),
            idProduct=int.from_bytes(raw[10:12], "little"),
            bcdDevice=int.from_bytes(raw[12:14], "little"),
            iManufacturer=raw[14],
            iProduct=raw[15],
            iSerialNumber=raw[16],
            bNumConfigurations=raw[17],
            bus=BUS,
            address=dev.address,
            port_number=dev.number,
            port_numbers=(dev.number,),
            speed=SPEED_HIGH,
        )

    @_translated
    def _configuration(self, dev: Port, config: int) -> ConfigurationNode:
        # Callers use indexes past the end to find the end: not an error of the device.
        if config:
            raise IndexError(f"no configuration {config}")
        raw = dev.device.control(Setup(0x80, 6, 0x0200, 0, 0xFFFF))
        return parse_configuration(raw)

    def get_configuration_descriptor(self, dev: Port, config: int) -> Any:
        return SimpleNamespace(**self._configuration(dev, config).fields)

    def get_interface_descriptor(self, dev: Port, intf: int, alt: int, config: int) -> Any:
        return SimpleNamespace(**self._configuration(dev, config).interfaces[intf][alt].fields)

    def get_endpoint_descriptor(self, dev: Port, ep: int, intf: int, alt: int, config: int) -> Any:
        node = self._configuration(dev, config).interfaces[intf][alt]
        return SimpleNamespace(**node.endpoints[ep])

    # --- open devices

    @_translated
    def open_device(self, dev: Port) -> VirtualHandle:
        return dev.open()

    def close_device(self, dev_handle: VirtualHandle) -> None:
        dev_handle.port.close(dev_handle)

    @_translated
    def set_configuration(self, dev_handle: VirtualHandle, config_value: int) -> None:
        dev_handle.port.set_configuration(dev_handle, config_value)

    @_translated
    def get_configuration(self, dev_handle: VirtualHandle) -> int:
        return dev_handle.port.configuration(dev_handle)

    @_translated
    def set_interface_altsetting(
        self, dev_handle: VirtualHandle, intf: int, altsetting: int
    ) -> None:
        dev_handle.port.set_interface(dev_handle, intf, altsetting)

    @_translated
    def claim_interface(self, dev_handle: VirtualHandle, intf: int) -> None:
        dev_handle.port.claim(dev_handle, intf)

    @_translated
    def release_interface(self, dev_handle: VirtualHandle, intf: int) -> None:
        dev_handle.port.release(dev_handle, intf)

    @_translated
    def clear_halt(self, dev_handle: VirtualHandle, ep: int) -> None:
        dev_handle.port.check_alive(dev_handle)
        dev_handle.port.device.control(Setup(0x02, 1, 0, ep, 0))

    @_translated
    def reset_device(self, dev_handle: VirtualHandle) -> None:
        dev_handle.port.reset(dev_handle)

    @_translated
    def is_kernel_driver_active(self, dev_handle: VirtualHandle, intf: int) -> bool:
        return bool(dev_handle.port.driver(dev_handle, intf))

    @_translated
    def detach_kernel_driver(self, dev_handle: VirtualHandle, intf: int) -> None:
        dev_handle.port.detach(dev_handle, intf)

    @_translated
    def attach_kernel_driver(self, dev_handle: VirtualHandle, intf: int) -> None:
        dev_handle.port.attach(dev_handle, intf)

    # --- transfers

    @_translated
    def bulk_write(
        self, dev_handle: VirtualHandle, ep: int, intf: int, data: Any, timeout: int
    ) -> int:
        dev_handle.port.check_claimed(dev_handle, intf)
        pipe = dev_handle.port.device.out_pipe(ep)
        return pipe.write(memoryview(data).cast("B"), _seconds(timeout))

    @_translated
    def bulk_read(
        self, dev_handle: VirtualHandle, ep: int, intf: int, buff: Any, timeout: int
    ) -> int:
        dev_handle.port.check_claimed(dev_handle, intf)
        pipe = dev_handle.port.device.in_pipe(ep)
        return pipe.read_into(memoryview(buff).cast("B"), _seconds(timeout))

    @_translated
    def ctrl_transfer(
        self,
        dev_handle: VirtualHandle,
        bmRequestType: int,
        bRequest: int,
        wValue: int,
        wIndex: int,
        data: Any,
        timeout: int,
    ) -> int:
        dev_handle.port.check_alive(dev_handle)
        view = memoryview(data).cast("B")
        setup = Setup(bmRequestType, bRequest, wValue, wIndex, len(view))
        if not bmRequestType & 0x80:
            self._control(dev_handle, setup, bytes(view), timeout)
            return len(view)
        answer = self._control(dev_handle, setup, b"", timeout)
        view[: len(answer)] = answer
        return len(answer)

    def _control(self, handle: VirtualHandle, setup: Setup, data: bytes, timeout: int) -> bytes:
        try:
            return handle.port.device.control(setup, data)
        except TransferTimeout:
            self._stopped.wait(_seconds(timeout))  # the device does not answer
            raise
