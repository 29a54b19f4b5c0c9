"""Every device on the bus is served, retried, refused or ignored, independently of others."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import usb.core
from support.daemon import (
    QUICK,
    InProcessDaemon,
    MemoryPublication,
    MemoryPublisher,
    run_daemon,
)
from support.http_client import ask

from ippusbd.doctor import printers as doctor
from ippusbd.doctor.findings import Level
from ippusbd.errors import PublishError, UsbError
from ippusbd.model import BusAddress, DeviceFacts, ServiceSet, UsbId
from ippusbd.usbio.protocols import UsbDevice
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.backend import VirtualBackend

MakePrinter = Callable[..., VirtualPrinter]
HASTY = {"probe_s": 0.5, "fax_probe_s": 0.2, "drain_s": 0.3, "check_s": 0.3}


async def test_with_an_empty_bus_the_status_is_empty(state_path: Path):
    async with run_daemon(state_path=state_path) as daemon:
        assert daemon.supervisor.status() == ()


async def test_a_printer_plugged_in_later_is_found_without_udev(
    make_printer: MakePrinter, state_path: Path
):
    printer = make_printer()
    async with run_daemon(state_path=state_path) as daemon:
        assert daemon.supervisor.status() == ()
        daemon.backend.plug(printer.device)  # nobody says so: the poll finds it
        await daemon.until_state("ready")
        assert [row.serial for row in daemon.supervisor.status()] == [printer.device.model.serial]


async def test_look_finds_what_has_just_changed(make_printer: MakePrinter, state_path: Path):
    printer = make_printer()
    async with run_daemon(state_path=state_path, poll_s=60.0) as daemon:
        daemon.backend.plug(printer.device)
        await daemon.supervisor.look()
        assert len(daemon.supervisor.devices()) == 1
        await daemon.until_state("ready")


async def test_the_bus_is_looked_at_again_after_an_error(
    make_printer: MakePrinter,
    state_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    printer = make_printer()
    async with run_daemon(state_path=state_path, poll_s=0.1) as daemon:
        with monkeypatch.context() as broken:
            broken.setattr(daemon.host, "enumerate", Raising(UsbError("no memory")))
            daemon.backend.plug(printer.device)
            await daemon.supervisor.look()
            assert daemon.supervisor.devices() == []
        await daemon.until_state("ready")
        assert "cannot list USB devices: no memory" in caplog.text
        assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_whoever_waits_for_a_look_goes_on_when_a_bug_ends_it(
    state_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with run_daemon(state_path=state_path, poll_s=60.0) as daemon:
        listing = Raising(RuntimeError("a bug"))
        monkeypatch.setattr(daemon.host, "enumerate", listing)
        await asyncio.wait_for(daemon.supervisor.look(), 2)
        assert listing.calls, "the look was made, and its end was told"


class Raising:
    def __init__(self, failure: Exception) -> None:
        self._failure = failure
        self.calls = 0

    async def __call__(self) -> list[DeviceFacts]:
        self.calls += 1
        raise self._failure


class SlowToClose:
    """A host with one address, whose devices open for ever and end in a bug when told to."""

    def __init__(self) -> None:
        self.there: list[DeviceFacts] = []
        self.opened = 0
        self.ends = asyncio.Event()

    async def enumerate(self) -> list[DeviceFacts]:
        return self.there

    async def open(self, facts: DeviceFacts) -> UsbDevice:
        self.opened += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await self.ends.wait()
            raise RuntimeError("a bug at its end") from None
        raise AssertionError

    async def close(self) -> None:
        pass


async def test_an_old_device_that_ends_in_a_bug_leaves_the_next_one_at_its_address_alone(
    state_path: Path, caplog: pytest.LogCaptureFixture
):
    host, device = SlowToClose(), DeviceFacts(UsbId(0x1209, 1), BusAddress(1, 2))
    settings = {"host": lambda _: host, "poll_s": 60.0, "wait": ()}
    async with run_daemon(state_path=state_path, **settings) as daemon:
        for there, opened in (([device], 1), ([], 1), ([device], 2)):
            host.there = there
            await daemon.supervisor.look()
            await daemon.until(lambda opened=opened: host.opened == opened)
        host.ends.set()
        await daemon.until(lambda: "a bug at its end" in caplog.text)
        assert len(daemon.supervisor.devices()) == 1
        await daemon.supervisor.look()
        assert host.opened == 2


class WaitedFor(asyncio.Lock):
    """Tells that somebody wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = asyncio.Event()

    async def acquire(self) -> Literal[True]:
        self.wanted.set()
        return await super().acquire()


async def test_a_device_that_leaves_while_the_session_before_it_still_ends_is_closed(
    make_printer: MakePrinter, state_path: Path
):
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path) as daemon:
        (known,) = daemon.supervisor.printers
        daemon.unplug(printer)
        await daemon.until_state("away")
        known.lock = WaitedFor()
        async with known.lock:
            known.lock.wanted.clear()
            daemon.plug(printer)
            port = daemon.backend.port(printer.device)
            await known.lock.wanted.wait()
            assert port._handles
            daemon.unplug(printer)
            await daemon.until(lambda: not port._handles)


async def test_a_slow_printer_delays_no_other(make_printer: MakePrinter, state_path: Path):
    silent, well = make_printer("silent", serial="S"), make_printer(serial="W")
    async with run_daemon(silent, well, state_path=state_path, wait=(), probe_s=30.0) as daemon:
        took = await daemon.until_state("ready", serial="W")
        assert took < 5.0
        assert daemon.row("S")["state"] in ("opening", "probing")


async def test_the_status_shows_what_a_printer_does(make_printer: MakePrinter, state_path: Path):
    async with run_daemon(make_printer(serial="A1"), state_path=state_path) as daemon:
        before = daemon.row()
        await ask(daemon.port(), "POST", "/sink", b"x" * 1000)
        await daemon.until_idle()  # it may be asked just now how it is
        row = daemon.row()
        assert row["id"] == "1209:0001"
        assert (row["serial"], row["model"]) == ("A1", "Example VirtualJet 900")
        assert (row["state"], row["reason"], row["announced"]) == ("ready", None, "established")
        counts = row["interfaces"]
        assert (counts["total"], counts["in_use"], counts["broken"]) == (3, 0, 0)
        assert row["requests"] == before["requests"] + 1
        assert row["bytes_out"] > before["bytes_out"] + 1000
        moved, had = row["transfers"], before["transfers"]
        assert moved["submitted"] >= moved["completed"] > had["completed"]
        assert row["url"] == f"http://localhost:{row['port']}/"


async def test_an_ignored_printer_is_not_opened_and_the_reason_shown(
    make_printer: MakePrinter, state_path: Path
):
    printer = make_printer()
    ignored = {"ignore": ("1209:0001",)}
    async with run_daemon(printer, state_path=state_path, wait=(), **ignored) as daemon:
        await daemon.until_state("ignored")
        assert daemon.reason() == "ignored by the configuration"
        (finding,) = doctor.check(daemon.status())
        assert (finding.level, finding.check) == (Level.NOTE, "ignored")
        assert set(daemon.backend.port(printer.device).drivers) == {0, 1, 2}
        assert printer.stats["requests"] == 0


async def test_a_device_that_may_not_be_opened_is_tried_again(
    make_printer: MakePrinter, state_path: Path, monkeypatch: pytest.MonkeyPatch
):
    refusals = [0]
    opened = VirtualBackend.open_device

    def locked_at_first(self: VirtualBackend, dev: Any) -> Any:
        refusals[0] += 1
        if refusals[0] <= 3:
            raise usb.core.USBError("Access denied", -3, errno.EACCES)
        return opened(self, dev)

    monkeypatch.setattr(VirtualBackend, "open_device", locked_at_first)
    async with run_daemon(make_printer(), state_path=state_path, wait=()) as daemon:
        await daemon.until(lambda: "Access denied" in daemon.reason())
        await daemon.until_state("ready")
        assert refusals[0] == 4


async def test_a_device_held_by_others_is_served_after_they_release_it(
    make_printer: MakePrinter, state_path: Path
):
    printer = make_printer(interfaces=1)
    backend = VirtualBackend([printer.device])
    async with run_daemon(printer, state_path=state_path, wait=()) as daemon:
        port = daemon.backend.port(printer.device)
        await daemon.until_state("ready")
        daemon.unplug(printer)
        await daemon.until_state("away")
        printer.plug()
        other = port.open()
        port.detach(other, 0)
        port.claim(other, 0)
        daemon.supervisor.wake()
        await daemon.until(lambda: daemon.row()["state"] in ("waiting", "probing", "opening"))
        await asyncio.sleep(0.3)
        assert not daemon.publisher.sets
        port.close(other)
        await daemon.until_state("ready")
    backend._finalize_object()


async def test_a_silent_printer_is_not_announced_until_it_answers(
    make_printer: MakePrinter, state_path: Path
):
    printer = make_printer("silent")
    async with run_daemon(printer, state_path=state_path, wait=(), **HASTY) as daemon:
        await daemon.until(lambda: daemon.row()["state"] == "waiting")
        assert daemon.reason()
        assert not daemon.publisher.sets
        assert (await ask(daemon.port())).status == 503
        printer.switch("silent", on=False)
        await daemon.until_state("ready")


async def test_a_bug_stops_one_printer_and_is_logged_as_an_error(
    make_printer: MakePrinter,
    state_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    from ippusbd.daemon.printer import announcer

    def broken(*_: object, **__: object) -> object:
        raise ZeroDivisionError("a bug")

    good = make_printer(serial="G")
    async with run_daemon(good, state_path=state_path, poll_s=60.0) as daemon:
        monkeypatch.setattr(announcer.txt, "services", broken)
        daemon.plug(make_printer(serial="B"))
        await daemon.until(lambda: "a bug" in daemon.reason("B"))
        assert daemon.row("G")["state"] == "ready"
        assert (await ask(daemon.port("G"))).status == 200
        assert (await ask(daemon.port("B"))).status == 503
        assert any(r.levelname == "ERROR" and r.exc_info for r in caplog.records)
        caplog.clear()


async def test_services_that_can_never_be_announced_do_not_stop_the_daemon(
    make_printer: MakePrinter, state_path: Path, monkeypatch: pytest.MonkeyPatch
):
    published = MemoryPublisher.publish

    async def refuses(self: MemoryPublisher, services: ServiceSet) -> Any:
        if not hasattr(self, "refused"):
            self.refused = True  # type: ignore[attr-defined]
            raise PublishError("no")
        return await published(self, services)

    monkeypatch.setattr(MemoryPublisher, "publish", refuses)
    async with run_daemon(make_printer(), state_path=state_path, wait=()) as daemon:
        await daemon.until_state("ready")
        assert daemon.publisher.sets


async def test_a_printer_that_leaves_while_it_is_announced_anew_is_announced_no_more(
    make_printer: MakePrinter, state_path: Path, monkeypatch: pytest.MonkeyPatch
):
    withdrawing, at_once = asyncio.Event(), MemoryPublication.withdraw

    async def withdraw(publication: MemoryPublication) -> None:
        if not withdrawing.is_set():
            withdrawing.set()
            await asyncio.Event().wait()  # until it is cancelled
        await at_once(publication)

    printer = make_printer("printer-before-scanner")
    async with run_daemon(printer, state_path=state_path, wait=("partial",)) as daemon:
        monkeypatch.setattr(MemoryPublication, "withdraw", withdraw)
        printer.switch("printer-before-scanner", on=False)
        await withdrawing.wait()
        daemon.unplug(printer)
        await daemon.until_state("away")
        assert daemon.publisher.sets == {}


async def test_names_survive_a_collision_and_a_restart(make_printer: MakePrinter, state_path: Path):
    twins = [make_printer(serial="A"), make_printer(serial="B")]
    async with run_daemon(*twins, state_path=state_path) as daemon:
        names = {serial: daemon.row(serial)["name"] for serial in "AB"}
        assert sorted(names.values()) == [
            "Example VirtualJet 900 (USB 2)", "Example VirtualJet 900 (USB)"
        ]  # fmt: skip
    for _ in range(2):
        twins = [make_printer(serial="A"), make_printer(serial="B")]
        async with run_daemon(*twins, state_path=state_path) as daemon:
            assert {serial: daemon.row(serial)["name"] for serial in "AB"} == names


async def test_eight_printers_are_served_at_once(make_printer: MakePrinter, state_path: Path):
    printers = [make_printer(serial=f"P{n}") for n in range(8)]
    async with run_daemon(*printers, state_path=state_path) as daemon:
        ports = {daemon.port(f"P{n}") for n in range(8)}
        assert len(ports) == 8
        replies = await asyncio.gather(*(ask(port) for port in ports for _ in range(3)))
        assert {reply.status for reply in replies} == {200}


async def test_retry_brings_a_waiting_printer_back_at_once(
    make_printer: MakePrinter, state_path: Path
):
    printer = make_printer("silent")
    slow = {**HASTY, "retry_min_s": 60.0, "retry_max_s": 60.0}
    async with run_daemon(printer, state_path=state_path, wait=(), **slow) as daemon:
        await daemon.until(lambda: daemon.row()["state"] == "waiting")
        printer.switch("silent", on=False)
        assert daemon.supervisor.retry()
        await daemon.until_state("ready")


async def test_changes_are_reported(make_printer: MakePrinter, state_path: Path):
    printer = make_printer()
    told: list[str] = []

    def note(daemon: InProcessDaemon) -> Callable[[], None]:
        return lambda: told.append(daemon.row()["state"])

    async with run_daemon(state_path=state_path) as daemon:
        daemon.supervisor._on_change = note(daemon)
        daemon.plug(printer)
        await daemon.until_state("ready")
        daemon.unplug(printer)
        await daemon.until_state("away")
        await daemon.until(lambda: told and told[-1] == "away")
    assert told.index("opening") < told.index("probing") < told.index("ready")


async def test_hp_devices_of_their_own_class_are_served(
    make_printer: MakePrinter, state_path: Path
):
    printer = make_printer("hp-255-9-1", usb_id=UsbId(0x03F0, 0x1111))
    async with run_daemon(printer, state_path=state_path) as daemon:
        assert daemon.row()["id"] == "03f0:2a2a"
        assert daemon.row()["port"] >= QUICK.port_min
