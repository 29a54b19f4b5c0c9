"""The facts in a printer's answer to Get-Printer-Attributes.

Every attribute is optional and may be of the wrong type: what cannot be parsed
is left out, the rest is used. All strings are cleaned here (see `text`). The
status is ignored: one printer (Canon SELPHY CP1500) sends good data with an
error status, and the quirk `ignore_ipp_status` decides in the caller.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ippusbd.errors import BadIpp
from ippusbd.model import PrinterFacts
from ippusbd.wire.descriptors import device_id_fields
from ippusbd.wire.ipp import Attribute, Group, Message, Plain, Tag
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
        paper_max=paper_max(_sizes(printer)),
        more_info=_text(printer, "printer-more-info"),
        mopria=_text(printer, "mopria-certified"),
        device_id=identity,
    )


def _printer_attributes(message: Message) -> Iterator[Attribute]:
    for group in message.groups:
        if group.tag == Tag.PRINTER:
            yield from group.attributes


def _texts(printer: Group, name: str) -> tuple[str, ...]:
    """All strings of an attribute, cleaned, without duplicates."""
    found = printer.get(name)
    texts = found.texts[:LIST_MAX] if found else ()
    return tuple(dict.fromkeys(filter(None, map(utf8_line, texts))))


def _text(printer: Group, name: str) -> str:
    return next(iter(_texts(printer, name)), "")


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


def _sizes(printer: Group) -> list[Size]:
    """Sizes of media-size-supported; without it, of the names in media-supported."""
    found = printer.get("media-size-supported")
    sizes = [_size(plain) for plain in found.plain] if found else []
    if not any(sizes):
        sizes = [size_of_name(name) for name in _texts(printer, "media-supported")]
    return [size for size in sizes if size]


def _size(media_size: Plain) -> Size | None:
    """Width and height of a media-size collection, the upper ends where they are ranges."""
    if not isinstance(media_size, dict):
        return None
    width = _length(media_size.get("x-dimension", ()))
    height = _length(media_size.get("y-dimension", ()))
    return (width, height) if width and height else None


def _length(values: tuple[Plain, ...]) -> int:
    lengths = [value[1] if isinstance(value, tuple) else value for value in values]
    return max((length for length in lengths if isinstance(length, int)), default=0)
