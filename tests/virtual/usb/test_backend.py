"""Under the real pyusb the virtual device behaves like one behind libusb."""

from __future__ import annotations

import array
import errno
import threading
import time
from collections.abc import Callable

import pytest
import usb.core
import usb.util
from support.usb_client import UsbClient, request

from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.backend import VirtualBackend
from ippusbd.wire import ipp

Maker = Callable[..., VirtualPrinter]
Connect = Callable[..., UsbClient]


def number_of(error: pytest.ExceptionInfo[usb.core.USBError]) -> tuple[int | None, int | None]:
    return error.value.errno, error.value.backend_error_code


def find(backend: VirtualBackend, printer: VirtualPrinter) -> usb.core.Device:
    address = backend.plug(printer.device).address
    return usb.core.find(backend=backend, custom_match=lambda dev: dev.address == address)


def test_pyusb_finds_the_printers_and_reads_their_strings(
    backend: VirtualBackend, make_printer: Maker
) -> None:
    for serial in ("A", "B"):
        backend.plug(make_printer(serial=serial).device)
    found = list(usb.core.find(find_all=True, backend=backend, idVendor=0x1209))

    assert [dev.serial_number for dev in found] == ["A", "B"]
    assert {dev.manufacturer for dev in found} == {"Example"}
    assert [dev.port_numbers for dev in found] == [(1,), (2,)]
    assert len({dev.address for dev in found}) == 2


def test_the_class_descriptor_is_where_libusb_puts_it(
    backend: VirtualBackend, printer: VirtualPrinter
) -> None:
    dev = find(backend, printer)
    alternates = [one for one in dev[0] if one.bInterfaceNumber == 0]

    assert list(alternates[0].extra_descriptors) == []
    assert list(alternates[1].extra_descriptors)[:2] == [10, 0x21]


def test_a_claim_is_refused_while_the_kernel_driver_is_there(
    backend: VirtualBackend, printer: VirtualPrinter
) -> None:
    dev = find(backend, printer)

    assert dev.is_kernel_driver_active(0)
    with pytest.raises(usb.core.USBError) as error:
        usb.util.claim_interface(dev, 0)
    assert number_of(error) == (errno.EBUSY, -6)
    dev.detach_kernel_driver(0)
    usb.util.claim_interface(dev, 0)
    with pytest.raises(usb.core.USBError) as error:
        dev.detach_kernel_driver(0)
    assert number_of(error) == (errno.ENOENT, -5)
    usb.util.dispose_resources(dev)


def test_the_kernel_driver_is_attached_again_on_request(
    backend: VirtualBackend, printer: VirtualPrinter
) -> None:
    dev = find(backend, printer)
    dev.detach_kernel_driver(1)
    usb.util.claim_interface(dev, 1)
    with pytest.raises(usb.core.USBError) as error:
        dev.attach_kernel_driver(1)
    assert number_of(error) == (errno.EBUSY, -6)
    usb.util.release_interface(dev, 1)
    dev.attach_kernel_driver(1)

    assert dev.is_kernel_driver_active(1)
    assert backend.port(printer.device).driver_log == [("detach", 1), ("attach", 1)]


def test_two_programs_cannot_claim_one_interface(
    backend: VirtualBackend, client: UsbClient, printer: VirtualPrinter
) -> None:
    other = find(backend, printer)
    with pytest.raises(usb.core.USBError) as error:
        usb.util.claim_interface(other, 0)
    assert number_of(error) == (errno.EBUSY, -6)

    client.close()
    usb.util.claim_interface(other, 0)
    usb.util.dispose_resources(other)


def test_releasing_an_interface_restores_the_legacy_setting(
    client: UsbClient, printer: VirtualPrinter
) -> None:
    assert printer.device.interfaces[0].alternate == 1
    client.close()

    assert printer.device.interfaces[0].alternate == 0


def test_a_silent_printer_ends_in_libusbs_time_out(client: UsbClient) -> None:
    start = time.monotonic()
    with pytest.raises(usb.core.USBTimeoutError) as error:
        client.receive(timeout_ms=50)

    assert number_of(error) == (errno.ETIMEDOUT, -7)
    assert time.monotonic() - start >= 0.05


def test_full_packets_without_an_end_are_returned_at_the_time_out(
    client: UsbClient, printer: VirtualPrinter
) -> None:
    printer.device.in_pipe(client.into).push(bytes(1024))

    assert client.receive(65536, timeout_ms=50) == bytes(1024)


def test_a_partial_write_returns_its_count(make_printer: Maker, connect: Connect) -> None:
    client = connect(make_printer("paper-out"))
    client.send(
        b"POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
        b"Content-Length: 4000000\r\n\r\n" + request(ipp.Operation.PRINT_JOB)
    )
    client.timeout_ms = 100
    sent = client.send(bytes(2_000_000))
    assert 0 < sent < 2_000_000

    with pytest.raises(usb.core.USBTimeoutError):
        client.send(bytes(1_000_000))


def test_a_halted_endpoint_is_a_broken_pipe(client: UsbClient, printer: VirtualPrinter) -> None:
    printer.device.in_pipe(client.into).halt()
    with pytest.raises(usb.core.USBError) as error:
        client.receive()
    assert number_of(error) == (errno.EPIPE, -9)

    client.dev.clear_halt(client.into)
    assert client.ask().status == 200


def test_a_short_buffer_overflows(client: UsbClient, printer: VirtualPrinter) -> None:
    printer.device.in_pipe(client.into).push(bytes(600))
    with pytest.raises(usb.core.USBError) as error:
        client.receive(100)

    assert number_of(error) == (errno.EOVERFLOW, -8)


def test_an_unsupported_request_is_a_broken_pipe(client: UsbClient) -> None:
    with pytest.raises(usb.core.USBError) as error:
        client.dev.ctrl_transfer(0xC0, 0x51, 0, 0, 8)

    assert number_of(error) == (errno.EPIPE, -9)


def test_an_unplug_ends_a_read_that_waits_for_ever(
    client: UsbClient, printer: VirtualPrinter
) -> None:
    threading.Timer(0.05, printer.unplug).start()
    with pytest.raises(usb.core.USBError) as error:
        client.dev.read(client.into, array.array("B", bytes(512)), 0)

    assert number_of(error) == (errno.ENODEV, -4)


def test_after_a_replug_the_old_handle_is_invalid_and_the_address_new(
    backend: VirtualBackend, client: UsbClient, printer: VirtualPrinter, connect: Connect
) -> None:
    before = client.dev.address
    printer.replug()
    with pytest.raises(usb.core.USBError) as error:
        client.send(b"x")
    assert number_of(error) == (errno.ENODEV, -4)
    client.close()

    again = connect(printer)
    assert again.dev.address != before
    assert again.ask().status == 200


def test_an_unplugged_printer_is_not_found(
    backend: VirtualBackend, printer: VirtualPrinter
) -> None:
    backend.plug(printer.device)
    printer.unplug()

    assert usb.core.find(backend=backend) is None


def test_a_reset_discards_queued_responses_and_keeps_drivers_detached(
    backend: VirtualBackend, client: UsbClient, printer: VirtualPrinter
) -> None:
    printer.device.in_pipe(client.into).push(b"stale")
    client.dev.reset()  # pyusb releases the interfaces before it
    client.dev.set_interface_altsetting(0, 1)

    assert 0 not in backend.port(printer.device).drivers
    assert client.ask().status == 200


def test_a_reset_restores_the_settings_of_claimed_interfaces(
    backend: VirtualBackend, client: UsbClient, printer: VirtualPrinter
) -> None:
    backend.reset_device(client.dev._ctx.handle)

    assert printer.device.interfaces[0].alternate == 1
    assert printer.device.configuration == 1
    assert client.ask().status == 200


def test_set_configuration_is_refused_while_an_interface_is_in_use(
    backend: VirtualBackend, printer: VirtualPrinter
) -> None:
    dev = find(backend, printer)
    with pytest.raises(usb.core.USBError) as error:
        dev.set_configuration(1)
    assert number_of(error) == (errno.EBUSY, -6)
    for number in range(3):
        dev.detach_kernel_driver(number)
    dev.set_configuration(1)

    assert dev.get_active_configuration().bConfigurationValue == 1
    assert dev.is_kernel_driver_active(0)
    usb.util.dispose_resources(dev)


def test_a_vendor_interface_has_its_own_driver(
    backend: VirtualBackend, make_printer: Maker
) -> None:
    printer = make_printer(vendor_interface=True)
    port = backend.plug(printer.device)

    assert port.drivers == {0: "usblp", 1: "usblp", 2: "usblp", 3: "usb-storage"}


def test_the_interfaces_serve_independently(printer: VirtualPrinter, connect: Connect) -> None:
    first = connect(printer)
    clients = [first, UsbClient(first.dev, 1), UsbClient(first.dev, 2)]
    clients[0].send(b"POST /sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345")

    assert clients[1].ask(path="/sink", method="POST", body=b"abc").status == 200
    assert clients[2].ask().status == 200
    clients[0].send(b"67890")
    assert b'"bytes": 10' in clients[0].receive()


def test_control_transfers_to_a_device_that_hangs_end_in_the_time_out(
    make_printer: Maker, connect: Connect
) -> None:
    client = connect(make_printer("soft-reset-hangs"))
    start = time.monotonic()
    with pytest.raises(usb.core.USBTimeoutError):
        client.dev.ctrl_transfer(0x21, 2, 0, 0, None, 100)

    assert time.monotonic() - start >= 0.1
