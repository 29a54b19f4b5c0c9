"""The largest and worst inputs that a printer may send cost bounded time and memory.

Time is the processor's, so that a busy machine changes little; what these inputs
really take is a tenth of the bound.
"""

from __future__ import annotations

import time
import tracemalloc

import pytest
from fuzz.targets import TARGETS

CPU_S = 6.0
MEMORY_MIB = 96
MIB = 1 << 20
CUTS = b"\0\0\0"  # of the target for HTTP: a GET in one piece
OK = CUTS + b"HTTP/1.1 200 OK\r\n"
IPP = b"\x02\x00\x00\x00\x00\x00\x00\x01\x04"
DEEP = b"\x34\x00\x01a\x00\x00" + b"\x4a\x00\x00\x00\x01b\x34\x00\x00\x00\x00" * 20_000
MEMBER = (
    b"\x34\x00\x01c\x00\x00" + b"\x4a\x00\x00\x00\x01m\x21\x00\x00\x00\x04\x00\x00\x00\x01" * 6000
)
DEVICE = bytes.fromhex("120100020000004009120100000101020301")

WORST = {
    "http": {
        "head without end": OK + b"X: " + b"y" * MIB,
        "fields": OK + b"X: y\r\n" * 40_000 + b"\r\n",
        "folded": OK + b"X: y\r\n" + b" z\r\n" * 60_000 + b"\r\n",
        "one byte chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 80_000,
        "chunk extensions": OK + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"e" * MIB,
        "zeros": OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * MIB,
        "junk": CUTS + b"HTTP" * (MIB // 4),
        "empty lines": CUTS + b"\r\n" * (MIB // 2),
        "interim answers": CUTS + b"HTTP/1.1 100 C\r\n\r\n" * 11_000,
        "surplus": OK + b"Content-Length: 0\r\n\r\n" + b"s" * MIB,
    },
    "ipp": {
        "delimiters": IPP + b"\x04" * 66_000 + b"\x03",
        "values": IPP + b"\x21\0\1a\0\4\0\0\0\1" + b"\x21\0\0\0\4\0\0\0\1" * 20_000 + b"\3",
        "attributes": IPP + b"\x44\x00\x01a\x00\x01b" * 20_000 + b"\x03",
        "deep": IPP + DEEP,
        "members": IPP + MEMBER + b"\x37\x00\x00\x00\x00\x03",
        "links": IPP + b"".join(
            b"\x45\x00\x01u\x00\x10ipp://h%06d/ab" % n for n in range(10_000)
        ) + b"\x03",
        "long text": IPP + b"\x41\0\x16printer-make-and-model\xff\xff" + b"\x1b[" * 32767 + b"\0\3",
    },
    "xml": {
        "elements": b"<ScannerCapabilities>" + b"<a/>" * 200_000,
        "depth": b"<a>" * 200_000,
        "attributes": b"<a " + b"".join(b"b%d='' " % n for n in range(80_000)) + b"/>",
        "entities": b"<ScannerCapabilities><Platen/>"
        + b"&#65;" * 150_000
        + b"</ScannerCapabilities>",
        "formats": b"<ScannerCapabilities><Platen/>"
        + b"".join(b"<DocumentFormat>%d</DocumentFormat>" % n for n in range(20_000))
        + b"</ScannerCapabilities>",
        "escapes": b"<ScannerCapabilities><Platen/><MakeAndModel>"
        + "\u202e".encode() * 300_000
        + b"</MakeAndModel></ScannerCapabilities>",
    },
    "usb": {
        "descriptors": b"C"
        + DEVICE
        + b"\x09\x02\xfe\xff\x01\x01\x00\xc0\x32" + b"\x02\x24" * 32763,
        "interfaces": b"C"
        + DEVICE
        + b"\x09\x02\xf9\xff\x01\x01\x00\xc0\x32"
        + b"\x09\x04\x00\x00\x02\x07\x01\x04\x00" * 7280,
        "device id": b"I\xff\xff" + b"A:" * 32768,
        "device id of escapes": b"I\xff\xff" + b"\x1b]" * 32768,
        "string": b"S\xff\x03" + b"\x1b\x00[\x00" * 64,
    },
    "links": {
        "values": CUTS + IPP + b"\x21\0\1a\0\4\0\0\0\1" + b"\x21\0\0\0\4\0\0\0\1" * 20_000,
        "uris": CUTS + IPP + b"\x45\x00\x01u\x00\x10ipp://h000001/ab" * 10_000 + b"\x03",
        "deep": CUTS + IPP + DEEP,
        "members": CUTS + IPP + MEMBER * 4,
        "long item": CUTS + IPP + b"\x44\0\1a\xff\xff" + b"x" * MIB,
        "tags": CUTS + b"<AdminURI>" * 50_000,
        "blanks": CUTS + b"<AdminURI>" + b" " * MIB,
    },
}  # fmt: skip
CASES = [(target, name) for target, worst in WORST.items() for name in worst]


@pytest.mark.parametrize(("target", "name"), CASES, ids=[": ".join(case) for case in CASES])
def test_the_worst_input_stays_within_its_bounds(target: str, name: str):
    data = WORST[target][name]
    before = time.process_time()
    TARGETS[target](data)
    took_s = time.process_time() - before
    assert took_s < CPU_S
    if took_s < 0.2:  # tracing makes it several times slower
        tracemalloc.start()
        try:
            TARGETS[target](data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MEMORY_MIB * MIB
