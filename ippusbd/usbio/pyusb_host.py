"""USB devices through pyusb: the only module that imports it.

Everything goes through pyusb's backend interface (`usb.backend.IBackend`), so
that libusb and the virtual printer are used alike. pyusb's `Device` is not
used: it claims interfaces again behind our back when a read follows a release.

Every call blocks, and runs in the device's own thread; exceptions of pyusb
end here.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import os
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import usb.backend
import usb.core

from ippusbd.errors import (
    AccessDenied,
    DeviceBusy,
    DeviceGone,
    EndpointHalted,
    NotUsable,
    TransferFailed,
    TransferTimeout,
    UsbError,
)
from ippusbd.kinds import Kind
from ippusbd.model import BusAddress, DeviceFacts, UsbId
from ippusbd.usbio.device import SYSFS, OpenDevice
from ippusbd.usbio.device_lock import lock_device
from ippusbd.usbio.libusb import SONAME, Libusb, version_of
from ippusbd.wire.descriptors import WITHOUT_IPP

log = logging.getLogger("ippusbd.usb")
T = TypeVar("T")

_HUB = 9
DEVICE_NODES = Path("/dev/bus/usb")
_BY_ERRNO: dict[int, type[UsbError]] = {
    errno.ENODEV: DeviceGone,
    errno.ESHUTDOWN: DeviceGone,
    errno.EPIPE: EndpointHalted,
    errno.EBUSY: DeviceBusy,
    errno.EACCES: AccessDenied,
    errno.EPERM: AccessDenied,
    errno.ETIMEDOUT: TransferTimeout,
}


class NoLibrary(NotUsable):
    """libusb is missing."""

    kind = Kind.LIBRARY


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise pyusb's exceptions as ours; `doing` says what failed."""
    try:
        yield
    except usb.core.USBError as exc:
        raise _BY_ERRNO.get(exc.errno or 0, TransferFailed)(f"{doing}: {exc}") from exc


class PyusbHandle:
    """An open device as blocking calls that raise our errors; any thread may call."""

    def __init__(
        self, backend: usb.backend.IBackend, reference: Any, descriptor: Any, node: Path | None
    ) -> None:
        """`node`: what is locked while the device is open."""
        self._backend = backend
        self._reference = reference
        self._descriptor = descriptor
        self._breaks_mutex = _breaks_mutex(backend)
        self._poisoned = False
        self._lock = lock_device(node) if node is not None else None
        try:
            with translated("open"):
                self._handle = backend.open_device(reference)
        except UsbError:
            self._unlock()
            raise

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def close(self) -> None:
        try:
            if self._poisoned:
                log.warning("libusb's handle stays open: closing it would abort the process")
                return
            with translated("close"):
                self._backend.close_device(self._handle)
        finally:
            self._unlock()

    @property
    def pointer(self) -> Any:
        """libusb's device handle; only with libusb's backend."""
        return self._handle.handle

    @property
    def strings(self) -> tuple[int, int, int]:
        """Indexes of the manufacturer, product and serial number strings; 0: none."""
        d = self._descriptor
        return d.iManufacturer, d.iProduct, d.iSerialNumber

    def control_in(
        self, request_type: int, request: int, value: int, index: int, length: int, timeout_s: float
    ) -> bytes:
        buffer = array("B", bytes(length))
        with translated(f"control request {request:#04x}"):
            count = self._backend.ctrl_transfer(
                self._handle, request_type, request, value, index, buffer, round(timeout_s * 1000)
            )
        return buffer[:count].tobytes()

    def control_out(
        self, request_type: int, request: int, value: int, index: int, timeout_s: float
    ) -> None:
        with translated(f"control request {request:#04x}"):
            self._backend.ctrl_transfer(
                self._handle,
                request_type,
                request,
                value,
                index,
                array("B"),
                round(timeout_s * 1000),
            )

    def configuration(self) -> int:
        with translated("ask for the configuration"):
            return int(self._backend.get_configuration(self._handle))

    def set_configuration(self, value: int) -> None:
        with translated(f"set configuration {value}"):
            self._backend.set_configuration(self._handle, value)

    def claim(self, interface: int) -> None:
        with translated(f"claim interface {interface}"):
            self._backend.claim_interface(self._handle, interface)

    def release(self, interface: int) -> None:
        with translated(f"release interface {interface}"):
            self._backend.release_interface(self._handle, interface)

    def set_alternate(self, interface: int, alternate: int) -> None:
        """SET_INTERFACE, which libusb 1.0.26 must never be called for when the device is gone.

        It then unlocks a mutex that it does not hold, and aborts the process when the handle is
        closed (libusb issue 1199, fixed in 1.0.27). So a harmless call goes first there, and a
        handle whose mutex was corrupted in between is not closed.
        """
        if self._breaks_mutex:
            with translated(f"check interface {interface}"):
                self._backend.is_kernel_driver_active(self._handle, interface)
        try:
            with translated(f"set interface {interface} to alternate setting {alternate}"):
                self._backend.set_interface_altsetting(self._handle, interface, alternate)
        except DeviceGone:
            self._poisoned = self._breaks_mutex and _mutex_is_corrupt(self._handle)
            raise

    def driver_active(self, interface: int) -> bool:
        try:
            return bool(self._backend.is_kernel_driver_active(self._handle, interface))
        except (usb.core.USBError, NotImplementedError):
            return False  # a platform without kernel drivers, or a device that just left

    def detach_driver(self, interface: int) -> None:
        with translated(f"detach the kernel driver of interface {interface}"):
            self._backend.detach_kernel_driver(self._handle, interface)

    def attach_driver(self, interface: int) -> None:
        with translated(f"reattach the kernel driver of interface {interface}"):
            self._backend.attach_kernel_driver(self._handle, interface)

    def clear_halt(self, endpoint: int) -> None:
        with translated(f"clear the halt of endpoint {endpoint:#04x}"):
            self._backend.clear_halt(self._handle, endpoint)

    def reset(self) -> None:
        with translated("reset"):
            self._backend.reset_device(self._handle)

    def bulk_in(self, endpoint: int, interface: int, buffer: array[int], timeout_s: float) -> int:
        with translated("bulk IN"):
            try:
                return int(
                    self._backend.bulk_read(
                        self._handle, endpoint, interface, buffer, round(timeout_s * 1000)
                    )
                )
            except usb.core.USBTimeoutError:
                return 0

    def bulk_out(self, endpoint: int, interface: int, data: memoryview, timeout_s: float) -> int:
        buffer = array("B")  # what backends take; made of a memoryview it would be slow
        buffer.frombytes(data)
        with translated("bulk OUT"):
            try:
                return int(
                    self._backend.bulk_write(
                        self._handle, endpoint, interface, buffer, round(timeout_s * 1000)
                    )
                )
            except usb.core.USBTimeoutError:
                return 0


def _breaks_mutex(backend: Any) -> bool:
    """Whether the loaded libusb has the fault that `set_alternate` works around."""
    library = getattr(backend, "lib", None)  # None: a virtual printer
    return library is not None and version_of(library) < (1, 0, 27)


def _mutex_is_corrupt(handle: Any) -> bool:
    """Whether the mutex at the start of libusb's handle was unlocked once too often.

    glibc's 64-bit pthread_mutex_t counts its users in the fourth 32-bit word; -1 is one too few.
    """
    pointer = getattr(getattr(handle, "handle", None), "value", None)
    if pointer is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        return pointer is not None
    return ctypes.c_int32.from_address(pointer + 12).value == -1


class PyusbHost:
    """`UsbHost` over one pyusb backend; None: libusb.

    `channel` is `threads`, or `async` and `auto`: asynchronous where the backend is libusb.
    `nodes` has the nodes of its devices; None: libusb's own, or none for another backend.
    """

    def __init__(
        self,
        backend: usb.backend.IBackend | None = None,
        *,
        transfer_bytes: int = 262_144,
        channel: str = "auto",
        sysfs: Path = SYSFS,
        nodes: Path | None = None,
    ) -> None:
        self._backend = backend
        self._transfer_bytes = transfer_bytes
        self._channel = channel
        self._sysfs = sysfs
        self._nodes = DEVICE_NODES if backend is None and nodes is None else nodes
        self._libusb: Libusb | None = None
        # Enumeration asks libusb, which talks to udev and sysfs: not in the loop.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="usb-host")

    async def enumerate(self) -> list[DeviceFacts]:
        found = [facts for facts, reason in await self.survey() if not reason]
        return [facts for facts in found if self._is_there(facts)]

    async def survey(self) -> list[tuple[DeviceFacts, str]]:
        """Every printer class device, and why it is not usable; "": it is."""
        return await self._run(self._survey)

    def _survey(self) -> list[tuple[DeviceFacts, str]]:
        with translated("list the bus"):
            return [(self._facts(d), reason) for _, d, reason in self._printers()]

    async def open(self, facts: DeviceFacts) -> OpenDevice:
        opening = asyncio.get_running_loop().run_in_executor(
            self._thread, partial(self._open, facts)
        )
        try:
            handle = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(self._unwanted)
            raise
        return await OpenDevice.prepare(
            handle, facts, transfer_bytes=self._transfer_bytes, libusb=self._asynchronous()
        )

    async def close(self) -> None:
        if self._libusb is not None:
            self._libusb.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _unwanted(self, opening: asyncio.Future[PyusbHandle]) -> None:
        """Close a device whose opening was cancelled."""
        if not opening.cancelled() and opening.exception() is None:
            with suppress(RuntimeError):  # the host is closed, the process about to end
                self._thread.submit(opening.result().close)

    def _asynchronous(self) -> Libusb | None:
        """libusb's events in this loop, if channels are to use them."""
        library = getattr(self._backend, "lib", None)
        if self._channel == "threads" or library is None:
            return None
        if self._libusb is None:
            self._libusb = Libusb(library._name, self._context())
        return self._libusb

    def _facts(self, descriptor: Any) -> DeviceFacts:
        bus, ports = descriptor.bus or 0, tuple(descriptor.port_numbers or ())
        path = f"{bus}-{'.'.join(map(str, ports))}" if ports else ""
        controller = controller_of(bus, self._sysfs) if path else ""
        return DeviceFacts(
            usb_id=UsbId(descriptor.idVendor, descriptor.idProduct),
            address=BusAddress(bus, descriptor.address or 0, path, controller),
            virtual=getattr(self._backend, "lib", None) is None,
        )

    def _is_there(self, facts: DeviceFacts) -> bool:
        """libusb learns of a departure from udev; the kernel removes the node at once."""
        if getattr(self._backend, "lib", None) is None:
            return True
        node = self._node(facts)
        return node is None or node.exists()

    def _node(self, facts: DeviceFacts) -> Path | None:
        address = facts.address
        if self._nodes is None:
            return None
        return self._nodes / f"{address.bus:03d}" / f"{address.address:03d}"

    def _context(self) -> Any:
        """pyusb's libusb_context."""
        return getattr(self._backend, "ctx", None)

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _open(self, facts: DeviceFacts) -> PyusbHandle:
        for reference, descriptor, _ in self._printers():
            if self._facts(descriptor).address == facts.address:
                return PyusbHandle(self._library(), reference, descriptor, self._node(facts))
        raise DeviceGone(f"no printer at {facts.address} any more")

    def _library(self) -> usb.backend.IBackend:
        if self._backend is None:
            import usb.backend.libusb1

            # By its name first: pyusb's own search starts ldconfig, which a sandbox may forbid.
            library = usb.backend.libusb1
            self._backend = library.get_backend(lambda _: SONAME) or library.get_backend()
            if self._backend is None:
                raise NoLibrary
        return self._backend

    def _printers(self) -> Iterator[tuple[Any, Any, str]]:
        backend = self._library()
        for reference in backend.enumerate_devices():
            try:
                descriptor = backend.get_device_descriptor(reference)
                if descriptor.bDeviceClass == _HUB:
                    continue
                classes = set(_classes(backend, reference, descriptor))
            except usb.core.USBError:
                continue  # unplugged meanwhile
            if (7, 1, 4) in classes or (descriptor.idVendor == 0x03F0 and (255, 9, 1) in classes):
                yield reference, descriptor, ""
            elif any(triple[:2] == (7, 1) for triple in classes):
                yield reference, descriptor, WITHOUT_IPP


def _classes(
    backend: usb.backend.IBackend, reference: Any, descriptor: Any
) -> Iterator[tuple[int, int, int]]:
    """Class triples of all interfaces, from the descriptors that the kernel cached."""
    for index in range(descriptor.bNumConfigurations):
        configuration = backend.get_configuration_descriptor(reference, index)
        for number in range(configuration.bNumInterfaces):
            alternate = 0
            while True:
                try:
                    i = backend.get_interface_descriptor(reference, number, alternate, index)
                except IndexError:
                    break
                yield i.bInterfaceClass, i.bInterfaceSubClass, i.bInterfaceProtocol
                alternate += 1


def controller_of(bus: int, sysfs: Path = SYSFS) -> str:
    """The device path of a bus's controller and the number of the bus there; "": not known.

    Bus numbers are given out at boot, in the order in which controllers are found.
    """
    try:
        root = (sysfs / f"usb{bus}").resolve(strict=True)
        buses = sorted(int(each.name[3:]) for each in root.parent.glob("usb[0-9]*"))
        _, _, path = str(root.parent).partition("/devices/")
        return f"{path}/{buses.index(bus)}" if path else ""
    except (OSError, ValueError):
        return ""
