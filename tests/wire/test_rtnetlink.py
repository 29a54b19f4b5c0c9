"""The kernel's list of addresses, as it is and as it never should be."""

from __future__ import annotations

import struct
from ipaddress import ip_interface

from hypothesis import given
from hypothesis import strategies as st

from ippusbd.daemon.share.interfaces import _asked
from ippusbd.wire.rtnetlink import LocalAddress, addresses


def attribute(kind: int, raw: bytes) -> bytes:
    body = struct.pack("=HH", 4 + len(raw), kind) + raw
    return body + b"\0" * (-len(body) % 4)


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body


def new_address(index: int, prefix: int, flags: int, *attributes: bytes) -> bytes:
    return message(20, struct.pack("=BBBBI", 2, prefix, flags, 0, index) + b"".join(attributes))


DONE = message(3, b"\0" * 4)


def test_an_address_comes_with_its_interface_and_network():
    raw = bytes([192, 0, 2, 10])
    data = new_address(7, 24, 0x80, attribute(1, raw), attribute(2, raw), attribute(3, b"eth0\0"))
    assert addresses(data + DONE) == ([LocalAddress(7, ip_interface("192.0.2.10/24"))], True)


def test_the_own_end_of_a_point_to_point_link_is_taken():
    far, own = attribute(1, bytes([10, 0, 0, 2])), attribute(2, bytes([10, 0, 0, 1]))
    found, _ = addresses(new_address(3, 32, 0, far, own))
    assert [str(each.value.ip) for each in found] == ["10.0.0.1"]


def test_an_address_that_is_not_usable_yet_is_left_out():
    raw = attribute(1, bytes(15) + b"\1")
    checked = new_address(2, 64, 0, raw, attribute(8, struct.pack("=I", 0x80)))
    tentative = new_address(2, 64, 0, raw, attribute(8, struct.pack("=I", 0x40)))
    assert len(addresses(checked)[0]) == 1
    assert addresses(tentative)[0] == []


@given(st.binary(max_size=200), st.integers(0, 3))
def test_no_bytes_break_it(tail: bytes, kind: int):
    addresses(tail)
    found, _ = addresses(message(20, tail) + tail + DONE[: 4 * kind])
    assert len(found) <= 3


def test_this_kernel_tells_of_loopback():
    assert "127.0.0.1" in {str(each.value.ip) for each in _asked()}
