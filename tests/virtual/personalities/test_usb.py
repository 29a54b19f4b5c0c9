"""Each USB personality does what its name says."""

from __future__ import annotations

import array
import errno
from collections.abc import Callable

import pytest
import usb.core
import usb.util
from support.usb_client import UsbClient

from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.backend import VirtualBackend
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Operation, Status, Tag

Maker = Callable[..., VirtualPrinter]
Connect = Callable[..., UsbClient]
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def find(backend: VirtualBackend, printer: VirtualPrinter) -> usb.core.Device:
    backend.plug(printer.device)
    return usb.core.find(backend=backend)


def silent(client: UsbClient) -> bool:
    try:
        client.ask(deadline_s=0.2)
    except (TimeoutError, usb.core.USBTimeoutError):
        return True
    return False


def reset(client: UsbClient) -> None:
    client.dev.reset()
    client.dev.set_interface_altsetting(client.number, 1)


def test_hangs_with_two_interfaces(make_printer: Maker, connect: Connect) -> None:
    first = connect(make_printer("hangs-with-two-interfaces"))
    second = UsbClient(first.dev, 1)
    first.timeout_ms = second.timeout_ms = 100
    assert first.ask().status == 200
    assert first.ask().status == 200
    assert silent(second)
    assert silent(first)
    reset(first)

    assert first.ask().status == 200


def test_deaf_after_unplug(make_printer: Maker, connect: Connect) -> None:
    printer = make_printer("deaf-after-unplug")
    client = connect(printer)
    printer.replug()
    client = connect(printer)
    assert client.ask().status == 200, "an idle unplug does no harm"
    client.send(b"POST /sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
    while not printer.device.interfaces[0].busy:
        pass
    printer.replug()
    client = connect(printer)
    client.timeout_ms = 100
    assert silent(client)
    reset(client)

    assert client.ask().status == 200


def test_eio_after_replug(make_printer: Maker, connect: Connect) -> None:
    printer = make_printer("eio-after-replug")
    assert connect(printer, 1).ask().status == 200
    printer.replug()
    assert connect(printer, 0).ask().status == 200
    client = connect(printer, 1)
    with pytest.raises(usb.core.USBError) as error:
        client.send(GET)
    assert (error.value.errno, error.value.backend_error_code) == (errno.EIO, -1)
    reset(client)

    assert client.ask().status == 200


def test_first_out_times_out(make_printer: Maker, connect: Connect) -> None:
    client = connect(make_printer("first-out-times-out"))
    client.timeout_ms = 50
    with pytest.raises(usb.core.USBTimeoutError):
        client.send(GET)
    assert client.ask().status == 200
    other = UsbClient(client.dev, 1)
    client.dev.ctrl_transfer(0x21, 2, 0, 1, None)

    assert other.ask().status == 200


def test_soft_reset_hangs(make_printer: Maker, connect: Connect) -> None:
    client = connect(make_printer("soft-reset-hangs"))
    client.timeout_ms = 100
    with pytest.raises(usb.core.USBTimeoutError):
        client.dev.ctrl_transfer(0x23, 2, 0, 0, None, 20)
    assert silent(client)
    reset(client)

    assert client.ask().status == 200


def test_empty_strings_until_reset(make_printer: Maker, backend: VirtualBackend) -> None:
    dev = find(backend, make_printer("empty-strings-until-reset"))
    assert usb.util.get_string(dev, dev.iProduct) == ""
    dev.reset()

    assert usb.util.get_string(dev, dev.iProduct) == "VirtualJet 900"


def test_malformed_language_list(make_printer: Maker, backend: VirtualBackend) -> None:
    dev = find(backend, make_printer("malformed-language-list"))
    with pytest.raises(ValueError, match="langid"):
        usb.util.get_string(dev, dev.iProduct)

    assert usb.util.get_string(dev, dev.iProduct, 0x0409) == "VirtualJet 900"


def test_configuration_matches_none(make_printer: Maker, backend: VirtualBackend) -> None:
    dev = find(backend, make_printer("configuration-matches-none"))

    with pytest.raises(usb.core.USBError, match="Configuration not set"):
        dev.get_active_configuration()


def test_interface_gaps(make_printer: Maker, connect: Connect) -> None:
    printer = make_printer("interface-gaps")
    client = connect(printer, 3)

    numbers = {one.bInterfaceNumber for one in client.dev[0]}
    assert numbers == {1, 3, 5}
    assert client.ask().status == 200


def test_hp_255_9_1(make_printer: Maker, connect: Connect) -> None:
    client = connect(make_printer("hp-255-9-1"))
    triples = {
        (one.bInterfaceClass, one.bInterfaceSubClass, one.bInterfaceProtocol)
        for one in client.dev[0]
        if one.bAlternateSetting == 1
    }

    assert triples == {(255, 9, 1)}
    assert client.dev.idVendor == 0x03F0
    assert client.ask().status == 200


def test_no_class_descriptor(make_printer: Maker, backend: VirtualBackend) -> None:
    dev = find(backend, make_printer("no-class-descriptor"))

    assert not any(list(one.extra_descriptors) for one in dev[0])


def test_hostile_strings(make_printer: Maker, backend: VirtualBackend) -> None:
    dev = find(backend, make_printer("hostile-strings"))

    assert "\x1b" in dev.product
    assert ".." in dev.manufacturer


def test_zlp_while_pending(make_printer: Maker, connect: Connect) -> None:
    client = connect(make_printer("zlp-while-pending"))
    client.send(b"GET /big?bytes=3000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    transfers = [client.receive() for _ in range(4)]
    assert transfers[0] == transfers[2] == b""
    assert transfers[1]
    assert transfers[3]

    assert len(client.ask(path="/big?bytes=500000").body) == 500_000


def test_no_zlp(make_printer: Maker, connect: Connect) -> None:
    client = connect(make_printer("no-zlp"))
    head = len(client.ask(path="/big?bytes=0").body)
    assert head == 0
    for size in range(1000, 2100):
        client.send(b"GET /big?bytes=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % size)
        probe = array.array("B", bytes(65536))
        count = client.dev.read(client.into, probe, 60)
        if count % 512 == 0:
            break
    with pytest.raises(usb.core.USBTimeoutError):
        client.receive(timeout_ms=20)


def test_one_byte_packets(make_printer: Maker, connect: Connect) -> None:
    client = connect(make_printer("one-byte-packets"))
    client.send(GET)
    assert client.receive() == b"H"
    assert client.receive() == b"T"
    client.dev.ctrl_transfer(0x21, 2, 0, 0, None)

    assert client.ask(path="/big?bytes=2000").status == 200


def test_blocks_while_unread(make_printer: Maker, connect: Connect) -> None:
    first = connect(make_printer("blocks-while-unread"))
    second = UsbClient(first.dev, 1)
    second.timeout_ms = 100
    first.send(b"GET /big?bytes=300000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    left = 300_000 - len(first.receive())
    assert silent(second)
    while left > 0:
        left -= len(first.receive())
    second.timeout_ms = 2000

    assert second.ask().status == 200


@pytest.mark.parametrize(("name", "size"), [("stale-200", 200), ("stale-100k", 100_000)])
def test_stale_bytes(make_printer: Maker, connect: Connect, name: str, size: int) -> None:
    printer = make_printer(name)
    client = connect(printer)
    stale = client.receive(timeout_ms=50) + (client.receive(timeout_ms=50) if size > 65536 else b"")

    assert len(stale) == size
    assert stale.startswith(b"HTTP/1.1 200 OK")
    assert client.ask().status == 200


def test_deaf_while_on(make_printer: Maker, connect: Connect) -> None:
    printer = make_printer("deaf")
    client = connect(printer)
    client.timeout_ms = 50
    assert silent(client)
    printer.switch("deaf", on=False)

    assert client.ask().status == 200


CURES: list[tuple[str, Callable[[UsbClient], object]]] = [
    ("halts-once", lambda client: client.dev.clear_halt(client.into)),
    ("deaf-until-set-interface", lambda client: client.dev.set_interface_altsetting(0, 1)),
    ("deaf-until-soft-reset", lambda client: client.dev.ctrl_transfer(0x21, 2, 0, 0, None)),
    ("deaf-until-bus-reset", reset),
]


@pytest.mark.parametrize("rung", range(len(CURES)))
def test_each_unresponsive_printer_is_restored_by_its_own_step(
    make_printer: Maker, connect: Connect, rung: int
) -> None:
    name, cure = CURES[rung]
    client = connect(make_printer(name))
    client.timeout_ms = 100
    assert [client.ask().status for _ in range(2)] == [200, 200]
    with pytest.raises((TimeoutError, usb.core.USBError)):
        client.ask(deadline_s=0.2)
    for _, weaker in CURES[1:rung]:
        weaker(client)
        assert silent(client)
    cure(client)
    if name == "halts-once":
        assert client.receive().startswith(b"HTTP/1.1 200 OK")

    assert client.ask().status == 200


def test_deaf_until_replug_is_restored_only_by_a_power_cycle(
    make_printer: Maker, connect: Connect
) -> None:
    printer = make_printer("deaf-until-replug")
    client = connect(printer)
    client.timeout_ms = 100
    assert [client.ask().status for _ in range(2)] == [200, 200]
    assert silent(client)
    reset(client)
    assert silent(client)
    printer.replug()

    assert connect(printer).ask().status == 200


# --- in IPP


def attributes(client: UsbClient) -> tuple[ipp.Message, bytes]:
    wanted = ipp.attribute(
        "requested-attributes", ipp.keyword("all"), ipp.keyword("media-col-database")
    )
    return client.ipp(Operation.GET_PRINTER_ATTRIBUTES, wanted)


def test_ipp_error_good_data(make_printer: Maker, connect: Connect) -> None:
    message, _ = attributes(connect(make_printer("ipp-error-good-data")))

    assert message.code == Status.INTERNAL_ERROR
    assert message.get(Tag.PRINTER, "printer-uuid") is not None


def test_bad_collections(make_printer: Maker, connect: Connect) -> None:
    client = connect(make_printer("bad-collections"))
    answer = client.ask(
        "POST",
        "/ipp/print",
        b"\x02\x00\x00\x0b\x00\x00\x00\x01\x01G\x00\x12attributes-charset\x00\x05utf-8"
        b"H\x00\x1battributes-natural-language\x00\x02enE\x00\x0bprinter-uri\x00\x05ipp:/\x03",
        headers=(("Content-Type", "application/ipp"),),
    )
    with pytest.raises(ipp.BadIpp):
        ipp.decode(answer.body)
    message, _ = ipp.decode(answer.body, tolerant=True)

    assert message.get(Tag.PRINTER, "media-col-default") is not None


def test_text_with_language(make_printer: Maker, connect: Connect) -> None:
    message, _ = attributes(connect(make_printer("text-with-language")))
    found = message.get(Tag.PRINTER, "printer-make-and-model")

    assert found is not None
    assert found.values[0].tag == Tag.TEXT_LANG
    assert found.texts == ("Example VirtualJet 900",)


def test_long_pdl(make_printer: Maker, connect: Connect) -> None:
    message, _ = attributes(connect(make_printer("long-pdl")))
    found = message.get(Tag.PRINTER, "document-format-supported")

    assert found is not None
    assert len(",".join(found.texts)) > 2000
    assert "application/pdf" in found.texts


def test_long_name(make_printer: Maker, connect: Connect) -> None:
    message, _ = attributes(connect(make_printer("long-name")))
    name = message.first_text(Tag.PRINTER, "printer-dns-sd-name")

    assert name is not None
    assert len(name.encode()) == 64
    with pytest.raises(UnicodeDecodeError):
        name.encode()[:63].decode()


def test_hostile_name(make_printer: Maker, connect: Connect) -> None:
    message, _ = attributes(connect(make_printer("hostile-name")))
    name = message.first_text(Tag.PRINTER, "printer-dns-sd-name")

    assert name is not None
    assert {"\x1b", "\r", "\n", "\x00", "/"} <= set(name)
