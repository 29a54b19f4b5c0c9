"""The facts in a scanner's eSCL ScannerCapabilities (Mopria eSCL 2.97).

Firmware puts colour modes and formats into profiles of each source, or into
profiles that sources refer to; DNS-SD has the union of them, so the union is
collected. All strings are cleaned by `text`.
"""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element

from ippusbd.errors import BadXml
from ippusbd.model import ScannerFacts
from ippusbd.wire import safe_xml
from ippusbd.wire.text import canonical_uuid, utf8_line

SOURCES: Final = {"Platen": "platen", "Adf": "adf", "Camera": "camera"}
# In the order of DNS-SD's `cs`; the start of a mode counts: RGB24, RGB48.
COLOR_SPACES: Final = {"color": "rgb", "grayscale": "grayscale", "binary": "blackandwhite"}
LIST_MAX: Final = 64  # formats that we keep


def capabilities(document: bytes) -> ScannerFacts:
    """The facts. Raises BadXml for another document, or one without any source."""
    root = safe_xml.parse(document)
    if root.tag != "ScannerCapabilities":
        raise BadXml(f"ScannerCapabilities expected, not {utf8_line(root.tag, 63)!r}")
    sources = tuple(source for tag, source in SOURCES.items() if root.find(tag) is not None)
    if not sources:
        raise BadXml("ScannerCapabilities without a source to scan from")
    return ScannerFacts(
        version=_child(root, "Version"),
        make_and_model=_child(root, "MakeAndModel"),
        serial=_child(root, "SerialNumber"),
        uuid=canonical_uuid(_child(root, "UUID")),
        admin_uri=_child(root, "AdminURI"),
        icon_uri=_child(root, "IconURI"),
        pdl=_formats(root),
        color_spaces=_color_spaces(root),
        sources=sources,
        duplex=_duplex(root),
    )


def _child(root: Element, tag: str) -> str:
    return utf8_line(root.findtext(tag) or "")


def _all(root: Element, tag: str) -> tuple[str, ...]:
    texts = (utf8_line(element.text or "") for element in root.iter(tag))
    return tuple(dict.fromkeys(filter(None, texts)))


def _formats(root: Element) -> tuple[str, ...]:
    # eSCL 2.1 repeats DocumentFormat as DocumentFormatExt and may add to it.
    both = _all(root, "DocumentFormat") + _all(root, "DocumentFormatExt")
    return tuple(dict.fromkeys(both))[:LIST_MAX]


def _color_spaces(root: Element) -> tuple[str, ...]:
    modes = [mode.lower() for mode in _all(root, "ColorMode")]
    return tuple(
        space
        for space, begin in COLOR_SPACES.items()
        if any(mode.startswith(begin) for mode in modes)
    )


def _duplex(root: Element) -> bool:
    """Capabilities for both sides, or the option alone: some firmware omits the former."""
    if root.find("Adf/AdfDuplexInputCaps") is not None:
        return True
    options = root.iterfind("Adf/AdfOptions/AdfOption")
    return any((option.text or "").strip() == "Duplex" for option in options)
