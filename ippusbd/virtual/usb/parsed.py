"""A configuration descriptor's bytes as the tree of fields that pyusb's objects are made of.

Reads only what `descriptors` (or a personality) wrote; the daemon has its own parser, for
untrusted bytes, in `wire`. Class descriptors belong to what precedes them, as in libusb.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from ippusbd.virtual.usb import descriptors as d

Fields = dict[str, int | list[int]]


@dataclass(slots=True)
class AlternateNode:
    fields: Fields
    endpoints: list[Fields] = field(default_factory=list)


@dataclass(slots=True)
class ConfigurationNode:
    """`interfaces[index][alternate]`, by order of appearance."""

    fields: Fields
    interfaces: list[list[AlternateNode]] = field(default_factory=list)


def _split(raw: bytes) -> Iterator[bytes]:
    while len(raw) > 1 and raw[0] > 1:
        yield raw[: raw[0]]
        raw = raw[raw[0] :]


@lru_cache(maxsize=32)
def parse_configuration(raw: bytes) -> ConfigurationNode:
    node: ConfigurationNode | None = None
    by_number: dict[int, list[AlternateNode]] = {}
    last: Fields = {}
    for one in _split(raw):
        if node is None:
            node = ConfigurationNode(last := _configuration(one))
        elif one[1] == d.INTERFACE:
            alternate = AlternateNode(last := _interface(one))
            if one[2] not in by_number:
                node.interfaces.append(by_number.setdefault(one[2], []))
            by_number[one[2]].append(alternate)
        elif one[1] == d.ENDPOINT:
            alternate.endpoints.append(last := _endpoint(one))
        else:
            extra = last["extra_descriptors"]
            assert isinstance(extra, list)
            extra.extend(one)
    assert node is not None
    return node


def _configuration(raw: bytes) -> Fields:
    return {
        "bLength": raw[0],
        "bDescriptorType": raw[1],
        "wTotalLength": int.from_bytes(raw[2:4], "little"),
        "bNumInterfaces": raw[4],
        "bConfigurationValue": raw[5],
        "iConfiguration": raw[6],
        "bmAttributes": raw[7],
        "bMaxPower": raw[8],
        "extra_descriptors": [],
    }


def _interface(raw: bytes) -> Fields:
    return {
        "bLength": raw[0],
        "bDescriptorType": raw[1],
        "bInterfaceNumber": raw[2],
        "bAlternateSetting": raw[3],
        "bNumEndpoints": raw[4],
        "bInterfaceClass": raw[5],
        "bInterfaceSubClass": raw[6],
        "bInterfaceProtocol": raw[7],
        "iInterface": raw[8],
        "extra_descriptors": [],
    }


def _endpoint(raw: bytes) -> Fields:
    return {
        "bLength": raw[0],
        "bDescriptorType": raw[1],
        "bEndpointAddress": raw[2],
        "bmAttributes": raw[3],
        "wMaxPacketSize": int.from_bytes(raw[4:6], "little"),
        "bInterval": raw[6],
        "bRefresh": 0,
        "bSynchAddress": 0,
        "extra_descriptors": [],
    }
