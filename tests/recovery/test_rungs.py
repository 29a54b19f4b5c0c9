"""Each rung of the ladder with a printer that only this rung, or a stronger one, recovers."""

from __future__ import annotations

from contextlib import suppress

import pytest
from support.daemon import InProcessDaemon, run_daemon
from support.http_client import ask

from ippusbd.virtual.personalities.base import Personality
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.device import (
    ControlTimeout,
    DeviceEvent,
    Setup,
    VirtualDevice,
    VirtualInterface,
)

HASTY = {"drain_s": 0.3, "check_s": 0.5, "supplies_s": 0.0}  # nobody here is slow


async def make_unresponsive(
    daemon: InProcessDaemon, printer: VirtualPrinter, personality: str
) -> None:
    """The third request finds the printer unresponsive; its client gives up, or is served late."""
    printer.switch(personality, on=True)
    for _ in range(2):
        assert (await ask(daemon.port())).status == 200
    with suppress(TimeoutError):
        await ask(daemon.port(), timeout_s=0.5)


def winner(daemon: InProcessDaemon) -> str:
    (record,) = daemon.state.printers().values()
    return record.recovery


@pytest.mark.parametrize(
    ("personality", "rung"),
    [
        ("halts-once", "clear halt"),
        ("deaf-until-set-interface", "set alternate setting"),
        ("deaf-until-soft-reset", "soft reset"),
        ("deaf-until-reclaimed", "claim again"),
        ("deaf-until-bus-reset", "USB reset"),
    ],
)
@pytest.mark.parametrize("interfaces", [1, 3])
async def test_an_unresponsive_printer_is_recovered_by_the_weakest_step_that_helps(
    make_printer, state_path, personality: str, rung: str, interfaces: int
):
    printer = make_printer(interfaces=interfaces)
    async with run_daemon(printer, state_path=state_path, **HASTY) as daemon:
        await make_unresponsive(daemon, printer, personality)
        await daemon.until(lambda: winner(daemon) == rung)
        await daemon.until_state("ready")
        await daemon.until_idle()
        assert daemon.interfaces()["broken"] == 0
        assert daemon.interfaces()["total"] == interfaces
        for _ in range(2 * interfaces):
            assert (await ask(daemon.port())).status == 200


async def test_an_unrecoverable_interface_costs_three_resets_and_the_others_go_on_serving(
    make_printer, state_path
):
    printer = make_printer(interfaces=3)
    async with run_daemon(printer, state_path=state_path, retry_max_s=0.1, **HASTY) as daemon:
        await make_unresponsive(daemon, printer, "deaf-until-replug")
        await daemon.until(lambda: daemon.interfaces()["total"] == 2, 30)
        await daemon.until_state("ready")
        for _ in range(6):
            assert (await ask(daemon.port())).status == 200


async def test_a_printer_that_stays_unresponsive_is_given_up_after_three_resets(
    make_printer, state_path
):
    printer = make_printer(interfaces=2)
    async with run_daemon(printer, state_path=state_path, retry_max_s=0.1, **HASTY) as daemon:
        printer.switch("deaf", on=True)
        with pytest.raises(TimeoutError):
            await ask(daemon.port(), timeout_s=0.2)
        await daemon.until_state("refused")
        assert "3 resets" in daemon.reason()
        assert (await ask(daemon.port())).status == 503

        printer.switch("deaf", on=False)
        daemon.unplug(printer)
        await daemon.until_state("away")
        daemon.plug(printer)
        await daemon.until_state("ready")


async def test_a_printer_that_hangs_with_two_interfaces_is_used_through_one(
    make_printer, state_path
):
    printer = make_printer("hangs-with-two-interfaces", interfaces=3)
    async with run_daemon(
        printer, state_path=state_path, wait=(), retry_max_s=0.1, probe_s=2.0, **HASTY
    ) as daemon:
        await daemon.until(lambda: daemon.row()["state"] == "ready", 40)
        assert daemon.interfaces()["total"] == 1
        (record,) = daemon.state.printers().values()
        assert record.learned == {"max_interfaces": 1}
    async with run_daemon(printer, state_path=state_path, **HASTY) as daemon:  # remembered
        assert daemon.interfaces()["total"] == 1


async def test_a_soft_reset_that_hangs_the_printer_is_sent_once(make_printer, state_path):
    printer = make_printer("soft-reset-hangs", interfaces=1)
    async with run_daemon(printer, state_path=state_path, retry_max_s=0.1, **HASTY) as daemon:
        await make_unresponsive(daemon, printer, "deaf-until-bus-reset")
        await daemon.until(lambda: winner(daemon) == "USB reset", 40)
        await daemon.until_state("ready")
        (record,) = daemon.state.printers().values()
        assert record.learned == {"soft_reset": "never"}


class HangsCompletely(Personality):
    """From some moment to a bus reset it answers nothing, no control request either."""

    name = "hangs-completely"
    hung = False

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        if event is DeviceEvent.BUS_RESET:
            self.hung = False

    def takes(self, interface: VirtualInterface) -> bool:
        return not self.hung

    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
        if self.hung and setup.request_type & 0x60 == 0x20:  # of a class
            raise ControlTimeout("it hangs")
        return None


async def test_a_soft_reset_is_not_blamed_for_a_printer_that_answered_nothing_before_it(
    make_printer, state_path
):
    printer = make_printer(interfaces=1)
    personality = printer.personalities.switch_on(HangsCompletely)
    async with run_daemon(printer, state_path=state_path, retry_max_s=0.1, **HASTY) as daemon:
        personality.hung = True
        with suppress(TimeoutError):
            await ask(daemon.port(), timeout_s=0.5)
        await daemon.until(lambda: winner(daemon) == "USB reset", 40)
        await daemon.until_state("ready")
        (record,) = daemon.state.printers().values()
        assert record.learned == {}


@pytest.mark.parametrize("interfaces", [1, 3])
async def test_a_soft_reset_that_harms_the_printer_is_sent_once(
    make_printer, state_path, interfaces: int
):
    """The request is accepted, and then even interfaces that worked are silent."""
    printer = make_printer("soft-reset-harms", interfaces=interfaces)
    (personality,) = printer.personalities
    async with run_daemon(printer, state_path=state_path, retry_max_s=0.1, **HASTY) as daemon:
        for _ in range(2):
            (key,) = daemon.state.printers()
            daemon.state.set_recovery(key, "")
            await make_unresponsive(daemon, printer, "deaf-until-bus-reset")
            await daemon.until(lambda: winner(daemon) == "USB reset", 40)
            await daemon.until_state("ready")
            await daemon.until(lambda: daemon.interfaces()["total"] == interfaces)
            assert (await ask(daemon.port())).status == 200
        (record,) = daemon.state.printers().values()
        assert record.learned == {"soft_reset": "never"}
        assert personality.resets == 2, "once, to both recipients"


async def test_the_recipient_that_a_printer_accepts_is_remembered(make_printer, state_path):
    printer = make_printer("soft-reset-interface-only", interfaces=1)
    async with run_daemon(printer, state_path=state_path, **HASTY) as daemon:
        await make_unresponsive(daemon, printer, "deaf-until-soft-reset")
        await daemon.until(lambda: winner(daemon) == "soft reset")
        (record,) = daemon.state.printers().values()
        assert record.learned == {"soft_reset": "interface"}


async def test_a_soft_reset_at_start_that_hangs_the_printer_is_not_repeated(
    make_printer, state_path, tmp_path
):
    folder = tmp_path / "quirks"
    folder.mkdir()
    entry = 'usb = "1209:0001"\nreason = "this story"\nsoft_reset_at_start = true\n'
    (folder / "own.toml").write_text(f"[[quirk]]\n{entry}")
    printer = make_printer("soft-reset-hangs", interfaces=1)
    async with run_daemon(
        printer, state_path=state_path, wait=(), retry_max_s=0.1, quirks_dirs=(folder,), **HASTY
    ) as daemon:
        await daemon.until_state("ready")
        (record,) = daemon.state.printers().values()
        assert record.learned == {"soft_reset": "never"}
        assert (await ask(daemon.port())).status == 200
