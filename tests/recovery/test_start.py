"""Printers that are unresponsive, or still starting, when they are plugged in."""

from __future__ import annotations

import asyncio

import pytest
from support.daemon import InProcessDaemon, run_daemon
from support.http_client import ask, connected, head

from ippusbd.virtual.personalities.base import Personality
from ippusbd.virtual.usb.device import DeviceEvent, VirtualDevice, VirtualInterface

HASTY = {"drain_s": 0.3, "check_s": 0.5, "probe_s": 1.0, "retry_max_s": 0.2}


class Resets(Personality):
    """Counts the bus resets of a device."""

    name = "resets"

    def __init__(self) -> None:
        self.count = 0

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        self.count += event is DeviceEvent.BUS_RESET


@pytest.mark.parametrize("warming", ["truncated-503-then-zlp", "404-everything", "slow"])
async def test_a_printer_that_warms_up_is_waited_for_and_never_reset(
    make_printer, state_path, warming: str
):
    printer = make_printer(warming)
    resets = printer.personalities.switch_on(Resets)
    async with run_daemon(printer, state_path=state_path, wait=(), **HASTY) as daemon:
        await asyncio.sleep(4)
        assert daemon.row()["state"] != "refused"
        printer.switch(warming, on=False)
        await daemon.until_state("ready")
        assert (await ask(daemon.port())).status == 200
    assert resets.count == 0


async def cut_in_the_middle(daemon: InProcessDaemon) -> None:
    """The printer is unplugged during an upload."""
    async with connected(daemon.port()) as connection:
        await connection.send(head("POST", "/sink", (("Content-Length", "9000000"),)))
        await connection.send(bytes(500_000))
        await asyncio.sleep(0.3)


@pytest.mark.parametrize("personality", ["deaf-after-unplug", "eio-after-replug"])
async def test_a_printer_that_is_unresponsive_after_a_replug_is_reset(
    make_printer, state_path, personality: str
):
    printer = make_printer(personality)
    async with run_daemon(printer, state_path=state_path, **HASTY) as daemon:
        cutting = asyncio.create_task(cut_in_the_middle(daemon))
        await asyncio.sleep(0.2)
        daemon.unplug(printer)
        await asyncio.wait([cutting])
        await daemon.until_state("away")
        daemon.plug(printer)
        await daemon.until_state("ready")
        await daemon.until(lambda: daemon.interfaces()["total"] == 3)
        for _ in range(6):
            assert (await ask(daemon.port())).status == 200
        assert daemon.interfaces()["broken"] == 0


async def test_a_printer_whose_first_transfer_times_out_is_recovered(make_printer, state_path):
    printer = make_printer("first-out-times-out")
    async with run_daemon(printer, state_path=state_path, wait=(), **HASTY) as daemon:
        await daemon.until_state("ready")
        for _ in range(6):
            assert (await ask(daemon.port())).status == 200
