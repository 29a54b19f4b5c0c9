"""Which interfaces of a device are used, for devices in the field and for any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ippusbd.errors import BadDescriptor
from ippusbd.model import Capability, InterfaceInfo, UsbId
from ippusbd.wire.descriptors import (
    DEVICE_ID_LIMIT,
    parse_device_id,
    usable_interfaces,
    usb_id,
)

IPP = (7, 1, 4)
LEGACY = (7, 1, 2)
HP_IPP = (255, 9, 1)
STORAGE = (8, 6, 80)


def device(vendor: int = 0x04A9, product: int = 0x27E8) -> bytes:
    ids = vendor.to_bytes(2, "little") + product.to_bytes(2, "little")
    return bytes((18, 1, 0, 2, 0, 0, 0, 64)) + ids + bytes((0, 1, 1, 2, 3, 1))


def endpoint(address: int, attributes: int = 2, packet: int = 512) -> bytes:
    return bytes((7, 5, address, attributes)) + packet.to_bytes(2, "little") + b"\0"


def interface(number: int, alternate: int, triple: tuple[int, int, int], *parts: bytes) -> bytes:
    return bytes((9, 4, number, alternate, len(parts), *triple, 0)) + b"".join(parts)


def bulk(number: int) -> tuple[bytes, bytes]:
    return endpoint(number), endpoint(0x80 | number)


def capable(bits: int, length: int = 10) -> bytes:
    return (bytes((length, 0x21, 0, 1, 1, 0)) + bits.to_bytes(2, "little") + b"\0\0")[:length]


def configuration(*parts: bytes, value: int = 1, total: int | None = None) -> bytes:
    inside = b"".join(parts)
    size = 9 + len(inside) if total is None else total
    return bytes((9, 2)) + size.to_bytes(2, "little") + bytes((1, value, 0, 0xC0, 0)) + inside


def used(
    *configurations: bytes, active: int | None = 1, vendor: int = 0x04A9
) -> list[InterfaceInfo]:
    return list(usable_interfaces(device(vendor), configurations, active=active))


def printer(*numbers: int, value: int = 1) -> bytes:
    parts = [
        interface(n, alt, triple, *bulk(n + 1))
        for n in numbers
        for alt, triple in enumerate((LEGACY, IPP))
    ]
    return configuration(*parts, value=value)


def test_an_interface_tells_all_that_is_needed_to_use_it():
    raw = configuration(
        interface(0, 0, LEGACY, *bulk(1)),
        interface(
            0, 1, IPP, capable(0b111), endpoint(0x81, packet=0x1200), endpoint(0x02, packet=64)
        ),
    )

    assert used(raw) == [
        InterfaceInfo(
            configuration=1,
            number=0,
            alternate=1,
            bulk_in=0x81,
            bulk_out=0x02,
            capabilities=Capability.PRINT | Capability.SCAN | Capability.FAX,
            packet_in=512,
            packet_out=64,
        )
    ]


def test_gaps_in_the_numbering_do_not_matter():
    assert [info.number for info in used(printer(5, 0, 2))] == [0, 2, 5]


def test_the_wanted_setting_is_found_wherever_it_is():
    first = interface(0, 0, IPP, *bulk(1)) + interface(0, 1, LEGACY, *bulk(1))
    third = (
        interface(1, 0, LEGACY, *bulk(2))
        + interface(1, 3, IPP, *bulk(2))
        + interface(1, 2, IPP, *bulk(2))
    )

    assert [info.alternate for info in used(configuration(first, third))] == [0, 2]


def test_hps_own_class_counts_for_hp_alone_and_after_the_standard():
    own = interface(0, 0, HP_IPP, *bulk(1))
    both = interface(1, 0, HP_IPP, *bulk(2)) + interface(1, 1, IPP, *bulk(2))
    raw = configuration(own, both)

    assert [(i.number, i.alternate) for i in used(raw, vendor=0x03F0)] == [(0, 0), (1, 1)]
    assert [(i.number, i.alternate) for i in used(raw)] == [(1, 1)]


@pytest.mark.parametrize(
    "endpoints",
    [
        (),
        (endpoint(0x81),),
        (endpoint(0x01), endpoint(0x02)),
        (endpoint(0x81), endpoint(0x01, attributes=3)),
        (endpoint(0x80), endpoint(0x01)),
        (endpoint(0x81, packet=0), endpoint(0x01)),
    ],
    ids=["none", "no OUT", "no IN", "interrupt OUT", "endpoint zero", "packets of nothing"],
)
def test_without_a_bulk_endpoint_each_way_an_interface_is_not_usable(endpoints):
    raw = configuration(interface(0, 0, IPP, *endpoints), interface(1, 0, IPP, *bulk(3)))

    assert [info.number for info in used(raw)] == [1]


def test_endpoints_beyond_the_first_pair_are_left_alone():
    extra = (endpoint(0x85, attributes=3), *bulk(1), *bulk(2))

    (info,) = used(configuration(interface(0, 0, IPP, *extra)))
    assert (info.bulk_in, info.bulk_out) == (0x81, 0x01)


@pytest.mark.parametrize(
    ("descriptor", "capabilities"),
    [
        (b"", None),
        (capable(0), None),
        (capable(0b1), Capability.PRINT),
        (capable(0x8002), Capability.SCAN),
        (capable(0x8000), None),
        (capable(0b10, length=8), Capability.SCAN),
        (capable(0b10, length=6), None),
    ],
)
def test_capabilities_missing_or_zero_say_nothing(descriptor, capabilities):
    (info,) = used(configuration(interface(0, 0, IPP, descriptor, *bulk(1))))

    assert info.capabilities == capabilities


def test_the_class_descriptor_may_come_after_the_endpoints():
    (info,) = used(configuration(interface(0, 0, IPP, *bulk(1), capable(2))))

    assert info.capabilities is Capability.SCAN


def test_foreign_interfaces_and_descriptors_are_passed_over():
    association = bytes((8, 11, 0, 2, 7, 1, 4, 0))
    early = endpoint(0x81) + capable(1)
    raw = configuration(early, association, interface(0, 0, STORAGE, *bulk(1)), printer(1)[9:])

    assert [info.number for info in used(raw)] == [1]


@pytest.mark.parametrize(
    ("active", "chosen"), [(1, 1), (2, 2), (3, 2), (None, 2), (9, 2)]
)  # fmt: skip
def test_of_several_configurations_the_active_one_else_the_richest_is_used(active, chosen):
    raw = (
        printer(0, value=1),
        printer(0, 1, value=2),
        configuration(value=3),
        printer(0, 1, value=4),
    )

    assert {info.configuration for info in used(*raw, active=active)} == {chosen}


def test_a_configuration_value_that_matches_none_does_not_matter():
    assert [info.number for info in used(printer(0, 1), active=0)] == [0, 1]


def test_a_device_may_have_nothing_for_us():
    assert used() == []
    assert used(configuration(interface(0, 0, STORAGE, *bulk(1)))) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x09\x02",
        device()[:9],
        configuration(total=8),
        configuration(total=10),
        printer(0)[:-1],
        configuration(b"\0"),
        configuration(b"\x01"),
        configuration(b"\x00\x04"),
        configuration(b"\x09\x04\0\0"),
        configuration(b"\x08\x04" + bytes(6)),
        configuration(interface(0, 0, IPP), b"\x06\x05\x81\x02\x00\x02"),
        configuration(interface(0, 0, IPP), b"\xff\x21\0\0"),
    ],
)
def test_truncated_and_lying_configurations_are_refused(raw: bytes):
    with pytest.raises(BadDescriptor):
        used(raw)


@pytest.mark.parametrize(
    "raw", [b"", device()[:17], b"\x11" + device()[1:], b"\x12\x02" + device()[2:]]
)
def test_what_is_no_device_descriptor_is_refused(raw: bytes):
    with pytest.raises(BadDescriptor):
        usable_interfaces(raw, [printer(0)], active=1)


def test_a_device_descriptor_names_vendor_and_product():
    assert usb_id(device(0x03F0, 0x1234)) == UsbId(0x03F0, 0x1234)


parts = st.one_of(
    st.sampled_from(
        [interface(0, 0, IPP), interface(1, 1, HP_IPP), endpoint(1), endpoint(0x81), capable(3)]
    ),
    st.binary(max_size=12),
)


@given(
    st.lists(st.lists(parts, max_size=8).map(lambda p: configuration(*p)) | st.binary(), max_size=3)
)
@settings(max_examples=300)
def test_any_bytes_are_usable_interfaces_or_refused(raw):
    try:
        found = used(*raw, vendor=0x03F0)
    except BadDescriptor:
        return
    assert len({info.configuration for info in found}) <= 1
    assert [info.number for info in found] == sorted({info.number for info in found})
    assert all(info.bulk_in and info.bulk_out for info in found)
    assert all(info.bulk_in & 0x80 and not info.bulk_out & 0x80 for info in found)


ID = "MFG:Example;MDL:MFP 4711;CMD:PDF,URF;"
COUNT = len(ID) + 2


@pytest.mark.parametrize(
    "data",
    [
        COUNT.to_bytes(2, "big") + ID.encode(),
        COUNT.to_bytes(2, "big") + ID.encode() + b"\0" * 50,
        COUNT.to_bytes(2, "big") + ID.encode() + b"stale",
        COUNT.to_bytes(2, "little") + ID.encode(),
        len(ID).to_bytes(2, "big") + ID.encode(),
        len(ID).to_bytes(2, "big") + ID.encode() + b"\0" * 50,
        b"\xff\xff" + ID.encode(),
        b"\0\0" + ID.encode(),
        ID.encode(),
        (COUNT + 5).to_bytes(2, "big") + ID.encode() + b"\0stal",
    ],
    ids=["right", "padded", "stale bytes", "little endian", "short by two", "short by two, padded",
         "too much", "nothing", "no count", "counts what is stale"],
)  # fmt: skip
def test_a_device_id_is_found_however_it_is_counted(data: bytes):
    assert parse_device_id(data) == ID


def test_a_device_id_without_its_last_semicolon_is_found_too():
    text = ID.removesuffix(";")

    assert parse_device_id(len(text).to_bytes(2, "big") + text.encode()) == text
    assert parse_device_id((len(text) + 2).to_bytes(2, "big") + text.encode() + b"\0\0") == text


def test_a_length_that_both_orders_allow_is_the_one_that_fits():
    text = b"MFG:" + b"x" * 507  # 513 bytes: 01 02 little endian, 258 if read the other way

    assert parse_device_id(b"\x01\x02" + text) == text.decode()


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\x02", b"\0\0", b"\0\x05\0\0\0"])
def test_no_device_id_is_an_empty_one(data: bytes):
    assert parse_device_id(data) == ""


@given(st.binary(max_size=80))
def test_any_bytes_are_some_device_id(data: bytes):
    text = parse_device_id(data)

    assert text.isprintable()
    assert len(text) <= DEVICE_ID_LIMIT
