"""Legacy drivers get an unused printer; while they hold it, their program is named."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from support.daemon import run_daemon
from support.http_client import ask

from ippusbd.daemon.process.device_users import holders
from ippusbd.model import BusAddress
from ippusbd.virtual.personalities.base import Personality
from ippusbd.virtual.usb.device import DeviceEvent, VirtualDevice, VirtualInterface

SOON = {"idle_release_s": 0.2}
ALONE = """
[[quirk]]
usb = "1209:0001"
reason = "it is tested"
"""


@pytest.fixture
def quirk(tmp_path: Path):
    """A directory with one entry for the virtual printer."""

    def write(line: str) -> tuple[Path, ...]:
        folder = tmp_path / "quirks"
        folder.mkdir()
        (folder / "own.toml").write_text(f"{ALONE}{line}\n")
        return (folder,)

    return write


async def test_idle_interfaces_have_their_kernel_driver_and_the_next_request_claims_one(
    make_printer, state_path
):
    printer = make_printer(interfaces=3, vendor_interface=True)
    async with run_daemon(printer, state_path=state_path, **SOON) as daemon:
        port = daemon.backend.port(printer.device)
        storage = port.drivers[3]
        await daemon.until(lambda: daemon.interfaces()["released"] == 3)
        assert {number for number, name in port.drivers.items() if name == "usblp"} == {0, 1, 2}

        start = time.monotonic()
        assert (await ask(daemon.port())).status == 200
        took_s = time.monotonic() - start
        assert daemon.interfaces()["released"] == 2
        assert 0 not in port.drivers
        assert took_s < 0.5
        await daemon.until(lambda: daemon.interfaces()["released"] == 3)
        assert port.drivers[3] == storage
        assert 3 not in {number for _, number in port.driver_log}


async def test_many_releases_and_many_clients_lose_nothing(make_printer, state_path):
    printer = make_printer(interfaces=2)
    async with run_daemon(printer, state_path=state_path, idle_release_s=0.01) as daemon:
        for n in range(30):
            replies = await asyncio.gather(*(ask(daemon.port()) for _ in range(3)))
            assert [reply.status for reply in replies] == [200] * 3
            await asyncio.sleep(0.005 * (n % 5))
        assert daemon.row()["state"] == "ready"
        assert printer.stats["broken_http"] == 0


async def test_a_quirk_keeps_the_interfaces(make_printer, state_path, quirk):
    folders = quirk("idle_release = false")
    async with run_daemon(
        make_printer(), state_path=state_path, quirks_dirs=folders, **SOON
    ) as daemon:
        await asyncio.sleep(0.5)
        assert daemon.interfaces()["released"] == 0


async def test_a_device_claimed_by_another_program_is_waited_for_and_the_program_named(
    make_printer, state_path
):
    printer = make_printer(interfaces=1)
    async with run_daemon(printer, state_path=state_path, lease_wait_s=4.0, **SOON) as daemon:
        await daemon.until(lambda: daemon.interfaces()["released"] == 1)
        port = daemon.backend.port(printer.device)
        other = port.open()
        port.detach(other, 0)
        port.claim(other, 0)

        reply = await ask(daemon.port())
        assert reply.status == 503
        assert "retry-after" in reply.headers
        assert "interface 0 is held by" in reply.body.decode()
        assert "interface 0 is held by" in daemon.troubles()

        waiting = asyncio.create_task(ask(daemon.port()))
        await asyncio.sleep(0.1)
        port.close(other)
        assert (await waiting).status == 200
        assert daemon.troubles() == ""


async def test_a_passive_printer_gets_no_request_before_the_first_clients(
    make_printer, state_path, quirk
):
    printer = make_printer(interfaces=2)
    folders = quirk("passive = true")
    async with run_daemon(
        printer, state_path=state_path, quirks_dirs=folders, wait=("probing",), **SOON
    ) as daemon:
        await daemon.until(lambda: "passive" in daemon.reason())
        await asyncio.sleep(0.3)
        assert printer.stats["requests"] == 0
        assert daemon.backend.port(printer.device).driver_log == []
        assert (await ask(daemon.port())).status == 200
        await daemon.until_state("ready")


async def test_the_configuration_makes_every_printer_passive(make_printer, state_path):
    printer = make_printer()
    async with run_daemon(
        printer, state_path=state_path, passive=True, wait=("probing",), **SOON
    ) as daemon:
        await daemon.until(lambda: "passive" in daemon.reason())
        assert printer.stats["requests"] == 0
        assert set(daemon.backend.port(printer.device).drivers) == {0, 1, 2}
        assert (await ask(daemon.port())).status == 200
        await daemon.until_state("ready")


async def test_an_interface_held_by_another_program_at_the_start_is_claimed_when_free(
    make_printer, state_path
):
    printer = make_printer(interfaces=2)
    async with run_daemon(state_path=state_path, idle_release_s=0.0) as daemon:
        port = daemon.backend.plug(printer.device)
        other = port.open()
        port.detach(other, 1)
        port.claim(other, 1)
        daemon.supervisor.wake()
        await daemon.until_state("ready")
        assert daemon.interfaces()["released"] == 1
        assert "interface 1 is held by" in daemon.troubles()
        assert (await ask(daemon.port())).status == 200
        port.close(other)
        for _ in range(100):  # it is tried again when more is wanted than one interface gives
            replies = await asyncio.gather(*(ask(daemon.port()) for _ in range(8)))
            assert {reply.status for reply in replies} == {200}
            if not daemon.troubles():
                break
        assert daemon.interfaces()["released"] == 0
        assert daemon.troubles() == ""


class Stalls(Personality):
    """Interface 1 answers STALL from its claim on."""

    name = "stalls"

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        if event is DeviceEvent.SET_INTERFACE and interface is not None and interface.number == 1:
            interface.ipp.into.halt()


async def test_an_interface_that_cannot_be_used_is_the_kernels_until_an_administrators_retry(
    make_printer, state_path
):
    printer = make_printer(interfaces=3)
    printer.personalities.switch_on(Stalls)
    settings = {"idle_release_s": 0.0, "resets_max": 0}
    async with run_daemon(printer, state_path=state_path, **settings) as daemon:
        assert daemon.interfaces()["total"] == 2
        assert set(daemon.backend.port(printer.device).drivers) == {1}
        printer.switch(Stalls.name, on=False)
        await daemon.until_idle()
        daemon.supervisor.retry()
        await daemon.until(lambda: daemon.interfaces()["total"] == 3)


async def test_a_device_held_completely_by_another_program_is_waited_for_and_the_program_named(
    make_printer, state_path
):
    printer = make_printer(interfaces=1)
    async with run_daemon(state_path=state_path) as daemon:
        port = daemon.backend.plug(printer.device)
        other = port.open()
        port.detach(other, 0)
        port.claim(other, 0)
        daemon.supervisor.wake()
        await daemon.until_state("waiting")
        assert "interface 0 is held by" in daemon.reason()
        assert "interface 0 is held by" in (await ask(daemon.port())).body.decode()
        port.close(other)
        await daemon.until_state("ready")


async def test_an_unplug_while_released_is_noticed_and_a_replug_served(make_printer, state_path):
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path, **SOON) as daemon:
        await daemon.until(lambda: daemon.interfaces()["released"] == 3)
        daemon.unplug(printer)
        await daemon.until_state("away")
        daemon.plug(printer)
        await daemon.until_state("ready")
        assert (await ask(daemon.port())).status == 200


def test_holders_of_a_device_node_are_named(tmp_path: Path):
    node = "/dev/bus/usb/001/007"
    for pid, name, target in (("12", "scanner", node), ("13", "other", "/dev/null")):
        (tmp_path / pid / "fd").mkdir(parents=True)
        (tmp_path / pid / "comm").write_text(f"{name}\n")
        (tmp_path / pid / "fd" / "5").symlink_to(target)
    ours = tmp_path / str(os.getpid()) / "fd"
    ours.mkdir(parents=True)
    (ours / "3").symlink_to(node)
    (tmp_path / "14").mkdir()  # its descriptors are hidden from us
    assert holders(BusAddress(1, 7), proc=tmp_path) == ["process 12 (scanner)"]
