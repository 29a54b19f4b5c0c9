"""The facts in a printer's answer to Get-Printer-Attributes.

Every attribute is optional and may be of the wrong type: what cannot be parsed
is left out, the rest is used. All strings are cleaned here (see `text`). The
status is ignored: one printer (Canon SELPHY CP1500) sends good data with an
error status, and the quirk `ignore_ipp_status` decides in the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from ippusbd.errors import BadIpp
from ippusbd.model import PrinterFacts
from ippusbd.wire.descriptors import device_id_fields
from ippusbd.wire.ipp import Attribute, Group, Message, Plain, Tag, Value
from ippusbd.wire.ipp_requests import get_printer_attributes
from ippusbd.wire.paper import Size, paper_max, size_of_name
from ippusbd.wire.text import canonical_uuid, utf8_line

REQUESTED: Final[tuple[str, ...]] = (
    "color-supported",
    "document-format-supported",
    "ipp-features-supported",
    "media-size-supported",
    "media-supported",
    "mopria-certified",
    "printer-device-id",
    "printer-dns-sd-name",
    "printer-icons",
    "printer-info",
    "printer-kind",
    "printer-location",
    "printer-make-and-model",
    "printer-more-info",
    "printer-uuid",
    "sides-supported",
    "urf-supported",
)
LIST_MAX: Final = 256  # entries of one list that we keep
_VERSION: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)


def question(printer_uri: str, request_id: int = 1) -> bytes:
    """The request whose answer `facts` reads."""
    return get_printer_attributes(printer_uri, REQUESTED, request_id)


def facts(message: Message) -> PrinterFacts:
    """The facts in an answer, whatever its status; BadIpp if there are no printer attributes."""
    printer = Group(Tag.PRINTER, tuple(_printer_attributes(message)))
    if not printer.attributes:
        raise BadIpp(f"no printer attributes in the answer, status 0x{message.code:04x}")
    identity = _text(printer, "printer-device-id")
    return PrinterFacts(
        dns_sd_name=_text(printer, "printer-dns-sd-name"),
        make_and_model=_text(printer, "printer-make-and-model"),
        info=_text(printer, "printer-info"),
        location=_text(printer, "printer-location"),
        uuid=canonical_uuid(_text(printer, "printer-uuid")),
        pdl=_texts(printer, "document-format-supported"),
        urf=_urf(printer, identity),
        color=_color(printer),
        duplex=_duplex(_texts(printer, "sides-supported")),
        kind=_texts(printer, "printer-kind"),
        features=_texts(printer, "ipp-features-supported"),
        paper_max=paper_max(*_sizes(printer)),
        more_info=_text(printer, "printer-more-info"),
        icon=_text(printer, "printer-icons"),
        mopria=_version(_text(printer, "mopria-certified")),
        device_id=identity,
    )


def _printer_attributes(message: Message) -> Iterator[Attribute]:
    for group in message.groups:
        if group.tag == Tag.PRINTER:
            yield from group.attributes


def _texts(printer: Group, name: str) -> tuple[str, ...]:
    """All strings of an attribute, cleaned, without duplicates."""
    found = printer.get(name)
    return _cleaned(found.values[:LIST_MAX]) if found else ()


def _cleaned(values: Iterable[Value]) -> tuple[str, ...]:
    texts = (utf8_line(value.text) for value in values if value.text is not None)
    return tuple(dict.fromkeys(filter(None, texts)))


def _text(printer: Group, name: str) -> str:
    """The text in English, if there are several translations, else the first."""
    found = printer.get(name)
    values = found.values[:LIST_MAX] if found else ()
    english = sorted(values, key=lambda value: not value.language.startswith("en"))
    return next(iter(_cleaned(english)), "")


def _version(text: str) -> str:
    """Epson says "mopria-certified 1.2"."""
    found = _VERSION.search(text)
    return found[0] if found else ""


def _color(printer: Group) -> bool | None:
    found = printer.get("color-supported")
    return found.values[0].boolean if found and found.values else None


def _duplex(sides: tuple[str, ...]) -> bool | None:
    if any(side.startswith("two-sided") for side in sides):
        return True
    return False if "one-sided" in sides else None


def _urf(printer: Group, identity: str) -> tuple[str, ...]:
    """urf-supported, else the URF key of the device id."""
    supported = _texts(printer, "urf-supported")
    if supported:
        return supported
    spelled = device_id_fields(identity).get("URF", "")
    return tuple(filter(None, map(str.strip, spelled.split(","))))


def _sizes(printer: Group) -> tuple[list[Size], list[Size]]:
    """Sizes of media-size-supported, and the upper ends of its ranges.

    Without any, of the names in media-supported.
    """
    found = printer.get("media-size-supported")
    sizes: tuple[list[Size], list[Size]] = ([], [])
    for plain in found.plain if found else ():
        if isinstance(plain, dict):
            width, height = (_length(plain.get(f"{axis}-dimension", ())) for axis in "xy")
            is_range = any(isinstance(one, tuple) for values in plain.values() for one in values)
            if width and height:
                sizes[is_range].append((width, height))
    if not any(sizes):
        for name in _texts(printer, "media-supported"):
            if size := size_of_name(name):
                sizes[name.startswith("custom_max")].append(size)
    return sizes


def _length(values: tuple[Plain, ...]) -> int:
    lengths = [value[1] if isinstance(value, tuple) else value for value in values]
    return max((length for length in lengths if isinstance(length, int)), default=0)
