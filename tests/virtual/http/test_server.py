"""The firmware's HTTP server: persistent, with exact counters, and robust against broken HTTP."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable

import pytest
import usb.core
from support.usb_client import UsbClient

from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.services.console import pseudo_random_sha256

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_requests_follow_each_other_on_one_connection(
    client: UsbClient, printer: VirtualPrinter
) -> None:
    for number in range(1, 6):
        assert client.ask().status == 200
        assert printer.stats["requests"] == number
    assert client.surplus == b""


def test_two_requests_in_one_transfer_get_two_answers(
    client: UsbClient, printer: VirtualPrinter
) -> None:
    client.send(GET + GET)
    answers = client.receive() + client.receive()

    assert answers.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_connection_headers_change_nothing_on_usb(client: UsbClient, connection: str) -> None:
    for _ in range(2):
        assert client.ask(headers=(("Connection", connection),)).status == 200


def test_a_request_may_arrive_byte_by_byte(client: UsbClient) -> None:
    for byte in GET:
        client.send(bytes((byte,)))

    assert client.receive().startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 65535, 65536, 3_000_001])
def test_an_upload_arrives_whole(client: UsbClient, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    answer = client.ask("PUT", "/sink", data[:size])

    assert json.loads(answer.body) == {
        "bytes": size,
        "sha256": hashlib.sha256(data[:size]).hexdigest(),
    }


@pytest.mark.parametrize("size", [0, 1, 350, 512, 65536, 5_000_000])
@pytest.mark.parametrize("chunked", ["0", "1"])
def test_a_download_arrives_whole(client: UsbClient, size: int, chunked: str) -> None:
    answer = client.ask(path=f"/big?bytes={size}&chunked={chunked}")

    assert len(answer.body) == size
    assert hashlib.sha256(answer.body).hexdigest() == pseudo_random_sha256(size)
    assert ("transfer-encoding" in answer.headers) == (chunked == "1")


def test_a_chunked_body_is_read_however_it_is_split(client: UsbClient) -> None:
    client.send(b"POST /sink HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b"5;x=y\r\nab", b"cde\r\n", b"1\r\nf\r\n0\r", b"\n\r\n"):
        client.send(piece)

    assert b'"bytes": 6' in client.receive()


def test_head_has_no_body(client: UsbClient) -> None:
    client.send(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = client.receive()

    assert answer.endswith(b"\r\n\r\n")
    assert client.ask().status == 200


def test_an_answer_of_full_packets_ends_in_a_zero_length_packet(client: UsbClient) -> None:
    client.send(b"GET /big?bytes=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head = len(client.receive()) - 1
    size = 2048 - head - 3  # the number has three digits more
    client.send(b"GET /big?bytes=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % size)
    answer = client.receive()
    for _ in range(8):
        if len(answer) % 512 == 0:
            break
        size += 512 - len(answer) % 512
        client.send(b"GET /big?bytes=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % size)
        start = time.monotonic()
        answer = client.receive()
        assert time.monotonic() - start < 1.0
    assert len(answer) % 512 == 0


@pytest.mark.parametrize(
    "broken",
    [
        b"\x00\x01\x02 nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_broken_http_is_counted_once_and_the_next_request_is_served(
    client: UsbClient, printer: VirtualPrinter, broken: bytes
) -> None:
    client.send(broken)
    assert client.receive().startswith(b"HTTP/1.1 400 ")
    time.sleep(0.25)  # the server waits for silence

    assert printer.stats["broken_http"] == 1
    assert printer.stats.last_broken
    assert client.ask().status == 200
    assert printer.stats["broken_http"] == 1


def test_a_broken_chunk_is_broken_http(client: UsbClient, printer: VirtualPrinter) -> None:
    client.send(
        b"POST /sink HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdeXX"
    )

    assert client.receive().startswith(b"HTTP/1.1 400 ")
    assert printer.stats["broken_http"] == 1


def test_an_unfinished_body_swallows_the_next_request_until_a_reset(
    client: UsbClient, printer: VirtualPrinter
) -> None:
    client.send(b"POST /sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\nlost")
    client.send(GET)
    with pytest.raises(usb.core.USBTimeoutError):
        client.receive(timeout_ms=100)
    client.dev.set_interface_altsetting(0, 1)

    assert client.ask().status == 200
    assert printer.stats["cut_requests"] == 1


def test_an_answer_cut_by_a_reset_is_counted(client: UsbClient, printer: VirtualPrinter) -> None:
    client.send(b"GET /big?bytes=5000000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    client.receive()
    client.dev.set_interface_altsetting(0, 1)
    printer.device.interfaces[0].ipp.into.flush()

    assert client.ask().status == 200
    assert printer.stats["cut_responses"] == 1


def test_unknown_pages_are_404_and_the_request_body_is_still_read(client: UsbClient) -> None:
    assert client.ask("POST", "/nothing", bytes(1_000_000)).status == 404
    assert client.ask().status == 200


def test_memory_stays_bounded_while_nobody_reads(
    client: UsbClient, printer: VirtualPrinter
) -> None:
    client.send(b"GET /big?bytes=500000000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    time.sleep(0.1)

    assert len(printer.device.in_pipe(client.into)) < 512 * 1024


def test_power_off_ends_the_threads(make_printer: Callable[..., VirtualPrinter]) -> None:
    printer = make_printer(interfaces=4)
    printer.plug()
    printer.close()
    printer.close()
    # the fixture that watches threads does the asserting
    assert not printer.device.plugged
