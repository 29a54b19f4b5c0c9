"""What must hold for anything a device sends, one function for each parser.

A target takes bytes and returns, or raises AssertionError; our own errors are
valid results, any other exception is a fault. Bounds on memory are checked by
the size of results, bounds on time by the runner.

    http  where USB cuts a response changes nothing of it; nothing is invented
    ipp   what was read is written byte for byte; facts are clean, records in bounds
    xml   the same for ScannerCapabilities
    usb   interfaces, strings and IEEE 1284 ids
    links where an answer is cut changes nothing of how it is rewritten and repaired

What others than devices may send or damage is in `readers`.

Knows wire and the functions that read strings; nothing of fuzzers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import fields
from typing import Final

from fuzz import readers
from support.http1_streams import cut_at, outcome, single_bytes

from ippusbd.errors import BadDescriptor, BadIpp, BadXml
from ippusbd.model import BusAddress, DeviceFacts, ProbeResult, ServiceSet, UsbId
from ippusbd.wire import escl, ipp, ipp_facts, ipp_requests, links, printer_status, txt
from ippusbd.wire.descriptors import (
    decode_languages,
    decode_string,
    device_id_fields,
    parse_device_id,
    usable_interfaces,
)
from ippusbd.wire.state_reasons import all_advice, state_name

METHODS: Final = ("GET", "POST", "HEAD")
CUTS_BYTES: Final = 3  # of the input; they decide where it is cut
EVERY_BYTE_MAX: Final = 400
DEVICE: Final = DeviceFacts(UsbId(0x1209, 1), BusAddress(1, 2), "Example", "Jet", "S1")
PORT: Final = 60000
BASE: Final = "http://localhost:60000"


def http(data: bytes) -> None:
    """A response of HTTP/1; the first bytes choose the method and the cuts."""
    choice, stream = data[:CUTS_BYTES], data[CUTS_BYTES:]
    chance = random.Random(choice)
    method = METHODS[choice[0] % len(METHODS)] if choice else "GET"
    whole = outcome([stream], method=method)
    cuts = [chance.randrange(len(stream) + 1) for _ in range(chance.randrange(8))]
    assert outcome(cut_at(stream, cuts), method=method) == whole
    if len(stream) <= EVERY_BYTE_MAX:
        assert outcome(single_bytes(stream), method=method) == whole
    assert len(whole.body) + len(whole.surplus) <= len(stream)
    assert whole.head is not None or not (whole.body or whole.surplus or whole.done)
    if whole.head is not None:
        said = whole.head.reason + "".join(name + value for name, value in whole.head.headers)
        assert not set(said) & set(map(chr, (*range(9), *range(10, 32), 127)))


def ipp_answer(data: bytes) -> None:
    """An IPP message, as an answer to Get-Printer-Attributes and as a request's head."""
    for ours in (ipp_requests.head, ipp_requests.job_id_of):
        _ours(ours, data, BadIpp)
    _ours(ipp.sanitize, data, BadIpp)
    for tolerant in (False, True):
        try:
            message, end = ipp.decode(data, tolerant=tolerant)
        except BadIpp:
            continue
        written = ipp.encode(message)
        assert tolerant or written == data[:end]
        assert ipp.decode(written) == (message, len(written))
        state = printer_status.read(message)
        _clean_strings(state)
        told = [advice.text for advice in all_advice(state.reasons)] + [state_name(state.state)]
        assert all(text.isprintable() for text in told)
        try:
            facts = ipp_facts.facts(message)
        except BadIpp:
            continue
        _clean_strings(facts)
        _in_bounds(txt.services(ProbeResult(DEVICE, facts, None), port=PORT))


def xml(data: bytes) -> None:
    """ScannerCapabilities."""
    try:
        facts = escl.capabilities(data)
    except BadXml:
        return
    _clean_strings(facts)
    _in_bounds(txt.services(ProbeResult(DEVICE, None, facts), port=PORT))


def usb(data: bytes) -> None:
    """Descriptors; the first byte says which."""
    kind, rest = data[:1], data[1:]
    if kind == b"S":
        _named(decode_string(rest))
    elif kind == b"L":
        assert 0 < decode_languages(rest) <= 0xFFFF
    elif kind == b"I":
        text = parse_device_id(rest)
        assert text.isprintable()
        parsed = device_id_fields(text)
        assert all(value.isprintable() for value in parsed.values())
        facts = DeviceFacts(DEVICE.usb_id, DEVICE.address, device_id=text)
        _in_bounds(txt.services(ProbeResult(facts, None, None), port=PORT))
    else:
        try:
            found = usable_interfaces(rest[:18], (rest[18:],), active=1)
        except BadDescriptor:
            return
        assert len({one.number for one in found}) == len(found)
        assert all(one.bulk_in & 0x80 for one in found)
        assert not any(one.bulk_out & 0x80 for one in found)


def rewriting(data: bytes) -> None:
    """Answers to clients, streamed; the first bytes choose their type and the cuts."""
    choice, stream = data[:CUTS_BYTES], data[CUTS_BYTES:]
    chance = random.Random(choice)
    content_type = chance.choice(("application/ipp", "application/ipp", "text/xml"))
    options = {"repair": chance.random() < 0.7, "password": chance.random() < 0.3}
    url = chance.choice((f"{BASE}/eSCL/ScannerCapabilities", "https://desk.local/ipp/print"))
    cuts = [chance.randrange(len(stream) + 1) for _ in range(chance.randrange(8))]

    def streamed(pieces: Iterable[bytes]) -> bytes:
        found = links.rewriter(content_type, url, links.PrinterHosts(), **options)
        assert found is not None
        return b"".join(map(found.feed, pieces)) + found.finish()

    out = streamed([stream])
    assert streamed(cut_at(stream, cuts)) == out
    if len(stream) <= EVERY_BYTE_MAX:
        assert streamed(single_bytes(stream)) == out
    whole = links.rewriter(content_type, url, links.PrinterHosts(), **options)
    assert whole is not None
    whole.whole(stream)
    if options["repair"] and content_type == "application/ipp":
        try:
            ipp.sanitize(stream)
        except BadIpp:
            return
        ipp.decode(out)  # strictly


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "http": http,
    "ipp": ipp_answer,
    "xml": xml,
    "usb": usb,
    "links": rewriting,
    "broker": readers.broker,
    "state": readers.state,
    "config": readers.config,
    "quirks": readers.quirks,
}


def _ours(function: Callable[[bytes], object], data: bytes, error: type[Exception]) -> None:
    with suppress(error):
        function(data)


def _named(text: str) -> None:
    """Any string may become a name and a record."""
    facts = DeviceFacts(DEVICE.usb_id, DEVICE.address, text, text, text)
    _in_bounds(txt.services(ProbeResult(facts, None, None), port=PORT))


def _clean_strings(facts: object) -> None:
    for text in _strings(getattr(facts, field.name) for field in fields(facts)):  # type: ignore[arg-type]
        assert text.isprintable(), text
        assert len(text.encode()) <= 1024


def _strings(values: Iterable[object]) -> Iterable[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from _strings(value)


def _in_bounds(services: ServiceSet) -> None:
    """Valid in DNS-SD (RFC 6763, 4.1.1 and 6.1), and harmless in a terminal."""
    for record in (*services.records, *services.fixed):
        assert 0 < len(record.name.encode()) <= 63
        assert record.name.isprintable()
        for key, value in record.txt:
            assert value.isprintable(), (key, value)
            assert len(f"{key}={value}".encode()) <= 255
