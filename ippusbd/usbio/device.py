"""An open device: its strings, its configuration, and claims of its interfaces.

Knows the order of requests that real devices need, through the blocking calls of
a `Handle`; never pyusb. Control transfers run in the device's own thread, so a
device that does not answer delays no other.

SET_CONFIGURATION detaches the drivers of every interface, also of mass
storage: it is sent only when the wanted configuration is not the active one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ippusbd.aio import run_to_end
from ippusbd.errors import DeviceGone, NotUsable, TransferFailed, UsbError
from ippusbd.model import DeviceFacts, InterfaceInfo
from ippusbd.usbio.bulk_async import AsyncChannel
from ippusbd.usbio.bulk_threads import ThreadChannel
from ippusbd.usbio.libusb import Libusb
from ippusbd.usbio.protocols import USUAL, Channel, Pacing, TransferCounts
from ippusbd.wire.descriptors import (
    alternates,
    decode_languages,
    decode_string,
    parse_device_id,
    usable_interfaces,
)
from ippusbd.wire.text import one_line

log = logging.getLogger("ippusbd.usb")
T = TypeVar("T")

# Of IN transfers of which several are in flight: at first, and while the printer is fast.
ASYNC_READ_BYTES, ASYNC_FAST_BYTES = 65_536, 262_144
CONTROL_S = 2.0
SETTLE_S = 0.25  # some printers need it after a real change of configuration
STRING_TRIES = 3  # Pantum BP5100DN fails the first reads
SYSFS = Path("/sys/bus/usb/devices")

_GET_DESCRIPTOR, _DEVICE, _CONFIGURATION, _STRING = 0x06, 0x01, 0x02, 0x03
_GET_DEVICE_ID, _GET_PORT_STATUS, _SOFT_RESET = 0, 1, 2
_CLASS_IN, _CLASS_OUT_OTHER, _CLASS_OUT_INTERFACE = 0xA1, 0x23, 0x21


class Handle(Protocol):
    """Blocking calls of an open device; they raise our errors."""

    @property
    def pointer(self) -> Any: ...
    @property
    def strings(self) -> tuple[int, int, int]: ...
    def close(self) -> None: ...
    def control_in(
        self, request_type: int, request: int, value: int, index: int, length: int, timeout_s: float
    ) -> bytes: ...
    def control_out(
        self, request_type: int, request: int, value: int, index: int, timeout_s: float
    ) -> None: ...
    def configuration(self) -> int: ...
    def set_configuration(self, value: int) -> None: ...
    def claim(self, interface: int) -> None: ...
    def release(self, interface: int) -> None: ...
    def set_alternate(self, interface: int, alternate: int) -> None: ...
    def driver_active(self, interface: int) -> bool: ...
    def detach_driver(self, interface: int) -> None: ...
    def attach_driver(self, interface: int) -> None: ...
    def clear_halt(self, endpoint: int) -> None: ...
    def reset(self) -> None: ...
    def bulk_in(
        self, endpoint: int, interface: int, buffer: array[int], timeout_s: float
    ) -> int: ...
    def bulk_out(
        self, endpoint: int, interface: int, data: memoryview, timeout_s: float
    ) -> int: ...


class ClaimedInterface:
    """One interface that is ours, until `release`; a `BulkIo`. Blocks."""

    def __init__(self, handle: Handle, info: InterfaceInfo) -> None:
        self._handle = handle
        self._info = info
        self._reattach = handle.driver_active(info.number)
        if self._reattach:
            handle.detach_driver(info.number)
        try:
            handle.claim(info.number)
            handle.set_alternate(info.number, info.alternate)
        except UsbError:
            self.release()
            raise

    def read_into(self, buffer: array[int], timeout_s: float) -> int:
        return self._handle.bulk_in(self._info.bulk_in, self._info.number, buffer, timeout_s)

    def write(self, data: memoryview, timeout_s: float) -> int:
        return self._handle.bulk_out(self._info.bulk_out, self._info.number, data, timeout_s)

    def clear_halts(self) -> None:
        for endpoint in (self._info.bulk_out, self._info.bulk_in):
            self._handle.clear_halt(endpoint)

    def recover(self) -> None:
        self.clear_halts()
        self._handle.set_alternate(self._info.number, self._info.alternate)

    def release(self) -> None:
        # The kernel itself sets alternate setting 0 when an interface is released
        # (usb_unbind_interface), as vendor drivers and usblp expect it.
        with contextlib.suppress(UsbError):  # not claimed, or gone
            self._handle.release(self._info.number)
        if self._reattach:
            with contextlib.suppress(UsbError):
                self._handle.attach_driver(self._info.number)


class OpenDevice:
    """`UsbDevice` over a `Handle`. Made by `prepare`."""

    def __init__(
        self, handle: Handle, facts: DeviceFacts, *, transfer_bytes: int, libusb: Libusb | None
    ) -> None:
        self._handle = handle
        self._facts = facts
        self._interfaces: tuple[InterfaceInfo, ...] = ()
        self._channels: dict[int, Channel] = {}
        self._transfer_bytes = transfer_bytes
        self._libusb = libusb
        self._thread = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix=f"usb-control-{facts.address}"
        )
        self._closed = False

    @classmethod
    async def prepare(
        cls,
        handle: Handle,
        facts: DeviceFacts,
        *,
        transfer_bytes: int,
        libusb: Libusb | None = None,
    ) -> OpenDevice:
        """Read descriptors and strings, and set the configuration if it must be."""
        device = cls(handle, facts, transfer_bytes=transfer_bytes, libusb=libusb)
        try:
            await device._run(device._introduce)
        except BaseException:
            await device.close()
            raise
        return device

    @property
    def facts(self) -> DeviceFacts:
        return self._facts

    @property
    def interfaces(self) -> tuple[InterfaceInfo, ...]:
        return self._interfaces

    async def claim(
        self, info: InterfaceInfo, pacing: Pacing = USUAL, counts: TransferCounts | None = None
    ) -> Channel:
        # An interface that nobody knows to be claimed would never get its driver back.
        return await run_to_end(self._claim(info, pacing, counts))

    async def _claim(
        self, info: InterfaceInfo, pacing: Pacing, counts: TransferCounts | None
    ) -> Channel:
        claimed = await self._run(partial(ClaimedInterface, self._handle, info))
        channel = self._channel(info, claimed, pacing, counts)
        self._channels[info.number] = channel
        return channel

    def _channel(
        self,
        info: InterfaceInfo,
        claimed: ClaimedInterface,
        pacing: Pacing,
        counts: TransferCounts | None,
    ) -> Channel:
        read_bytes = whole_packets(pacing.read_bytes or self._transfer_bytes)
        write_bytes = pacing.write_bytes or self._transfer_bytes
        if self._libusb is not None:
            return AsyncChannel(
                info.number,
                claimed,
                self._thread,
                self._libusb,
                self._handle.pointer,
                endpoint_in=info.bulk_in,
                endpoint_out=info.bulk_out,
                packet_bytes=info.packet_in,
                transfer_bytes=min(read_bytes, ASYNC_READ_BYTES),
                fast_bytes=min(read_bytes, ASYNC_FAST_BYTES),
                write_bytes=write_bytes,
                pacing=pacing,
                counts=counts,
            )
        return ThreadChannel(
            info.number,
            claimed,
            self._thread,
            transfer_bytes=read_bytes,
            write_bytes=write_bytes,
            pacing=pacing,
            counts=counts,
            endpoints=(info.bulk_in, info.bulk_out),
            packet_bytes=info.packet_out,
        )

    async def release(self, channel: Channel) -> None:
        await run_to_end(self._release(channel))

    async def _release(self, channel: Channel) -> None:
        await channel.close()
        self._channels.pop(channel.number, None)

    async def port_status(self) -> int:
        first = self._interfaces[0].number
        status = await self._run(
            partial(self._handle.control_in, _CLASS_IN, _GET_PORT_STATUS, 0, first, 1, CONTROL_S)
        )
        if not status:
            raise TransferFailed("no port status")
        return status[0]

    async def soft_reset(self, info: InterfaceInfo, *, recipient_other: bool = False) -> None:
        recipient = _CLASS_OUT_OTHER if recipient_other else _CLASS_OUT_INTERFACE
        await self._run(
            partial(self._handle.control_out, recipient, _SOFT_RESET, 0, info.number, CONTROL_S)
        )

    async def reset(self) -> None:
        await self._run(self._handle.reset)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await run_to_end(self._close())

    async def _close(self) -> None:
        for channel in list(self._channels.values()):
            await self._release(channel)
        with contextlib.suppress(UsbError):
            await self._run(self._handle.close)
        self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    # --- in the device's thread

    def _introduce(self) -> None:
        device, configurations = self._descriptors()
        active = self._active_configuration(configurations)
        self._interfaces = usable_interfaces(device, configurations, active=active)
        if not self._interfaces:
            raise NotUsable("no interface speaks IPP over USB (7/1/4)")
        self._configure(self._interfaces[0].configuration, active, configurations)
        manufacturer, product, serial = texts = self._strings()
        indexes = self._handle.strings
        self._facts = replace(
            self._facts,
            manufacturer=manufacturer,
            product=product,
            serial=serial,
            device_id=self._device_id(configurations),
            unreadable=any(index and not text for text, index in zip(texts, indexes, strict=True)),
        )

    def _descriptors(self) -> tuple[bytes, list[bytes]]:
        device = self._descriptor(_DEVICE, 0, 18)
        if len(device) < 18:
            raise TransferFailed(f"a device descriptor of {len(device)} bytes")
        return device, [self._configuration_descriptor(i) for i in range(device[17])]

    def _configuration_descriptor(self, index: int) -> bytes:
        head = self._descriptor(_CONFIGURATION, index, 9)
        length = int.from_bytes(head[2:4], "little")
        return self._descriptor(_CONFIGURATION, index, max(length, 9))

    def _descriptor(self, kind: int, index: int, length: int, language: int = 0) -> bytes:
        return self._handle.control_in(
            0x80, _GET_DESCRIPTOR, kind << 8 | index, language, length, CONTROL_S
        )

    def _active_configuration(self, configurations: Sequence[bytes]) -> int | None:
        """The configuration in use; HP M406 reports one that does not exist."""
        values = [c[5] for c in configurations if len(c) > 5]
        try:
            value = self._handle.configuration()
        except UsbError as exc:
            log.debug("cannot ask for the configuration: %s", exc)
            value = 0
        if value in values:
            return value
        return values[0] if len(values) == 1 and value else None

    def _configure(self, wanted: int, active: int | None, configurations: Sequence[bytes]) -> None:
        if wanted == active:
            return
        log.info("set configuration %d (was %s)", wanted, active or "none")
        others = [n for n in _interface_numbers(configurations) if self._handle.driver_active(n)]
        for number in others:
            with contextlib.suppress(UsbError):
                self._handle.detach_driver(number)
        self._handle.set_configuration(wanted)
        time.sleep(SETTLE_S)
        ours = {info.number for info in self._interfaces}
        for number in set(others) - ours:
            with contextlib.suppress(UsbError):  # the kernel was faster, or knows none
                self._handle.attach_driver(number)

    def _strings(self) -> tuple[str, str, str]:
        """Manufacturer, product, serial number. Raises DeviceGone.

        A printer unplugged meanwhile must not look like another one that has no serial number.
        """
        manufacturer, product, serial = self._handle.strings
        texts = (
            self._text(manufacturer, "manufacturer"),
            self._text(product, "product"),
            self._text(serial, "serial"),
        )
        if not all(text for text, index in zip(texts, self._handle.strings, strict=True) if index):
            self._descriptor(_DEVICE, 0, 18)  # is it still there?
        return texts

    def _text(self, index: int, name: str) -> str:
        return (self._string(index) or self._sysfs(name)) if index else ""

    def _string(self, index: int) -> str:
        for _ in range(STRING_TRIES):
            try:
                language = decode_languages(self._descriptor(_STRING, 0, 255))
                text = decode_string(self._descriptor(_STRING, index, 255, language))
            except DeviceGone:
                raise
            except UsbError:
                continue
            if text:
                return one_line(text, 126)
        return ""

    def _sysfs(self, name: str) -> str:
        """The string that the kernel read when the device was plugged in."""
        path = self._facts.address.port_path
        if not path:
            return ""
        with contextlib.suppress(OSError):
            text = (SYSFS / path / name).read_text(encoding="utf-8", errors="replace")
            return one_line(text.strip(), 126)
        return ""

    def _device_id(self, configurations: Sequence[bytes]) -> str:
        """Some devices answer for the alternate setting of the legacy printer only."""
        first = self._interfaces[0]
        for alternate in alternates(configurations, first):
            # USB printer class 1.1, 4.2.1: interface in the high byte, alternate setting in the low
            which = first.number << 8 | alternate
            with contextlib.suppress(UsbError):
                raw = self._handle.control_in(_CLASS_IN, _GET_DEVICE_ID, 0, which, 1024, CONTROL_S)
                if device_id := parse_device_id(raw):
                    return device_id
        return ""


def whole_packets(size: int) -> int:
    """USB 3's packets have 1024 bytes; what a buffer has no room for is lost as an overflow."""
    return max(size // 1024, 1) * 1024


def _interface_numbers(configurations: Sequence[bytes]) -> list[int]:
    """bInterfaceNumber of every interface descriptor."""
    numbers: set[int] = set()
    for raw in configurations:
        at = 0
        while at + 9 <= len(raw) and raw[at] >= 2:
            if raw[at + 1] == 0x04:
                numbers.add(raw[at + 2])
            at += raw[at]
    return sorted(numbers)
