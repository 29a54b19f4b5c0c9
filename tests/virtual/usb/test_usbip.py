"""The USB/IP server keeps the rules that a kernel relies on; the client here is in Python."""

from __future__ import annotations

import errno
import hashlib
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.usbip_client import Reply, UsbIpClient, submit

from ippusbd.model import Capability, UsbId
from ippusbd.virtual.personalities.base import ActivePersonalities, Personality
from ippusbd.virtual.personalities.usb import IgnoresCancel
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb import descriptors as d
from ippusbd.virtual.usb import usbip_messages as m
from ippusbd.virtual.usb.device import ControlTimeout, Setup, VirtualDevice
from ippusbd.virtual.usb.pipes import OUT_CAPACITY
from ippusbd.virtual.usb.usbip import UsbIpServer

DEVICE_DESCRIPTOR = (0x80, 6, 0x0100, 0)
GET_DEVICE_ID = (0xA1, 0, 0, 0)
RESET = -errno.ECONNRESET

Serve = Callable[..., tuple[str, int]]


class _Mute(Personality):
    """Answers no GET_DEVICE_ID."""

    name = "mute"

    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
        if (setup.request_type, setup.request) == GET_DEVICE_ID[:2]:
            raise ControlTimeout("no answer")
        return None


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers = []

    def start(*devices: VirtualDevice) -> tuple[str, int]:
        servers.append(UsbIpServer(devices))
        return servers[-1].listen("127.0.0.1", 0)

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def personalities() -> ActivePersonalities:
    return ActivePersonalities({})


@pytest.fixture
def device(personalities: ActivePersonalities) -> Iterator[VirtualDevice]:
    """A device without firmware: the test fills and reads its pipes."""
    spec = d.DeviceSpec(
        UsbId(0x1209, 1),
        "Example",
        "Bare",
        "S1",
        "MFG:Example;",
        (d.ipp_interface(0, 0, Capability.PRINT), d.ipp_interface(1, 1, Capability.PRINT)),
    )
    bare = VirtualDevice(spec, personalities)
    bare.plug()
    yield bare
    bare.unplug()


@pytest.fixture
def client(serve: Serve, device: VirtualDevice) -> Iterator[UsbIpClient]:
    """The device imported and configured."""
    with UsbIpClient(serve(device)) as one:
        assert one.import_device() == m.OK
        one.configure()
        yield one


@pytest.fixture
def printer() -> Iterator[VirtualPrinter]:
    one = VirtualPrinter()
    one.plug()
    yield one
    one.close()


# --- import


def test_a_list_names_every_plugged_device_and_its_interfaces(
    serve: Serve, device: VirtualDevice, printer: VirtualPrinter
) -> None:
    address = serve(device, printer.device)
    legacy = bytes(d.PRINTER_LEGACY)

    with UsbIpClient(address) as client:
        assert client.list_devices() == [("1-1", [legacy] * 2), ("1-2", [legacy] * 3)]
    device.unplug()
    with UsbIpClient(address) as client:
        assert client.list_devices() == [("1-2", [legacy] * 3)]


def test_a_missing_or_imported_device_is_refused(serve: Serve, device: VirtualDevice) -> None:
    address = serve(device)

    with UsbIpClient(address) as first, UsbIpClient(address) as second:
        assert first.import_device("7-7") == m.NO_DEVICE
    with UsbIpClient(address) as first, UsbIpClient(address) as second:
        assert first.import_device() == m.OK
        assert second.import_device() == m.BUSY


def test_a_client_of_another_protocol_is_disconnected_and_the_next_is_served(
    serve: Serve, device: VirtualDevice
) -> None:
    address = serve(device)

    with UsbIpClient(address) as stranger:
        stranger.sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises((EOFError, ConnectionResetError)):
            stranger.exactly(1)
    with UsbIpClient(address) as client:
        assert client.import_device() == m.OK
        client.sock.sendall(b"\xff" * m.HEADER_SIZE)
        with pytest.raises((EOFError, ConnectionResetError)):
            client.exactly(1)
    with UsbIpClient(address) as client:
        assert [busid for busid, _ in client.list_devices()] == ["1-1"]


def test_an_import_ends_with_its_connection(serve: Serve, device: VirtualDevice) -> None:
    address = serve(device)
    for _ in range(3):
        with UsbIpClient(address) as client:
            while client.import_device() == m.BUSY:  # the last one is being given back
                client.sock.close()
                client.sock = socket.create_connection(address, timeout=10)
            client.configure()
            assert device.configuration == 1


# --- control requests


def test_descriptors_are_those_of_the_device(client: UsbIpClient, device: VirtualDevice) -> None:
    assert client.control(*DEVICE_DESCRIPTOR, 18) == d.device_descriptor(device.spec)
    whole = client.control(0x80, 6, 0x0200, 0, 4096)
    assert whole == d.configuration_descriptor(device.spec)
    assert client.control(*GET_DEVICE_ID, 1024)[2:] == b"MFG:Example;"


def test_an_unknown_request_stalls(client: UsbIpClient) -> None:
    sequence = client.submit_control(0xC0, 0x99, 0, 0, 8)
    assert client.reply()[0] == Reply(m.RET_SUBMIT, sequence, -errno.EPIPE, 0)


def test_a_request_that_the_device_never_answers_waits_until_it_is_unlinked(
    client: UsbIpClient, personalities: ActivePersonalities
) -> None:
    personalities.switch_on(_Mute)
    silent = client.submit_control(*GET_DEVICE_ID, 64)

    assert client.control(*DEVICE_DESCRIPTOR, 18)[0] == 18
    taking = client.unlink(silent)
    assert client.reply()[0] == Reply(m.RET_UNLINK, taking, RESET, 0)


def test_the_first_request_after_a_port_reset_resets_the_device(
    client: UsbIpClient, device: VirtualDevice
) -> None:
    device.interface(0).ipp.into.push(b"stale")

    client.control(*DEVICE_DESCRIPTOR, 64)

    assert device.configuration == 0
    assert len(device.interface(0).ipp.into) == 0


# --- bulk IN


def test_a_read_waits_until_the_device_sends_something(
    client: UsbIpClient, device: VirtualDevice
) -> None:
    reading = client.submit_in(1, 1024)
    assert client.control(*DEVICE_DESCRIPTOR, 18)  # nothing was answered before this

    device.interface(0).ipp.into.push(b"now")

    assert client.reply(incoming=True) == (Reply(m.RET_SUBMIT, reading, 0, 3), b"now")


def test_reads_in_flight_are_filled_in_order(client: UsbIpClient, device: VirtualDevice) -> None:
    readings = [client.submit_in(1, 512) for _ in range(3)]
    into = device.interface(0).ipp.into

    into.push(b"a" * 512 + b"b" * 512)
    into.push(b"c")

    answers = [client.reply(incoming=True) for _ in range(3)]
    assert [reply.sequence for reply, _ in answers] == readings
    assert [data[:1] * len(data) for _, data in answers] == [b"a" * 512, b"b" * 512, b"c"]


def test_an_unlinked_read_leaves_the_data_to_the_next(
    client: UsbIpClient, device: VirtualDevice
) -> None:
    first = client.submit_in(1, 1024)
    taking = client.unlink(first)
    assert client.reply()[0] == Reply(m.RET_UNLINK, taking, RESET, 0)

    device.interface(0).ipp.into.push(b"late")

    assert client.read(1) == b"late"


def test_a_device_that_ignores_a_cancel_completes_the_read_later(
    client: UsbIpClient, device: VirtualDevice, personalities: ActivePersonalities
) -> None:
    personalities.switch_on(IgnoresCancel)
    reading = client.submit_in(1, 512)
    taking = client.unlink(reading)
    assert client.reply()[0] == Reply(m.RET_UNLINK, taking, RESET, 0)

    device.interface(0).ipp.into.push(b"late")

    assert client.reply(incoming=True) == (Reply(m.RET_SUBMIT, reading, 0, 4), b"late")


def test_an_unlinked_read_with_data_completes_with_the_data_first(
    client: UsbIpClient, device: VirtualDevice
) -> None:
    reading = client.submit_in(1, 65536)
    device.interface(0).ipp.into.push(b"x" * 1024)  # two full packets: is there more to come?
    assert client.control(*DEVICE_DESCRIPTOR, 18)
    taking = client.unlink(reading)

    assert client.reply(incoming=True) == (Reply(m.RET_SUBMIT, reading, 0, 1024), b"x" * 1024)
    assert client.reply()[0] == Reply(m.RET_UNLINK, taking, 0, 0)


def test_reads_in_flight_can_be_unlinked_in_any_order(
    client: UsbIpClient, device: VirtualDevice
) -> None:
    readings = [client.submit_in(1, 65536) for _ in range(3)]
    device.interface(0).ipp.into.push(b"x" * 512)
    assert client.control(*DEVICE_DESCRIPTOR, 18)

    last = client.unlink(readings[2])
    assert client.reply()[0] == Reply(m.RET_UNLINK, last, RESET, 0)
    first = client.unlink(readings[0])
    assert client.reply(incoming=True)[1] == b"x" * 512
    assert client.reply()[0] == Reply(m.RET_UNLINK, first, 0, 0)
    middle = client.unlink(readings[1])
    assert client.reply()[0] == Reply(m.RET_UNLINK, middle, RESET, 0)


def test_unlinking_a_completed_urb_comes_too_late(
    client: UsbIpClient, device: VirtualDevice
) -> None:
    device.interface(0).ipp.into.push(b"done")
    reading = client.submit_in(1, 512)
    assert client.reply(incoming=True)[1] == b"done"
    taking = client.unlink(reading)
    assert client.reply()[0] == Reply(m.RET_UNLINK, taking, 0, 0)


def test_a_halted_endpoint_stalls_until_it_is_cleared(
    client: UsbIpClient, device: VirtualDevice
) -> None:
    waiting = client.submit_in(1, 512)
    assert client.control(*DEVICE_DESCRIPTOR, 18)
    device.interface(0).ipp.into.halt()
    assert client.reply()[0] == Reply(m.RET_SUBMIT, waiting, -errno.EPIPE, 0)

    client.control(0x02, 1, 0, 0x81)
    device.interface(0).ipp.into.push(b"well again")
    assert client.read(1) == b"well again"


def test_a_buffer_smaller_than_a_packet_overflows(
    client: UsbIpClient, device: VirtualDevice
) -> None:
    device.interface(0).ipp.into.push(b"y" * 512)
    reading = client.submit_in(1, 100)
    assert client.reply()[0] == Reply(m.RET_SUBMIT, reading, -errno.EOVERFLOW, 0)


# --- bulk OUT


def test_writes_in_flight_arrive_in_order_and_whole(printer: VirtualPrinter, serve: Serve) -> None:
    with UsbIpClient(serve(printer.device)) as usb:
        usb.import_device()
        usb.configure()
        document = bytes(range(256)) * 12288  # 3 MB
        head = f"POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: {len(document)}\r\n\r\n"
        usb.submit_out(1, head.encode())
        sizes = (1, 511, 512, 513, 65536, 1 << 20, 1 << 21)  # one is larger than any buffer
        start = 0
        for size in sizes:
            usb.submit_out(1, document[start : start + size])
            start += size
        assert start >= len(document)
        for _ in range(len(sizes) + 1):
            reply, _ = usb.reply()
            assert reply.status == 0

        assert hashlib.sha256(document).hexdigest().encode() in usb.read(1)


def test_an_unlinked_partial_write_returns_its_count(
    client: UsbIpClient, device: VirtualDevice
) -> None:
    writing = client.submit_out(1, bytes(OUT_CAPACITY + 1000))
    waiting = client.submit_out(1, b"behind it")
    assert client.control(*DEVICE_DESCRIPTOR, 18)

    taking = client.unlink(writing)

    assert client.reply()[0] == Reply(m.RET_SUBMIT, writing, 0, OUT_CAPACITY)
    assert client.reply()[0] == Reply(m.RET_UNLINK, taking, 0, 0)
    taking = client.unlink(waiting)
    assert client.reply()[0] == Reply(m.RET_UNLINK, taking, RESET, 0)


def test_an_empty_write_is_a_zero_length_packet_and_done_at_once(client: UsbIpClient) -> None:
    writing = client.submit_out(1, b"")
    assert client.reply()[0] == Reply(m.RET_SUBMIT, writing, 0, 0)


def test_an_endpoint_that_the_setting_lacks_stalls(client: UsbIpClient) -> None:
    reading = client.submit_in(9, 512)
    assert client.reply()[0] == Reply(m.RET_SUBMIT, reading, -errno.EPIPE, 0)


def test_interfaces_do_not_wait_for_each_other(client: UsbIpClient, device: VirtualDevice) -> None:
    client.control(0x01, 11, 1, 1)
    client.submit_out(1, bytes(2 * OUT_CAPACITY))
    client.submit_in(1, 512)

    client.write(2, b"through")
    device.interface(1).ipp.into.push(b"and back")
    assert client.read(2) == b"and back"


# --- plug


def test_an_unplug_ends_the_connection_and_a_replugged_device_can_be_imported(
    serve: Serve, device: VirtualDevice
) -> None:
    address = serve(device)
    with UsbIpClient(address) as client:
        client.import_device()
        client.configure()
        client.submit_in(1, 512)
        device.unplug()
        with pytest.raises((EOFError, ConnectionResetError)):
            client.exactly(1 << 20)
    device.plug()
    answers = []
    end = time.monotonic() + 10  # busy until the old connection's thread has given it back
    while m.OK not in answers and time.monotonic() < end:
        with UsbIpClient(address) as client:
            answers.append(client.import_device())
    assert answers[-1] == m.OK


def test_data_of_a_lost_host_is_discarded_before_the_next(
    serve: Serve, printer: VirtualPrinter
) -> None:
    server = UsbIpServer([printer.device])
    for _ in range(5):
        ours, theirs = socket.socketpair()
        server.adopt(theirs)
        client = UsbIpClient.__new__(UsbIpClient)
        client.sock, client._sequence = ours, 0
        with client:
            assert client.import_device() == m.OK
            client.configure()
            client.write(1, b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\nGET /half")
            assert client.read(1).startswith(b"HTTP/1.1 404")
        assert server.wait_released(printer.device, timeout_s=5)
    server.close()


# --- the stream


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(1, 400), max_size=40))
def test_how_the_stream_is_split_never_changes_the_urbs(cuts: list[int]) -> None:
    spec = d.DeviceSpec(UsbId(1, 2), "E", "B", "S", "", (d.ipp_interface(0, 0, None),))
    device = VirtualDevice(spec, ActivePersonalities({}))
    device.plug()
    server = UsbIpServer([device])
    try:
        with UsbIpClient(server.listen("127.0.0.1", 0)) as client:
            client.import_device()
            client.configure()
            stream = b"".join(
                submit(100 + n, 1, n * 37, incoming=False) + bytes([n]) * (n * 37) for n in range(8)
            )
            _send_cut(client.sock, stream, cuts)
            replies = [client.reply()[0] for _ in range(8)]
            assert replies == [Reply(m.RET_SUBMIT, 100 + n, 0, n * 37) for n in range(8)]
            assert len(device.interface(0).ipp.out) == sum(n * 37 for n in range(8))
    finally:
        server.close()
        device.unplug()


def _send_cut(sock: socket.socket, stream: bytes, cuts: list[int]) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for cut in cuts:
        sock.sendall(stream[:cut])
        stream = stream[cut:]
    sock.sendall(stream)


@given(data=st.binary(min_size=m.HEADER_SIZE, max_size=m.HEADER_SIZE))
def test_any_header_is_a_command_or_bad_usbip(data: bytes) -> None:
    try:
        command = m.parse_command(bytearray(data), 0)
    except m.BadUsbIp:
        return
    assert command.code in (m.CMD_SUBMIT, m.CMD_UNLINK)
    assert command.data_follows >= 0


def test_messages_have_the_sizes_of_the_protocol() -> None:
    assert len(m.submitted(1, 0, 0)) == len(m.unlinked(1, 0)) == m.HEADER_SIZE
    assert m.submitted(7, -32, 5) == struct.pack(">IIIIIiiiii8x", 3, 7, 0, 0, 0, -32, 5, 0, 0, 0)
