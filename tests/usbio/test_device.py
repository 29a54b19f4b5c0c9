"""Opening a device affects no other driver, and survives hostile descriptors and strings."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import struct
import sys
import threading
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import usb.core
from support.rigs import SPEC, open_first
from support.usbip_libusb import UsbIpHost
from support.waiting import until

from ippusbd.errors import (
    AccessDenied,
    BadDescriptor,
    DeviceBusy,
    DeviceGone,
    EndpointHalted,
    NotUsable,
    TransferFailed,
    TransferTimeout,
    UsbError,
)
from ippusbd.model import BusAddress, Capability, DeviceFacts, UsbId
from ippusbd.usbio import device as device_module
from ippusbd.usbio.device import OpenDevice
from ippusbd.usbio.device_lock import lock_device
from ippusbd.usbio.pyusb_host import PyusbHost, controller_of
from ippusbd.virtual.personalities.base import ActivePersonalities, Personality
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb import descriptors as d
from ippusbd.virtual.usb.backend import VirtualBackend
from ippusbd.virtual.usb.device import Setup, VirtualDevice

SET_CONFIGURATION = (0x00, 9)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(device_module, "SETTLE_S", 0.0)
    monkeypatch.setattr(device_module, "CONTROL_S", 0.2)
    monkeypatch.setattr(device_module, "SYSFS", tmp_path)


class Heard(Personality):
    """Keeps every control request."""

    name = "heard"

    def __init__(self) -> None:
        self.setups: list[Setup] = []

    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
        self.setups.append(setup)
        return None

    def of(self, request_type: int, request: int) -> list[Setup]:
        return [s for s in self.setups if (s.request_type, s.request) == (request_type, request)]


MakePrinter = Callable[..., VirtualPrinter]


def listen_to(printer: VirtualPrinter) -> Heard:
    """Records all control requests to the printer from now on."""
    heard = printer.personalities.switch_on(Heard)
    assert isinstance(heard, Heard)
    return heard


@asynccontextmanager
async def opened(printer: VirtualPrinter) -> AsyncIterator[tuple[OpenDevice, VirtualBackend]]:
    backend = VirtualBackend([printer.device])
    host = PyusbHost(backend)
    (facts,) = await host.enumerate()
    device = await host.open(facts)
    try:
        yield device, backend
    finally:
        await device.close()
        await host.close()


# --- who it is


async def test_strings_and_device_id_identify_the_printer(make_printer: MakePrinter):
    async with opened(make_printer(serial="A1")) as (device, _):
        facts = device.facts
        assert (facts.manufacturer, facts.product, facts.serial) == (
            "Example", "VirtualJet 900", "A1"
        )  # fmt: skip
        assert facts.model == "Example VirtualJet 900"
        assert facts.device_id.startswith("MFG:Example;MDL:VirtualJet 900;")
        assert facts.key == "1209:0001:A1"
        assert facts.address.port_path == "1-1"


async def test_a_printer_without_a_serial_number_is_identified_by_its_port_path(
    make_printer: MakePrinter,
):
    async with opened(make_printer(serial="")) as (device, _):
        assert device.facts.serial == ""
        assert device.facts.key == "1209:0001@1-1"


def plug_controller(sysfs: Path, *buses: int) -> None:
    """As in sysfs: the root hub of a bus is a link into the folder of its controller."""
    for bus in buses:
        root = sysfs / f"devices/pci0000:00/0000:00:14.0/usb{bus}"
        root.mkdir(parents=True)
        (sysfs / f"usb{bus}").symlink_to(root)


async def test_its_place_is_a_port_of_the_controller(make_printer: MakePrinter, tmp_path: Path):
    plug_controller(tmp_path, 1, 2)
    host = PyusbHost(VirtualBackend([make_printer(serial="").device]), sysfs=tmp_path)
    (facts,) = await host.enumerate()
    assert facts.key == "1209:0001@pci0000:00/0000:00:14.0/0/1"
    await host.close()


@pytest.mark.parametrize("usb_2", [1, 3, 9])
def test_a_place_does_not_depend_on_the_number_that_its_bus_got_at_boot(tmp_path: Path, usb_2: int):
    plug_controller(tmp_path, usb_2, usb_2 + 1)  # one for USB 2, one for USB 3
    assert controller_of(usb_2, tmp_path) == "pci0000:00/0000:00:14.0/0"
    assert controller_of(usb_2 + 1, tmp_path) == "pci0000:00/0000:00:14.0/1"
    assert controller_of(77, tmp_path) == ""


async def test_strings_that_fail_at_first_are_read_again(make_printer: MakePrinter):
    class FailsTwice(Heard):
        name = "heard"

        def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
            super().control(device, setup)
            asked = [s for s in self.setups if s.value >> 8 == d.STRING and s.value & 0xFF]
            if asked and asked[-1] is setup and len(asked) % 3:
                raise EndpointHalted("not yet")
            return None

    printer = make_printer()
    printer.personalities.switch_on(FailsTwice)
    async with opened(printer) as (device, _):
        assert device.facts.model == "Example VirtualJet 900"


@pytest.mark.parametrize("string", [d.I_PRODUCT, d.I_SERIAL])
async def test_an_unplug_while_strings_are_read_raises_device_gone(
    make_printer: MakePrinter, string: int
):
    class Leaves(Heard):
        name = "heard"

        def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
            if setup.value == d.STRING << 8 | string:
                device.unplug()
                raise DeviceGone("unplugged")
            return None

    printer = make_printer()
    printer.personalities.switch_on(Leaves)
    host = PyusbHost(VirtualBackend([printer.device]))
    (facts,) = await host.enumerate()
    with pytest.raises(DeviceGone):
        await host.open(facts)
    await host.close()


async def test_a_malformed_language_list_loses_no_string(make_printer: MakePrinter):
    async with opened(make_printer("malformed-language-list")) as (device, _):
        assert device.facts.model == "Example VirtualJet 900"


async def test_strings_that_cannot_be_read_come_from_the_kernel(
    make_printer: MakePrinter, tmp_path: Path
):
    node = tmp_path / "1-1"
    node.mkdir()
    (node / "manufacturer").write_text("Xerox\n")
    (node / "product").write_bytes(b"B2\xff05\n")
    async with opened(make_printer("empty-strings-until-reset")) as (device, _):
        assert device.facts.manufacturer == "Xerox"
        assert device.facts.product.startswith("B2")
        assert device.facts.serial == ""


async def test_hostile_strings_are_harmless(make_printer: MakePrinter):
    async with opened(make_printer("hostile-strings")) as (device, _):
        facts = device.facts
        for text in (facts.manufacturer, facts.product, facts.serial):
            assert text.isprintable()
            assert len(text) <= 126


@pytest.mark.parametrize("answers", [0, 1])
async def test_a_device_id_is_asked_for_in_each_alternate_setting(
    make_printer: MakePrinter, answers: int
):
    class OneSetting(Heard):
        name = "heard"

        def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
            if (setup.request_type, setup.request) == (0xA1, 0) and setup.index & 0xFF != answers:
                raise EndpointHalted("no GET_DEVICE_ID here")
            return super().control(device, setup)

    printer = make_printer()
    printer.personalities.switch_on(OneSetting)
    async with opened(printer) as (device, _):
        assert device.facts.device_id.startswith("MFG:Example;MDL:VirtualJet 900;")


async def test_a_device_id_that_is_refused_is_empty(make_printer: MakePrinter):
    class NoId(Personality):
        name = "heard"

        def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
            if (setup.request_type, setup.request) == (0xA1, 0):
                raise EndpointHalted("no GET_DEVICE_ID")
            return None

    printer = make_printer()
    printer.personalities.switch_on(NoId)
    async with opened(printer) as (device, _):
        assert device.facts.device_id == ""
        assert len(device.interfaces) == 3


# --- its interfaces


@pytest.mark.parametrize("count", [1, 2, 3, 4])
async def test_every_ipp_interface_is_found(make_printer: MakePrinter, count: int):
    async with opened(make_printer(interfaces=count)) as (device, _):
        assert [info.number for info in device.interfaces] == list(range(count))
        assert {info.alternate for info in device.interfaces} == {1}
        assert all(info.capabilities for info in device.interfaces)


async def test_interface_numbers_may_have_gaps(make_printer: MakePrinter):
    async with opened(make_printer("interface-gaps")) as (device, _):
        assert [info.number for info in device.interfaces] == [1, 3, 5]
        channel = await device.claim(device.interfaces[1])
        assert channel.number == 3
        await channel.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await channel.read()).startswith(b"HTTP/1.1 200")


async def test_hps_own_class_is_found_on_hp_devices(make_printer: MakePrinter):
    async with opened(make_printer("hp-255-9-1")) as (device, _):
        assert device.facts.usb_id.vendor == 0x03F0
        assert len(device.interfaces) == 3


async def test_a_missing_class_descriptor_differs_from_an_empty_one(
    make_printer: MakePrinter,
):
    async with opened(make_printer("no-class-descriptor")) as (device, _):
        assert {info.capabilities for info in device.interfaces} == {None}


def _without_ipp() -> VirtualDevice:
    from ippusbd.virtual.personalities.base import ActivePersonalities

    legacy = d.InterfaceSpec(0, (d.AlternateSpec(d.PRINTER_LEGACY, (0x81, 0x01)),))
    spec = d.DeviceSpec(UsbId(1, 2), "Old", "Laser", "1", "", (legacy,))
    return VirtualDevice(spec, ActivePersonalities({}))


async def test_a_printer_without_ipp_over_usb_is_listed_with_the_reason():
    device = _without_ipp()
    host = PyusbHost(VirtualBackend([device]))
    assert await host.enumerate() == []
    ((facts, reason),) = await host.survey()
    assert facts.usb_id == UsbId(1, 2)
    assert reason == "a printer without IPP over USB: it needs its maker's driver"
    await host.close()


async def test_devices_that_are_not_printers_are_skipped():
    from ippusbd.virtual.personalities.base import ActivePersonalities

    spec = d.DeviceSpec(UsbId(1, 2), "A", "Stick", "1", "", (d.storage_interface(0, 0),))
    host = PyusbHost(VirtualBackend([VirtualDevice(spec, ActivePersonalities({}))]))
    assert await host.survey() == []
    await host.close()


# --- its configuration


async def test_the_active_configuration_is_not_set_again(make_printer: MakePrinter):
    printer = make_printer(vendor_interface=True)
    heard = listen_to(printer)
    backend = VirtualBackend([printer.device])
    port = backend.port(printer.device)
    heard.setups.clear()
    host = PyusbHost(backend)
    device = await host.open((await host.enumerate())[0])
    assert heard.of(*SET_CONFIGURATION) == []
    assert port.driver_log == []
    await device.close()
    await host.close()


async def test_a_reported_configuration_that_does_not_exist_means_the_only_one(
    make_printer: MakePrinter,
):
    printer = make_printer("configuration-matches-none")
    heard = listen_to(printer)
    async with opened(printer) as (device, _):
        assert len(heard.of(*SET_CONFIGURATION)) == 1, "the kernel's own, at plug-in"
        channel = await device.claim(device.interfaces[0])
        await channel.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await channel.read()).startswith(b"HTTP/1.1 200")


async def test_an_unconfigured_device_is_configured(make_printer: MakePrinter):
    printer = make_printer(vendor_interface=True)
    backend = VirtualBackend([printer.device])
    port = backend.port(printer.device)
    port._configure(0)
    heard = listen_to(printer)
    host = PyusbHost(backend)
    device = await host.open((await host.enumerate())[0])
    assert [setup.value for setup in heard.of(*SET_CONFIGURATION)] == [1]
    assert port.drivers[3] == "usb-storage"
    await device.close()
    await host.close()


# --- a handle whose device is words only, for what the virtual device cannot be


class FakeHandle:
    """Two configurations: 1 with storage and a legacy printer, 2 with IPP over USB."""

    def __init__(self, *, configuration: int = 1, drivers: tuple[int, ...] = (0, 1)) -> None:
        ipp = d.ipp_interface(0, 0, Capability.all())
        legacy = replace(ipp, alternates=ipp.alternates[:1])
        storage = d.storage_interface(1, 1)
        spec = d.DeviceSpec(UsbId(1, 2), "", "", "", "", (legacy, storage))
        self._first = d.configuration_descriptor(spec)
        second = replace(spec, interfaces=(ipp, storage), configuration_value=2)
        self._second = d.configuration_descriptor(second)
        self._device = bytearray(d.device_descriptor(spec))
        self._device[17] = 2
        self._configuration = configuration
        self.drivers = set(drivers)
        self.calls: list[str] = []
        self.failing: dict[str, UsbError] = {}

    pointer = None
    strings = (0, 0, 0)

    def _call(self, what: str) -> None:
        self.calls.append(what)
        if what in self.failing:
            raise self.failing[what]

    def control_in(
        self, request_type: int, request: int, value: int, index: int, length: int, timeout_s: float
    ) -> bytes:
        if (request_type, request) != (0x80, 6):
            raise EndpointHalted("only descriptors here")
        if value >> 8 == d.DEVICE:
            return bytes(self._device)[:length]
        return (self._first, self._second)[value & 0xFF][:length]

    def control_out(self, *_: object) -> None: ...

    def configuration(self) -> int:
        self._call("configuration")
        return self._configuration

    def set_configuration(self, value: int) -> None:
        self._call(f"set configuration {value}")
        self._configuration = value

    def claim(self, interface: int) -> None:
        self._call(f"claim {interface}")

    def release(self, interface: int) -> None:
        self._call(f"release {interface}")

    def set_alternate(self, interface: int, alternate: int) -> None:
        self._call(f"set alternate {interface}/{alternate}")

    def driver_active(self, interface: int) -> bool:
        return interface in self.drivers

    def detach_driver(self, interface: int) -> None:
        self._call(f"detach {interface}")
        self.drivers.discard(interface)

    def attach_driver(self, interface: int) -> None:
        self._call(f"attach {interface}")
        self.drivers.add(interface)

    def clear_halt(self, endpoint: int) -> None:
        self._call(f"clear halt {endpoint:#x}")

    def reset(self) -> None:
        self._call("reset")

    def close(self) -> None:
        self._call("close")

    def bulk_in(self, endpoint: int, interface: int, buffer: array[int], timeout_s: float) -> int:
        return 0

    def bulk_out(self, endpoint: int, interface: int, data: bytes, timeout_s: float) -> int:
        return len(data)


FACTS = DeviceFacts(UsbId(1, 2), BusAddress(1, 2, "1-1"))


async def prepared(handle: FakeHandle) -> OpenDevice:
    return await OpenDevice.prepare(handle, FACTS, transfer_bytes=65_536)


async def test_after_a_change_of_configuration_other_drivers_are_reattached():
    handle = FakeHandle(configuration=1)
    device = await prepared(handle)
    assert handle.calls == [
        "configuration", "detach 0", "detach 1", "set configuration 2", "attach 1"
    ]  # fmt: skip
    assert {info.configuration for info in device.interfaces} == {2}
    await device.close()


async def test_the_right_one_of_two_configurations_is_kept():
    handle = FakeHandle(configuration=2)
    device = await prepared(handle)
    assert handle.calls == ["configuration"]
    await device.close()


async def test_a_configuration_that_cannot_be_read_is_set():
    handle = FakeHandle()
    handle.failing["configuration"] = TransferFailed("no")
    device = await prepared(handle)
    assert "set configuration 2" in handle.calls
    await device.close()


async def test_a_configuration_that_is_refused_closes_the_device():
    handle = FakeHandle()
    handle.failing["set configuration 2"] = DeviceBusy("held by another program")
    with pytest.raises(DeviceBusy):
        await prepared(handle)
    assert handle.calls[-1] == "close"


@pytest.mark.parametrize("step", ["claim 0", "set alternate 0/1"])
async def test_a_failed_claim_reattaches_the_driver(step: str):
    handle = FakeHandle(configuration=2)
    device = await prepared(handle)
    handle.failing[step] = DeviceBusy("held by another program")
    with pytest.raises(DeviceBusy):
        await device.claim(device.interfaces[0])
    assert handle.calls[-2:] == ["release 0", "attach 0"]
    assert handle.drivers == {0, 1}
    await device.close()


class SlowHandle(FakeHandle):
    """Claims take as long as the test says."""

    def __init__(self) -> None:
        super().__init__(configuration=2)
        self.claiming, self.goes_on = threading.Event(), threading.Event()

    def claim(self, interface: int) -> None:
        self.claiming.set()
        assert self.goes_on.wait(20)
        super().claim(interface)


async def test_a_claim_that_is_cancelled_is_released_with_the_device():
    handle = SlowHandle()
    device = await prepared(handle)
    claim = asyncio.create_task(device.claim(device.interfaces[0]))
    await until(handle.claiming.is_set)
    claim.cancel()
    await asyncio.sleep(0)
    handle.goes_on.set()
    await asyncio.wait([claim])
    assert claim.cancelled()
    await device.close()
    assert handle.calls[-3:] == ["release 0", "attach 0", "close"]
    assert handle.drivers == {0, 1}


async def test_a_release_that_is_cancelled_goes_on_to_its_end():
    device = VirtualDevice(SPEC, ActivePersonalities({}))
    device.plug()
    backend = VirtualBackend([device])
    host = UsbIpHost(backend, device)
    opened = await open_first(host)
    channel = await opened.claim(opened.interfaces[0])
    reading = asyncio.create_task(channel.read())
    await asyncio.sleep(0)
    release = asyncio.create_task(opened.release(channel))
    await asyncio.sleep(0)
    release.cancel()
    await asyncio.wait([release, reading])
    assert release.cancelled()
    assert isinstance(reading.exception(), TransferFailed)
    await opened.close()
    assert backend.port(device).drivers[0] == "usblp"
    await host.close()


async def test_truncated_descriptors_are_refused_and_the_device_is_closed():
    handle = FakeHandle(configuration=2)
    handle._second = handle._second[:20]
    handle._first = b"\x09\x02\xff\xff"
    with pytest.raises((BadDescriptor, NotUsable)):
        await prepared(handle)
    assert handle.calls[-1] == "close"


async def test_closing_releases_everything_even_if_every_call_fails():
    handle = FakeHandle(configuration=2)
    device = await prepared(handle)
    await device.claim(device.interfaces[0])
    for what in ("release 0", "attach 0", "close", "set alternate 0/0"):
        handle.failing[what] = DeviceGone("gone")
    await device.close()
    await device.close()
    assert handle.calls.count("close") == 1


# --- claims and drivers


async def test_a_claim_detaches_the_driver_of_that_interface_only(make_printer: MakePrinter):
    printer = make_printer(vendor_interface=True)
    async with opened(printer) as (device, backend):
        port = backend.port(printer.device)
        channel = await device.claim(device.interfaces[1])
        assert port.drivers == {0: "usblp", 2: "usblp", 3: "usb-storage"}
        assert printer.device.interface(1).alternate == 1
        await device.release(channel)
        assert port.drivers[1] == "usblp"
        assert printer.device.interface(1).alternate == 0
        assert port.driver_log == [("detach", 1), ("attach", 1)]


async def test_no_driver_is_attached_where_there_was_none(make_printer: MakePrinter):
    printer = make_printer()
    async with opened(printer) as (device, backend):
        port = backend.port(printer.device)
        del port.drivers[0]
        await device.release(await device.claim(device.interfaces[0]))
        assert port.driver_log == []
        assert 0 not in port.drivers


async def test_closing_releases_every_interface(make_printer: MakePrinter):
    printer = make_printer(vendor_interface=True)
    async with opened(printer) as (device, backend):
        for info in device.interfaces:
            await device.claim(info)
        port = backend.port(printer.device)
        assert port.drivers == {3: "usb-storage"}
        await device.close()
        assert set(port.drivers) == {0, 1, 2, 3}
        assert {face.alternate for face in printer.device.interfaces} == {0}
        assert 3 not in {number for _, number in port.driver_log}


async def test_an_interface_that_another_program_holds_is_busy(make_printer: MakePrinter):
    printer = make_printer()
    async with opened(printer) as (device, backend):
        port = backend.port(printer.device)
        other = port.open()
        port.detach(other, 0)
        port.claim(other, 0)
        with pytest.raises(DeviceBusy, match="claim interface 0"):
            await device.claim(device.interfaces[0])
        second = await device.claim(device.interfaces[1])
        assert second.number == 1
        port.close(other)


# --- resets, time-outs and plugs


@pytest.mark.parametrize(("other", "request_type"), [(False, 0x21), (True, 0x23)])
async def test_a_soft_reset_goes_to_the_requested_recipient(
    make_printer: MakePrinter, other: bool, request_type: int
):
    printer = make_printer()
    heard = listen_to(printer)
    async with opened(printer) as (device, _):
        await device.soft_reset(device.interfaces[2], recipient_other=other)
        (setup,) = heard.of(request_type, 2)
        assert setup.index == 2


async def test_a_control_request_that_is_never_answered_times_out(make_printer: MakePrinter):
    async with opened(make_printer("soft-reset-hangs")) as (device, _):
        with pytest.raises(TransferTimeout):
            await device.soft_reset(device.interfaces[0])


async def test_an_unresponsive_device_delays_no_other(make_printer: MakePrinter):
    deaf, well = make_printer("soft-reset-hangs", serial="1"), make_printer(serial="2")
    async with opened(deaf) as (first, _), opened(well) as (second, _):
        slow = asyncio.create_task(first.soft_reset(first.interfaces[0]))
        await asyncio.sleep(0)
        await second.soft_reset(second.interfaces[0])
        assert not slow.done()
        with pytest.raises(TransferTimeout):
            await slow


async def test_a_port_reset_reaches_the_device(make_printer: MakePrinter):
    printer = make_printer("empty-strings-until-reset")
    backend = VirtualBackend([printer.device])
    host = PyusbHost(backend)
    (facts,) = await host.enumerate()
    device = await host.open(facts)
    assert device.facts.model == ""
    await device.reset()
    await device.close()
    again = await host.open(facts)
    assert again.facts.model == "Example VirtualJet 900"
    await again.close()
    await host.close()


async def test_an_unplugged_device_cannot_be_opened_or_claimed(make_printer: MakePrinter):
    printer = make_printer()
    host = PyusbHost(VirtualBackend([printer.device]))
    (facts,) = await host.enumerate()
    device = await host.open(facts)
    printer.unplug()
    with pytest.raises(DeviceGone):
        await device.claim(device.interfaces[0])
    with pytest.raises(DeviceGone):
        await host.open(facts)
    assert await host.enumerate() == []
    await device.close()
    await host.close()


async def test_a_replug_changes_the_bus_address(make_printer: MakePrinter):
    printer = make_printer()
    host = PyusbHost(VirtualBackend([printer.device]))
    (before,) = await host.enumerate()
    printer.replug()
    (after,) = await host.enumerate()
    assert before.address.port_path == after.address.port_path
    assert before.address != after.address
    with pytest.raises(DeviceGone):
        await host.open(before)
    await host.close()


async def test_missing_permissions_are_reported(make_printer: MakePrinter):
    class Locked(VirtualBackend):
        def open_device(self, dev: Any) -> Any:
            raise usb.core.USBError("Access denied", -3, errno.EACCES)

    printer = make_printer()
    host = PyusbHost(Locked([printer.device]))
    (facts,) = await host.enumerate()
    with pytest.raises(AccessDenied, match="open"):
        await host.open(facts)
    await host.close()


HOLD = """
import sys
from pathlib import Path
from ippusbd.usbio.device_lock import lock_device
lock = lock_device(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def node_of(facts: DeviceFacts, nodes: Path) -> Path:
    node = nodes / f"{facts.address.bus:03d}" / f"{facts.address.address:03d}"
    node.parent.mkdir()
    node.touch()
    return node


async def test_a_device_that_another_daemon_serves_is_refused_until_that_one_ends(
    make_printer: MakePrinter, tmp_path: Path
):
    host = PyusbHost(VirtualBackend([make_printer().device]), nodes=tmp_path)
    (facts,) = await host.enumerate()
    node = node_of(facts, tmp_path)
    argv = [sys.executable, "-c", HOLD, str(node)]
    pipe = asyncio.subprocess.PIPE
    other = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe)
    assert other.stdout is not None
    await other.stdout.readline()
    with pytest.raises(DeviceBusy, match="held by another ippusbd"):
        await host.open(facts)
    other.kill()
    await other.communicate()
    device = await host.open(facts)
    with pytest.raises(DeviceBusy):
        lock_device(node)
    await device.close()
    await (await host.open(facts)).close()
    await host.close()


async def test_a_read_lock_which_everybody_could_take_refuses_nobody(
    make_printer: MakePrinter, tmp_path: Path
):
    host = PyusbHost(VirtualBackend([make_printer().device]), nodes=tmp_path)
    (facts,) = await host.enumerate()
    with node_of(facts, tmp_path).open("rb") as reader:
        fcntl.fcntl(reader, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_RDLCK, 0, 0, 0, 0))
        device = await host.open(facts)
        assert device.facts.address == facts.address
        await device.close()
    await host.close()


async def test_a_cancelled_open_leaves_nothing_open(make_printer: MakePrinter):
    printer = make_printer()
    backend = VirtualBackend([printer.device])
    host = PyusbHost(backend)
    (facts,) = await host.enumerate()
    for steps in range(30):
        opening = asyncio.create_task(host.open(facts))
        for _ in range(steps):
            await asyncio.sleep(0.001)
        opening.cancel()
        await asyncio.wait([opening])
        if not opening.cancelled():
            await opening.result().close()
    await host.enumerate()  # the host's thread has done all that was asked before
    assert not backend.port(printer.device)._handles
    await host.close()


async def test_a_cancellation_during_a_close_is_raised_after_it(make_printer: MakePrinter):
    printer = make_printer()
    async with opened(printer) as (device, backend):
        for info in device.interfaces:
            await device.claim(info)
        closing = asyncio.create_task(device.close())
        await asyncio.sleep(0)
        for _ in range(3):
            closing.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([closing])
        assert closing.cancelled()
        assert set(backend.port(printer.device).drivers) == {0, 1, 2}
        assert not backend.port(printer.device)._handles
