"""USB descriptors: which interfaces of a device speak IPP over USB, and its IEEE 1284 device id.

An interface is usable when some alternate setting of it is 7/1/4 (HP also:
255/9/1) with a bulk endpoint each way. Numbers have gaps, alternate setting 0
is mostly the legacy printer, and all interfaces in use must belong to one
configuration (IPP over USB 1.0, 4).

Invariant: no byte beyond the declared length of a descriptor, or of the one
around it, is read; wrong lengths are refused, not corrected.
Knows USB 2.0, 9.6, and IEEE 1284.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from ippusbd.errors import BadDescriptor
from ippusbd.model import Capability, InterfaceInfo, UsbId
from ippusbd.wire.text import decoded, one_line, utf8_line

DEVICE_ID_LIMIT: Final = 4096  # characters
WITHOUT_IPP: Final = "a printer without IPP over USB: it needs its maker's driver"

_DEVICE, _CONFIGURATION, _INTERFACE, _ENDPOINT, _IPP_USB = 1, 2, 4, 5, 0x21
_SHORTEST: Final = {_DEVICE: 18, _CONFIGURATION: 9, _INTERFACE: 9, _ENDPOINT: 7}  # bytes
_HP: Final = 0x03F0
_IPP_CLASS: Final = (7, 1, 4)
_HP_CLASS: Final = (255, 9, 1)  # LaserJet MFP M426fdn, M278-M281
_BULK: Final = 2
_CAPABILITIES_END: Final = 8  # bytes 6 and 7 of descriptor 0x21

_SHORT_KEYS: Final = {"MANUFACTURER": "MFG", "MODEL": "MDL", "COMMAND SET": "CMD"}
_UNCOUNTED: Final = re.compile(rb"[A-Za-z][A-Za-z ]{2,30}:")


@dataclass(slots=True)
class _Setting:
    """One alternate setting of one interface, with what followed its descriptor."""

    number: int
    alternate: int
    triple: tuple[int, int, int]
    bulk: dict[bool, int] = field(default_factory=dict)  # is IN -> address
    packets: dict[bool, int] = field(default_factory=dict)  # is IN -> packet size
    capabilities: Capability | None = None


def usb_id(device: bytes) -> UsbId:
    """Vendor and product of a device descriptor."""
    if len(device) < _SHORTEST[_DEVICE] or device[0] < _SHORTEST[_DEVICE] or device[1] != _DEVICE:
        raise BadDescriptor(f"not a device descriptor: {device[:18].hex()}")
    return UsbId(_u16(device, 8), _u16(device, 10))


def usable_interfaces(
    device: bytes, configurations: Sequence[bytes], *, active: int | None
) -> tuple[InterfaceInfo, ...]:
    """The IPP-over-USB interfaces of one configuration, by number; empty: there are none.

    Of several configurations it is the one in use (`active`, a bConfigurationValue), if it has
    such interfaces, else the one with most of them. Raises BadDescriptor.
    """
    classes = {_IPP_CLASS, _HP_CLASS} if usb_id(device).vendor == _HP else {_IPP_CLASS}
    candidates = [_usable(raw, classes) for raw in configurations]
    return max(
        candidates,
        key=lambda found: (bool(found) and found[0].configuration == active, len(found)),
        default=(),
    )


def is_printer(configurations: Sequence[bytes]) -> bool:
    """Whether any interface is of the printer class, whatever protocol it speaks."""
    return any(
        setting.triple[:2] == _IPP_CLASS[:2]
        for raw in configurations
        for setting in _settings(raw)[1]
    )


def alternates(configurations: Sequence[bytes], info: InterfaceInfo) -> tuple[int, ...]:
    """The alternate settings of an interface, its own first. Raises BadDescriptor."""
    found = {
        setting.alternate
        for value, settings in map(_settings, configurations)
        for setting in settings
        if (value, setting.number) == (info.configuration, info.number)
    }
    return (info.alternate, *sorted(found - {info.alternate}))


def parse_device_id(data: bytes) -> str:
    """The text of a GET_DEVICE_ID answer, cleaned; empty where there is none.

    Its first two bytes count themselves and the text, big endian; firmware also counts little
    endian, does not count the two bytes, has any number there or none.
    """
    text = data if _UNCOUNTED.match(data) else data[2 : _device_id_end(data)]
    return one_line(decoded(text.partition(b"\0")[0]), DEVICE_ID_LIMIT)


def device_id_fields(device_id: str) -> dict[str, str]:
    """`MFG:HP;MDL:DeskJet;CMD:PCL;` by upper-case key, long keys made short.

    The first of equal keys counts.
    """
    found: dict[str, str] = {}
    for item in device_id.split(";"):
        key, colon, value = item.partition(":")
        key = utf8_line(key).upper()
        if colon and key:
            found.setdefault(_SHORT_KEYS.get(key, key), utf8_line(value))
    return found


def _device_id_end(data: bytes) -> int:
    counts = (int.from_bytes(data[:2], "big"), int.from_bytes(data[:2], "little"))
    possible = [count for count in counts if 2 < count <= len(data)]
    end = len(data) if len(data) in possible or not possible else possible[0]
    uncounted = data[end : end + 2]
    return end + 2 if end + 2 == len(data) or uncounted.endswith(b";") else end


def _usable(raw: bytes, classes: set[tuple[int, int, int]]) -> tuple[InterfaceInfo, ...]:
    configuration, settings = _settings(raw)
    usable: dict[int, InterfaceInfo] = {}
    for setting in sorted(settings, key=lambda s: (s.number, s.triple != _IPP_CLASS, s.alternate)):
        if setting.triple in classes and len(setting.bulk) == 2:
            usable.setdefault(setting.number, _info(configuration, setting))
    return tuple(usable.values())


def _info(configuration: int, setting: _Setting) -> InterfaceInfo:
    return InterfaceInfo(
        configuration=configuration,
        number=setting.number,
        alternate=setting.alternate,
        bulk_in=setting.bulk[True],
        bulk_out=setting.bulk[False],
        capabilities=setting.capabilities,
        packet_in=setting.packets[True],
        packet_out=setting.packets[False],
    )


def _settings(raw: bytes) -> tuple[int, list[_Setting]]:
    """bConfigurationValue and the alternate settings of a whole configuration descriptor."""
    if len(raw) < _SHORTEST[_CONFIGURATION] or raw[1] != _CONFIGURATION:
        raise BadDescriptor(f"not a configuration descriptor: {raw[:9].hex()}")
    total = _u16(raw, 2)
    if not _SHORTEST[_CONFIGURATION] <= total <= len(raw):
        raise BadDescriptor(f"configuration of {total} bytes, of which {len(raw)} were read")
    settings: list[_Setting] = []
    for part in _parts(raw[:total]):
        if part[1] == _INTERFACE:
            settings.append(_Setting(part[2], part[3], (part[5], part[6], part[7])))
        elif settings:
            _add(settings[-1], part)
    return raw[5], settings


def _add(setting: _Setting, part: bytes) -> None:
    if part[1] == _ENDPOINT:
        address, packet = part[2], _u16(part, 4) & 0x7FF
        if part[3] & 3 == _BULK and address & 0x0F and packet:
            setting.bulk.setdefault(bool(address & 0x80), address)
            setting.packets.setdefault(bool(address & 0x80), packet)
    elif part[1] == _IPP_USB and len(part) >= _CAPABILITIES_END:
        # No bit set means as little as no descriptor (HP CP1200).
        setting.capabilities = Capability(_u16(part, 6) & Capability.all()) or None


def _parts(raw: bytes) -> Iterator[bytes]:
    """The descriptors in `raw`, each of its declared length."""
    at = 0
    while at < len(raw):
        part = raw[at : at + raw[at]]
        kind = raw[at + 1] if at + 1 < len(raw) else 0
        if len(part) < max(raw[at], _SHORTEST.get(kind, 2)):
            raise BadDescriptor(f"descriptor of {raw[at]} bytes at {at} of {len(raw)}")
        yield part
        at += raw[at]


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


# --- string descriptors, as devices really send them; nothing raises

ENGLISH_US = 0x0409  # what every device knows, whatever its language list says


def decode_languages(descriptor: bytes) -> int:
    """The first language id of string descriptor 0 (USB 2.0, 9.6.7)."""
    body = _string_body(descriptor)
    if len(body) < 2:
        return ENGLISH_US
    return int.from_bytes(body[:2], "little") or ENGLISH_US


def decode_string(descriptor: bytes) -> str:
    """UTF-16LE text; what is not UTF-16 becomes replacement characters."""
    body = _string_body(descriptor)
    return body[: len(body) & ~1].decode("utf-16-le", errors="replace").strip("\0 ")


def _string_body(descriptor: bytes) -> bytes:
    if len(descriptor) < 2 or descriptor[1] != 0x03:
        return b""
    return descriptor[2 : descriptor[0]]
