"""Channels with the printer's end of their cable in the test's hand.

Every implementation of `Channel` is brought here into the same shape: `channel`
is what is tested, the other methods are what a printer does.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from typing import Protocol

from support.fake_channel import FakeChannel
from support.usbip_libusb import UsbIpHost

from ippusbd.errors import DeviceGone
from ippusbd.model import Capability, UsbId
from ippusbd.usbio.protocols import Channel, Pacing, TransferCounts, UsbDevice, UsbHost
from ippusbd.usbio.pyusb_host import PyusbHost
from ippusbd.virtual.http.firmware import Start, in_thread
from ippusbd.virtual.personalities.base import ActivePersonalities
from ippusbd.virtual.usb.backend import VirtualBackend
from ippusbd.virtual.usb.descriptors import DeviceSpec, ipp_interface
from ippusbd.virtual.usb.device import VirtualDevice
from ippusbd.virtual.usb.pipes import SessionEnded

QUIET_S = 0.05
SPEC = DeviceSpec(
    usb_id=UsbId(0x1209, 0x0001),
    manufacturer="Test",
    product="Cable",
    serial="0001",
    device_id="MFG:Test;MDL:Cable;",
    interfaces=(ipp_interface(0, 0, Capability.all()),),
)


class Rig(Protocol):
    """A channel, and its printer."""

    channel: Channel
    window: int  # how many bytes it may read ahead
    quiet_s: float  # a printer that is silent for so long has nothing more to say

    def say(self, *transfers: bytes) -> None: ...
    def heard(self) -> bytes: ...
    def stop_taking(self) -> None: ...
    def take_again(self) -> None: ...
    def unread(self) -> int: ...
    def unplug(self) -> None: ...


class FakeRig:
    """The FakeChannel must behave like the real ones, or tests over it prove nothing."""

    window = 1 << 30  # nothing stands between printer and channel
    quiet_s = QUIET_S

    def __init__(self) -> None:
        self.channel: FakeChannel = FakeChannel()

    def say(self, *transfers: bytes) -> None:
        self.channel.say(*transfers)

    def heard(self) -> bytes:
        return bytes(self.channel.sent)

    def stop_taking(self) -> None:
        self.channel.stop_taking()

    def take_again(self) -> None:
        self.channel.take_again()

    def unread(self) -> int:
        return 0

    def unplug(self) -> None:
        self.channel.fail(DeviceGone("unplugged"))


class DeviceRig:
    """A device without firmware: it keeps what is written, the test says what is read."""

    def __init__(
        self,
        device: VirtualDevice,
        opened: UsbDevice,
        channel: Channel,
        counts: TransferCounts,
        *,
        window: int,
        start: Start = in_thread,
        quiet_s: float = QUIET_S,
    ) -> None:
        self.channel = channel
        self.counts = counts
        self.window = window
        self.quiet_s = quiet_s
        self._device = device
        self._opened = opened
        self._face = device.interface(0)
        self._heard = bytearray()
        self._takes = threading.Event()
        self._takes.set()
        self._ear = start("rig-ear", self._listen())

    async def claim_again(self, pacing: Pacing) -> list[int]:
        """Claimed in another way; the lengths of the OUT transfers from now on."""
        await self._opened.release(self.channel)
        self.channel = await self._opened.claim(self._opened.interfaces[0], pacing, self.counts)
        offered: list[int] = []
        self._face.ipp.out.offered = offered.append
        return offered

    def say(self, *transfers: bytes) -> None:
        for data in transfers:
            self._face.ipp.into.push(data)

    def heard(self) -> bytes:
        return bytes(self._heard)

    def stop_taking(self) -> None:
        self._takes.clear()
        self._face.ipp.out.gate = self._takes.is_set

    def take_again(self) -> None:
        self._takes.set()
        self._face.ipp.out.wake()

    def unread(self) -> int:
        return len(self._face.ipp.into)

    def unplug(self) -> None:
        self._device.unplug()

    def join(self) -> None:
        self._device.unplug()
        self._ear.join()

    async def _listen(self) -> None:
        while (session := await self._face.next_session()) is not None:
            try:
                while True:
                    self._heard += await self._face.ipp.out.recv(session)
            except SessionEnded:
                continue


async def open_first(host: UsbHost) -> UsbDevice:
    """The first printer that the host sees, waited for."""
    end = time.monotonic() + 10
    while True:
        found = [f for f in await host.enumerate() if f.usb_id == SPEC.usb_id]
        if found:
            with suppress(DeviceGone):  # the one before it, whose end was not noticed yet
                return await host.open(found[-1])
        assert time.monotonic() < end, "no device came"


@asynccontextmanager
async def fake_rig() -> AsyncIterator[Rig]:
    yield FakeRig()


@asynccontextmanager
async def device_rig(
    device: VirtualDevice,
    host: UsbHost,
    *,
    window: int,
    start: Start = in_thread,
    quiet_s: float = QUIET_S,
) -> AsyncIterator[DeviceRig]:
    """The device's only interface, claimed through `host`."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(host.close)
        opened = await open_first(host)
        ears = stack.enter_context(ExitStack())
        stack.push_async_callback(opened.close)
        counts = TransferCounts()
        channel = await opened.claim(opened.interfaces[0], counts=counts)
        rig = DeviceRig(
            device, opened, channel, counts, window=window, start=start, quiet_s=quiet_s
        )
        ears.callback(rig.join)
        yield rig


@asynccontextmanager
async def thread_rig() -> AsyncIterator[Rig]:
    """pyusb, the thread Channel, and the virtual device in this process."""
    device = VirtualDevice(SPEC, ActivePersonalities({}))
    device.plug()
    host = PyusbHost(VirtualBackend([device]), transfer_bytes=65_536, channel="threads")
    async with device_rig(device, host, window=3 * 65_536) as rig:
        yield rig


@asynccontextmanager
async def async_rig() -> AsyncIterator[Rig]:
    """The asynchronous Channel over URBs of the virtual device in this process."""
    device = VirtualDevice(SPEC, ActivePersonalities({}))
    device.plug()
    async with device_rig(
        device, UsbIpHost(VirtualBackend([device]), device), window=6 * 65_536
    ) as rig:
        yield rig


@asynccontextmanager
async def simulated_rig() -> AsyncIterator[Rig]:
    """The simulation's Channel, with the device's end in the same loop."""
    from simulation.loop import Firmware
    from simulation.usb import SimulatedHost

    loop = asyncio.get_running_loop()
    device = VirtualDevice(SPEC, ActivePersonalities({}))
    device.plug()
    host = SimulatedHost(lambda: None)
    host.add(device)
    async with device_rig(
        device, host, window=1 << 30, start=lambda _, steps: Firmware(loop, steps)
    ) as rig:
        yield rig


@asynccontextmanager
async def _kernel_rig(channel: str) -> AsyncIterator[Rig]:
    """libusb on this kernel's virtual host controller; only in the guest."""
    from ippusbd.virtual.usb.usbip import UsbIpServer
    from ippusbd.virtual.usb.vhci import Attacher

    device = VirtualDevice(SPEC, ActivePersonalities({}))
    device.plug()
    server = UsbIpServer([device])
    try:
        await asyncio.to_thread(Attacher(server).attach, device)
        host = PyusbHost(transfer_bytes=65_536, channel=channel)
        async with device_rig(device, host, window=6 * 65_536, quiet_s=0.4) as rig:
            yield rig
    finally:
        server.close()


@asynccontextmanager
async def kernel_async_rig() -> AsyncIterator[Rig]:
    """The asynchronous Channel on a real kernel."""
    async with _kernel_rig("async") as rig:
        yield rig


@asynccontextmanager
async def kernel_thread_rig() -> AsyncIterator[Rig]:
    """The thread Channel on a real kernel."""
    async with _kernel_rig("threads") as rig:
        yield rig
