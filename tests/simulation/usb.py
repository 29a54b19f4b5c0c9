"""The daemon's USB in the simulation: virtual devices behind the simulated kernel, no threads.

Every operation takes a moment of simulated time. A control request that the device does not
answer ends in its time-out. Claims, drivers and settings are the simulated kernel's
(`virtual.usb.host`), so another program can hold an interface here as it can on a machine.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

from simulation.channel import SimulatedChannel

from ippusbd.aio import run_to_end
from ippusbd.errors import (
    DeviceBusy,
    DeviceGone,
    TransferFailed,
    TransferTimeout,
    UsbError,
)
from ippusbd.model import BusAddress, DeviceFacts, InterfaceInfo
from ippusbd.usbio.protocols import USUAL, Channel, Pacing, TransferCounts
from ippusbd.virtual.usb import descriptors as d
from ippusbd.virtual.usb.device import Setup, VirtualDevice
from ippusbd.virtual.usb.host import Port, Refused, VirtualHandle
from ippusbd.wire.descriptors import parse_device_id, usable_interfaces

T = TypeVar("T")

BUS: Final = 1
CALL_S: Final = 0.0005  # of a control request, a claim, a setting
CONTROL_S: Final = 2.0  # the time-out of a control request
RESET_S: Final = 0.1
GET_DEVICE_ID, GET_PORT_STATUS, SOFT_RESET = 0, 1, 2


@contextmanager
def translated() -> Iterator[None]:
    """The kernel's refusals as the errors of `UsbDevice`."""
    try:
        yield
    except Refused as exc:
        kind = {errno.ENODEV: DeviceGone, errno.EBUSY: DeviceBusy}.get(exc.errno, TransferFailed)
        raise kind(str(exc)) from exc


class SimulatedHost:
    """`UsbHost` over ports of one bus; `resets` has the times of all port resets by serial."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.ports: list[Port] = []
        self._addresses = itertools.count()
        self.failing: UsbError | None = None  # what enumeration raises
        self.resets: deque[tuple[float, str]] = deque()
        self._wake = wake

    def add(self, device: VirtualDevice) -> Port:
        port = Port(device, len(self.ports) + 1, self._addresses)
        self.ports.append(port)
        device.plug_changed.append(self._wake)
        return port

    async def enumerate(self) -> list[DeviceFacts]:
        if self.failing is not None:
            raise self.failing
        return [_facts(port) for port in self.ports if port.present]

    async def open(self, facts: DeviceFacts) -> SimulatedDevice:
        await asyncio.sleep(CALL_S)
        for port in self.ports:
            if port.present and _facts(port).address == facts.address:
                with translated():
                    device = SimulatedDevice(port, port.open(), self)
                try:
                    await device.introduce()
                except BaseException:
                    await device.close()
                    raise
                return device
        raise DeviceGone(f"no printer at {facts.address} any more")

    async def close(self) -> None:
        pass


def _facts(port: Port) -> DeviceFacts:
    address = BusAddress(BUS, port.address, f"{BUS}-{port.number}")
    return DeviceFacts(port.device.spec.usb_id, address)


class SimulatedDevice:
    """`UsbDevice` over an open file of the simulated kernel."""

    def __init__(self, port: Port, handle: VirtualHandle, host: SimulatedHost) -> None:
        self._port = port
        self._handle = handle
        self._host = host
        self._channels: dict[int, SimulatedChannel] = {}
        self._lock = asyncio.Lock()  # one control request at a time
        self.facts = _facts(port)
        self.interfaces: tuple[InterfaceInfo, ...] = ()
        self.closed = False

    async def introduce(self) -> None:
        """Read the descriptors, as the daemon's own device does."""
        device = await self._control(Setup(0x80, 6, d.DEVICE << 8, 0, 18))
        configuration = await self._control(Setup(0x80, 6, d.CONFIGURATION << 8, 0, 0xFFFF))
        self.interfaces = usable_interfaces(device, [configuration], active=configuration[5])
        first = self.interfaces[0]
        raw = b""
        with suppress(TransferTimeout):
            index = first.number << 8 | first.alternate
            raw = await self._control(Setup(0xA1, GET_DEVICE_ID, 0, index, 1024))
        spec = self._port.device.spec
        self.facts = DeviceFacts(
            spec.usb_id,
            self.facts.address,
            spec.manufacturer,
            spec.product,
            spec.serial,
            parse_device_id(raw) if raw else "",
        )

    async def claim(
        self, info: InterfaceInfo, pacing: Pacing = USUAL, counts: TransferCounts | None = None
    ) -> Channel:
        async with self._lock:
            await asyncio.sleep(CALL_S)
            with translated():
                reattach = bool(self._port.driver(self._handle, info.number))
                if reattach:
                    self._port.detach(self._handle, info.number)
                try:
                    self._port.claim(self._handle, info.number)
                    await self._answered(
                        lambda: self._port.set_interface(self._handle, info.number, info.alternate)
                    )
                except (Refused, UsbError):
                    self._let_go(info.number, reattach=reattach)
                    raise
        channel = SimulatedChannel(self, info, reattach=reattach)
        self._channels[info.number] = channel
        return channel

    async def release(self, channel: Channel) -> None:
        await channel.close()
        self._channels.pop(channel.number, None)

    async def port_status(self) -> int:
        first = self.interfaces[0].number
        return (await self._control(Setup(0xA1, GET_PORT_STATUS, 0, first, 1)))[0]

    async def soft_reset(self, info: InterfaceInfo, *, recipient_other: bool = False) -> None:
        kind = 0x23 if recipient_other else 0x21
        await self._control(Setup(kind, SOFT_RESET, 0, info.number, 0))

    async def reset(self) -> None:
        async with self._lock:
            self._host.resets.append(
                (asyncio.get_running_loop().time(), self._port.device.spec.serial)
            )
            await asyncio.sleep(RESET_S)
            with translated():
                self._port.reset(self._handle)

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            await run_to_end(self._close())

    async def _close(self) -> None:
        for channel in list(self._channels.values()):
            await self.release(channel)
        self._port.close(self._handle)

    # --- for channels

    @property
    def device(self) -> VirtualDevice:
        return self._port.device

    def check(self, info: InterfaceInfo) -> None:
        """Raises what a transfer of an interface that is not claimed any more ends with."""
        with translated():
            self._port.check_claimed(self._handle, info.number)

    async def clear_halts(self, info: InterfaceInfo) -> None:
        for endpoint in (info.bulk_out, info.bulk_in):
            await self._control(Setup(0x02, 1, 0, endpoint, 0))

    async def set_interface(self, info: InterfaceInfo) -> None:
        async with self._lock:
            await asyncio.sleep(CALL_S)
            with translated():
                await self._answered(
                    lambda: self._port.set_interface(self._handle, info.number, info.alternate)
                )

    async def let_go(self, info: InterfaceInfo, *, reattach: bool) -> None:
        async with self._lock:
            await asyncio.sleep(CALL_S)
            self._let_go(info.number, reattach=reattach)

    def _let_go(self, number: int, *, reattach: bool) -> None:
        with suppress(Refused, UsbError):
            self._port.release(self._handle, number)
        if reattach:
            with suppress(Refused, UsbError):
                self._port.attach(self._handle, number)

    async def _control(self, setup: Setup) -> bytes:
        async with self._lock:
            await asyncio.sleep(CALL_S)
            with translated():
                self._port.check_alive(self._handle)
            return await self._answered(lambda: self._port.device.control(setup))

    @staticmethod
    async def _answered(call: Callable[[], T]) -> T:
        try:
            return call()
        except TransferTimeout:
            await asyncio.sleep(CONTROL_S)
            raise
