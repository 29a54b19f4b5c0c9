"""Each HTTP personality does what its name says, and nothing once it is off."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import usb.core
from support.usb_client import Answer, UsbClient, request

from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.wire.ipp import Operation, PrinterState, Tag

Maker = Callable[..., VirtualPrinter]
Connect = Callable[..., UsbClient]
SCAN_SETTINGS = b"<ScanSettings><XResolution>75</XResolution></ScanSettings>"


def printers_state(client: UsbClient) -> int | None:
    message, _ = client.ipp(Operation.GET_PRINTER_ATTRIBUTES)
    return message.first_integer(Tag.PRINTER, "printer-state")


def start_scan(client: UsbClient) -> Answer:
    return client.ask("POST", "/eSCL/ScanJobs", SCAN_SETTINGS)


def received(client: UsbClient, quiet_ms: int = 100) -> bytes:
    """All bytes until the printer is silent; zero-length packets are skipped."""
    data = b""
    end = time.monotonic() + 3
    while time.monotonic() < end:
        try:
            data += client.receive(timeout_ms=quiet_ms)
        except usb.core.USBTimeoutError:
            break
    return data


@pytest.fixture
def with_personality(make_printer: Maker, connect: Connect) -> Connect:
    """`with_personality(*names)`: a client of a printer with these personalities."""
    return lambda *names: connect(make_printer(*names))


def test_404_everything(with_personality: Connect) -> None:
    client = with_personality("404-everything")

    assert client.ask("POST", "/ipp/print", request(0x0B)).status == 404
    assert client.ask(path="/eSCL/ScannerCapabilities").status == 404


def test_truncated_503_then_zlp(with_personality: Connect) -> None:
    client = with_personality("truncated-503-then-zlp")
    for _ in range(2):
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        first = client.receive()

        assert first.startswith(b"HTTP/1.1 503")
        assert len(first) == 180
        assert b"Content-Length: 540" in first
        assert [client.receive(), client.receive(), client.receive()] == [b"", b"", b""]


def test_scanner_before_printer(with_personality: Connect) -> None:
    client = with_personality("scanner-before-printer")

    assert client.ask("POST", "/ipp/print", request(0x0B)).status == 503
    assert client.ask(path="/eSCL/ScannerStatus").status == 200


def test_printer_before_scanner(with_personality: Connect) -> None:
    client = with_personality("printer-before-scanner")

    assert client.ask(path="/eSCL/ScannerStatus").status == 503
    assert printers_state(client) == PrinterState.IDLE


def test_fax_probe_silent(with_personality: Connect) -> None:
    client = with_personality("fax-probe-silent")
    assert printers_state(client) == PrinterState.IDLE
    with pytest.raises(TimeoutError):
        client.ipp(Operation.GET_PRINTER_ATTRIBUTES, path="/ipp/faxout", deadline_s=0.2)
    other = UsbClient(client.dev, 1)
    assert printers_state(other) == PrinterState.IDLE
    client.dev.set_interface_altsetting(0, 1)

    assert printers_state(client) == PrinterState.IDLE


def test_stops_after_3k(with_personality: Connect) -> None:
    client = with_personality("stops-after-3k")
    assert client.ask(path="/nothing").status == 404
    client.send(b"GET /big?bytes=100000 HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert len(received(client)) == 3072
    client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert received(client) == b""


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [("needs-keep-alive", "keep-alive", "close"), ("needs-close", "Close", "keep-alive")],
)
def test_needs_a_connection_header(
    with_personality: Connect, name: str, good: str, bad: str
) -> None:
    client = with_personality(name)
    for _ in range(2):
        answer = client.ask(path="/big?bytes=9000", headers=(("Connection", good),))
        assert len(answer.body) == 9000
    with pytest.raises(TimeoutError):
        client.ask(path="/big?bytes=9000", headers=(("Connection", bad),), deadline_s=0.2)


def test_host_localhost_only(with_personality: Connect) -> None:
    client = with_personality("host-localhost-only")

    hosts = ("localhost", "localhost:60000", "127.0.0.1:60000", "printer.local")
    assert [client.ask(host=host).status for host in hosts] == [200, 200, 400, 400]


def test_host_needs_port(with_personality: Connect) -> None:
    client = with_personality("host-needs-port")

    assert [client.ask(host=one).status for one in ("localhost", "localhost:1")] == [400, 200]


def test_junk_before_status(with_personality: Connect) -> None:
    client = with_personality("junk-before-status")
    client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

    junk, status, _ = client.receive().partition(b"HTTP/1.1 200 OK")
    assert junk
    assert status


def test_foreign_location(with_personality: Connect) -> None:
    answer = start_scan(with_personality("foreign-location"))

    assert answer.headers["location"].startswith("http://192.0.2.53:8080/eSCL/ScanJobs/")


def test_next_document_too_soon(with_personality: Connect) -> None:
    client = with_personality("next-document-too-soon")
    path = start_scan(client).headers["location"].removeprefix("http://localhost:60000")
    assert client.ask(path=f"{path}/NextDocument").status == 404
    time.sleep(1.05)

    assert client.ask(path=f"{path}/NextDocument").status == 200


def test_answers_early_stops_reading(with_personality: Connect) -> None:
    client = with_personality("answers-early-stops-reading")
    length = 2_000_000
    head = b"POST /sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length
    client.send(head)
    client.timeout_ms = 100
    sent = client.send(bytes(length))
    assert sent < length  # who does not read now, waits for ever
    assert client.receive().startswith(b"HTTP/1.1 503")
    client.timeout_ms = 2000
    assert client.send(bytes(length - sent)) == length - sent

    assert client.ask("POST", "/sink", bytes(length)).status == 200


def test_slow(with_personality: Connect) -> None:
    client = with_personality("slow")
    start = time.monotonic()
    answer = client.ask(path="/big?bytes=20000")

    assert len(answer.body) == 20000
    assert time.monotonic() - start > 0.25


def test_paper_out(with_personality: Connect) -> None:
    assert printers_state(with_personality("paper-out")) == PrinterState.STOPPED


def test_silent(with_personality: Connect) -> None:
    with pytest.raises(TimeoutError):
        with_personality("silent").ask(deadline_s=0.2)


def test_personalities_combine(with_personality: Connect) -> None:
    client = with_personality("junk-before-status", "zlp-while-pending", "long-name")
    client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    data = received(client)

    assert data.startswith(b"\x00\x00\x1b%-12345X\r\nHTTP/1.1 200 OK")


def test_an_unknown_personality_is_refused_by_name(make_printer: Maker) -> None:
    with pytest.raises(KeyError, match="no personality 'kind'; there are: 404-everything"):
        make_printer("kind")
