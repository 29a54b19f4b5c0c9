"""The device model answers control requests as a printer does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ippusbd.errors import DeviceGone, EndpointHalted
from ippusbd.model import Capability
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb import descriptors as d
from ippusbd.virtual.usb.device import DeviceEvent, Setup, VirtualDevice
from ippusbd.virtual.usb.parsed import parse_configuration

SET_CONFIGURATION = Setup(0x00, 9, 1, 0, 0)
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def set_interface(number: int, alternate: int) -> Setup:
    return Setup(0x01, 11, alternate, number, 0)


@pytest.fixture
def printer() -> Iterator[VirtualPrinter]:
    printer = VirtualPrinter(vendor_interface=True)
    printer.plug()
    yield printer
    printer.close()


@pytest.fixture
def device(printer: VirtualPrinter) -> VirtualDevice:
    return printer.device


@pytest.fixture
def ready(device: VirtualDevice) -> VirtualDevice:
    device.control(SET_CONFIGURATION)
    device.control(set_interface(0, 1))
    return device


def wait_for(condition: object, timeout_s: float = 5.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


def test_setup_packets_are_read_little_endian() -> None:
    assert Setup.parse(bytes.fromhex("8006000300000400")) == Setup(0x80, 6, 0x0300, 0, 4)


def test_descriptors_declare_a_printer_and_ipp_over_usb(device: VirtualDevice) -> None:
    raw = device.control(Setup(0x80, 6, 0x0200, 0, 0xFFFF))
    tree = parse_configuration(raw)

    assert tree.fields["wTotalLength"] == len(raw)
    assert len(tree.interfaces) == 4
    for alternates in tree.interfaces[:3]:
        protocols = [one.fields["bInterfaceProtocol"] for one in alternates]
        assert protocols == [2, 4]
        assert {one.fields["bInterfaceClass"] for one in alternates} == {7}
        extra = alternates[1].fields["extra_descriptors"]
        assert isinstance(extra, list)
        assert extra[1] == 0x21
        capabilities = Capability(extra[6] | extra[7] << 8)
        assert capabilities == (
            Capability.PRINT | Capability.SCAN | Capability.FAX | Capability.HTTP
        )
        assert [one["wMaxPacketSize"] for one in alternates[1].endpoints] == [512, 512]
    assert tree.interfaces[3][0].fields["bInterfaceClass"] == 8


def test_a_host_may_request_the_first_bytes_of_a_descriptor(device: VirtualDevice) -> None:
    whole = device.control(Setup(0x80, 6, 0x0200, 0, 0xFFFF))

    assert device.control(Setup(0x80, 6, 0x0200, 0, 9)) == whole[:9]


@pytest.mark.parametrize(
    ("index", "text"), [(1, "Example"), (2, "VirtualJet 900"), (3, "VIRTUAL1"), (4, "IPP over USB")]
)
def test_strings_are_utf_16(device: VirtualDevice, index: int, text: str) -> None:
    raw = device.control(Setup(0x80, 6, 0x0300 | index, 0x0409, 255))

    assert raw[0] == len(raw)
    assert raw[2:].decode("utf-16-le") == text


def test_unknown_strings_languages_and_requests_stall(device: VirtualDevice) -> None:
    for setup in (
        Setup(0x80, 6, 0x0309, 0x0409, 255),
        Setup(0x80, 6, 0x0302, 0x0407, 255),
        Setup(0x80, 6, 0x2900, 0, 255),
        Setup(0xC0, 0x51, 0, 0, 8),
        Setup(0x00, 9, 5, 0, 0),
    ):
        with pytest.raises(EndpointHalted):
            device.control(setup)


def test_an_alternate_setting_needs_a_configuration_and_must_exist(device: VirtualDevice) -> None:
    with pytest.raises(EndpointHalted):
        device.control(set_interface(0, 1))
    device.control(SET_CONFIGURATION)
    for number, alternate in ((0, 2), (9, 0), (3, 1)):
        with pytest.raises(EndpointHalted):
            device.control(set_interface(number, alternate))
    device.control(set_interface(2, 1))

    assert device.control(Setup(0x81, 10, 0, 2, 1)) == b"\x01"
    assert device.control(Setup(0x80, 8, 0, 0, 1)) == b"\x01"


def test_the_device_id_has_its_length_in_front(device: VirtualDevice) -> None:
    raw = device.control(Setup(0xA1, 0, 0, 0, 1023))

    assert int.from_bytes(raw[:2], "big") == len(raw)
    assert b"MFG:Example;MDL:VirtualJet 900;" in raw


def test_port_status_reports_paper_out(printer: VirtualPrinter, device: VirtualDevice) -> None:
    assert device.control(Setup(0xA1, 1, 0, 0, 1)) == b"\x18"
    printer.switch("paper-out", on=True)
    assert device.control(Setup(0xA1, 1, 0, 0, 1)) == b"\x38"


def test_halts_are_reported_and_cleared(ready: VirtualDevice) -> None:
    ready.control(Setup(0x02, 3, 0, 0x81, 0))
    assert ready.control(Setup(0x82, 0, 0, 0x81, 2)) == b"\x01\x00"
    with pytest.raises(EndpointHalted):
        ready.in_pipe(0x81).try_read(512)

    ready.control(Setup(0x02, 1, 0, 0x81, 0))
    assert ready.control(Setup(0x82, 0, 0, 0x81, 2)) == b"\x00\x00"
    assert ready.in_pipe(0x81).try_read(512) is None


def test_an_unread_response_is_read_by_the_next_client_of_the_interface(
    ready: VirtualDevice,
) -> None:
    ready.out_pipe(0x01).try_write(REQUEST)
    wait_for(lambda: len(ready.in_pipe(0x81)))
    ready.control(set_interface(0, 0))
    ready.control(set_interface(0, 1))

    stale = ready.in_pipe(0x81).try_read(65536)
    assert stale is not None
    assert stale.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("request_type", [0x21, 0x23])
def test_a_soft_reset_discards_queued_responses(ready: VirtualDevice, request_type: int) -> None:
    ready.out_pipe(0x01).try_write(REQUEST)
    wait_for(lambda: len(ready.in_pipe(0x81)))
    ready.control(Setup(request_type, 2, 0, 0, 0))

    assert ready.in_pipe(0x81).try_read(65536) is None
    ready.out_pipe(0x01).try_write(REQUEST)
    wait_for(lambda: len(ready.in_pipe(0x81)))


def test_a_bus_reset_discards_configuration_and_data(ready: VirtualDevice) -> None:
    ready.out_pipe(0x01).try_write(REQUEST)
    wait_for(lambda: len(ready.in_pipe(0x81)))
    into = ready.in_pipe(0x81)
    ready.reset()

    assert len(into) == 0
    assert ready.configuration == 0
    ready.control(SET_CONFIGURATION)
    ready.control(set_interface(0, 1))
    ready.out_pipe(0x01).try_write(REQUEST)
    wait_for(lambda: len(into))


def test_half_a_request_is_discarded_by_set_interface(
    printer: VirtualPrinter, ready: VirtualDevice
) -> None:
    ready.out_pipe(0x01).try_write(
        b"POST /sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n"
    )
    wait_for(lambda: printer.stats["bytes_in"])
    ready.control(set_interface(0, 1))
    ready.out_pipe(0x01).try_write(REQUEST)
    wait_for(lambda: len(ready.in_pipe(0x81)))

    assert printer.stats["cut_requests"] == 1
    assert printer.stats["broken_http"] == 0


def test_unplug_wakes_all_waiters_and_replug_is_a_new_device(ready: VirtualDevice) -> None:
    pipe, errors = ready.in_pipe(0x81), []

    def read() -> None:
        try:
            pipe.read_into(memoryview(bytearray(512)), None)
        except DeviceGone as exc:
            errors.append(exc)

    thread = threading.Thread(target=read)
    thread.start()
    ready.unplug()
    thread.join()

    assert errors
    with pytest.raises(DeviceGone):
        ready.control(SET_CONFIGURATION)
    ready.plug()
    assert ready.configuration == 0
    with pytest.raises(DeviceGone):
        pipe.try_read(512)


def test_the_storage_interface_has_its_own_endpoints(ready: VirtualDevice) -> None:
    assert ready.control(Setup(0xA1, 0xFE, 0, 3, 1)) == b"\x00"
    assert ready.in_pipe(0x84).try_read(512) is None


def test_raw_data_of_the_legacy_setting_becomes_a_raw_document(
    printer: VirtualPrinter, device: VirtualDevice
) -> None:
    device.control(SET_CONFIGURATION)
    device.out_pipe(0x01).try_write(b"\x1b%-12345X@PJL ")
    device.out_pipe(0x01).try_write(b"ENTER LANGUAGE=PCL")
    device.control(set_interface(0, 1))

    (raw,) = printer.raw_documents
    assert raw.size == 32
    assert printer.documents == []


def test_a_raw_job_ends_when_nothing_arrives() -> None:
    now = [0.0]
    printer = VirtualPrinter(clock=lambda: now[0])
    printer.plug()
    printer.device.control(SET_CONFIGURATION)
    out = printer.device.out_pipe(0x01)
    for moment, data in ((0.0, b"one "), (0.5, b"job"), (2.0, b"another")):
        now[0] = moment
        out.try_write(data)
    assert [one.size for one in printer.raw_documents] == [7]
    now[0] = 3.1
    sizes = [one.size for one in printer.raw_documents]
    printer.close()

    assert sizes == [7, 7]


def test_plugging_in_twice_changes_nothing(device: VirtualDevice) -> None:
    before = device.interfaces
    device.plug()

    assert device.interfaces is before
    assert DeviceEvent.PLUGGED.value == "plugged"


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_printer_has_the_given_number_of_interfaces(count: int) -> None:
    printer = VirtualPrinter(interfaces=count)
    printer.plug()
    numbers = [one.number for one in printer.device.interfaces]
    printer.close()

    assert numbers == list(range(count))


def test_string_descriptors_never_exceed_a_byte_of_length() -> None:
    assert len(d.string_descriptor("x" * 500)) == 254
