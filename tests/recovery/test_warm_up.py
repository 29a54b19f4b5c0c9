"""Five minutes of a printer that is not ready yet, without waiting: the clock jumps.

Whatever it answers meanwhile, in the end everything is announced, without a quirk and without
more resets than the budget allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.daemon import QUICK, MemoryPublisher
from support.fake_channel import FakeChannel
from support.scripted_printer import ScriptedPrinter, answer
from support.time_lapse import TimeLapse

from ippusbd.config import Config
from ippusbd.daemon.printer.printer import Services
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.daemon.supervisor import Supervisor
from ippusbd.model import BusAddress, Capability, DeviceFacts, InterfaceInfo, UsbId
from ippusbd.quirks.load import load
from ippusbd.usbio.protocols import USUAL, Pacing, TransferCounts
from ippusbd.wire import ipp

FIVE_MINUTES_S = 300.0
FACTS = DeviceFacts(UsbId(0x1209, 1), BusAddress(1, 2, "1-1"), "Maker", "Model", "1")
ABOUT = (
    ipp.attribute("printer-make-and-model", ipp.text("Maker Model")),
    ipp.attribute("document-format-supported", ipp.mime("application/pdf")),
)
PRINTER = answer(ipp.encode(ipp.Message(0, 1, (ipp.Group(ipp.Tag.PRINTER, ABOUT),))))
SCANNER = answer(
    b'<?xml version="1.0"?><scan:ScannerCapabilities'
    b' xmlns:scan="http://schemas.hp.com/imaging/escl/2011/05/03"'
    b' xmlns:pwg="http://www.pwg.org/schemas/2010/12/sm"><pwg:Version>2.63</pwg:Version>'
    b"<pwg:MakeAndModel>Maker Model</pwg:MakeAndModel><scan:Platen/></scan:ScannerCapabilities>"
)
NOT_FOUND = answer(b"no", status="404 Not Found")
STARTING = answer(b"starting", status="503 Service Unavailable")
# What it answers while it warms up; b"" is silence, of which zero-length packets are a part.
WARMING: dict[str, Callable[[str], bytes]] = {
    "503": lambda path: STARTING,
    "404": lambda path: NOT_FOUND,
    "503 cut short": lambda path: STARTING[:-4],
    "200 cut short": lambda path: PRINTER[:-20] if path == "/ipp/print" else SCANNER[:-20],
    "zero-length packets": lambda path: b"",
    "printer first": lambda path: PRINTER if path == "/ipp/print" else STARTING,
    "scanner first": lambda path: SCANNER if path.startswith("/eSCL") else STARTING,
}


class SlowStarter:
    """`UsbHost` and `UsbDevice` at once: a printer on a bus of its own."""

    facts = FACTS
    interfaces = tuple(
        InterfaceInfo(1, number, 1, 0x81 + number, 1 + number, Capability.PRINT | Capability.SCAN)
        for number in range(2)
    )

    def __init__(
        self,
        while_warming: Callable[[str], bytes],
        loop: TimeLapse,
        *,
        ready_s: float = FIVE_MINUTES_S,
    ) -> None:
        self._while_warming = while_warming
        self._loop = loop
        self._ready_at = loop.time() + ready_s
        self.resets = 0
        self.claimed: set[int] = set()

    def _channel(self, number: int) -> FakeChannel:
        printer = ScriptedPrinter([])

        def say(channel: FakeChannel) -> None:
            path = printer.heard[-1].target
            warm = {"/ipp/print": PRINTER, "/eSCL/ScannerCapabilities": SCANNER}
            if self._loop.time() < self._ready_at:
                said = self._while_warming(path)
            else:
                said = warm.get(path, NOT_FOUND)
            if said:
                channel.say(said)

        printer._say = say  # type: ignore[method-assign]
        (channel,) = printer.channels
        channel.number = number
        return channel

    async def enumerate(self) -> list[DeviceFacts]:
        return [FACTS]

    async def open(self, facts: DeviceFacts) -> SlowStarter:
        return self

    async def claim(
        self, info: InterfaceInfo, pacing: Pacing = USUAL, counts: TransferCounts | None = None
    ) -> FakeChannel:
        self.claimed.add(info.number)
        return self._channel(info.number)

    async def release(self, channel: FakeChannel) -> None:
        self.claimed.discard(channel.number)

    async def port_status(self) -> int:
        return 0x18

    async def soft_reset(self, info: InterfaceInfo, *, recipient_other: bool = False) -> None:
        pass

    async def reset(self) -> None:
        self.resets += 1

    async def close(self) -> None:
        self.claimed.clear()


@asynccontextmanager
async def supervised(
    config: Config, device: SlowStarter, state_path: Path
) -> AsyncIterator[tuple[Supervisor, MemoryPublisher]]:
    """The supervisor running in this loop's time."""
    publisher = MemoryPublisher()
    state = StateFile(state_path, range(config.port_min, config.port_max))
    services = Services(config, device, publisher, load())  # type: ignore[arg-type]
    supervisor = Supervisor(services, state, clock=asyncio.get_running_loop().time)
    running = asyncio.create_task(supervisor.run(hotplug=False))
    try:
        yield supervisor, publisher
    finally:
        running.cancel()
        await asyncio.wait([running])
        await supervisor.close()
        await state.close()


async def started(config: Config, device: SlowStarter, state_path: Path) -> tuple[float, set[str]]:
    """Seconds until the printer was ready, and what was announced then."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with supervised(config, device, state_path) as (supervisor, publisher):
        while [row.state.value for row in supervisor.status()] != ["ready"]:
            assert loop.time() - begun < 3 * FIVE_MINUTES_S, supervisor.status()
            assert "refused" not in [row.state.value for row in supervisor.status()]
            await asyncio.sleep(0.5)
        return loop.time() - begun, publisher.types()


async def released(config: Config, device: SlowStarter, state_path: Path) -> tuple[float, str]:
    """Seconds until the kernel's driver has all interfaces, and the reason that status gives."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with supervised(config, device, state_path) as (supervisor, _):
        while [row.state.value for row in supervisor.status()] != ["waiting"]:
            assert loop.time() - begun < FIVE_MINUTES_S, supervisor.status()
            await asyncio.sleep(0.1)
        assert not device.claimed
        return loop.time() - begun, str(supervisor.status()[0].reason)


def usual() -> Config:
    """The defaults, but for ports and the publisher."""
    return replace(Config(), port_min=QUICK.port_min, dnssd="off")


@pytest.mark.parametrize("warming", WARMING)
def test_a_printer_that_warms_up_for_five_minutes_is_announced_completely(
    warming: str, state_path: Path
):
    with asyncio.Runner(loop_factory=TimeLapse) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, TimeLapse)
        device = SlowStarter(WARMING[warming], loop)
        took_s, announced = runner.run(started(usual(), device, state_path))
    assert FIVE_MINUTES_S <= took_s < FIVE_MINUTES_S + usual().retry_max_s + 30
    assert {"_ipp._tcp", "_uscan._tcp"} <= announced
    assert device.resets <= (usual().resets_max if warming == "zero-length packets" else 0)


@pytest.mark.parametrize("warming", ["503", "404", "200 cut short", "zero-length packets"])
def test_a_printer_that_cannot_be_served_is_released_within_ten_seconds(
    warming: str, state_path: Path
):
    with asyncio.Runner(loop_factory=TimeLapse) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, TimeLapse)
        device = SlowStarter(WARMING[warming], loop)
        took_s, reason = runner.run(released(usual(), device, state_path))
    assert took_s < 10
    assert "/ipp/print" in reason


@pytest.mark.parametrize("ready_s", [3, 7, 10, 12, 15, 18, 22, 26, 30, 40])
def test_nothing_is_learned_from_a_printer_that_wakes_up_during_a_trial(
    ready_s: int, state_path: Path
):
    with asyncio.Runner(loop_factory=TimeLapse) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, TimeLapse)
        device = SlowStarter(WARMING["zero-length packets"], loop, ready_s=ready_s)
        runner.run(started(usual(), device, state_path))
    (learned,) = (record.learned for record in StateFile(state_path).printers().values())
    assert learned == {}
