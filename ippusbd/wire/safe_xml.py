"""XML of a device, parsed without trust.

One document of bounded size, element count and depth, parsed at once. A document
type is refused where it begins, so there are no entities to expand and
nothing external to fetch. Namespaces are not resolved: printers disagree
about them, some do not declare them, and local names are unambiguous in
the documents we read. The outcome is a tree or `BadXml`.
"""

from __future__ import annotations

import re
from typing import Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from ippusbd.errors import BadXml

SIZE_MAX_BYTES: Final = 1 << 20
DEPTH_MAX: Final = 64
ELEMENTS_MAX: Final = 1 << 15
# Other scanner clients accept these faults of firmware, too.
_BEFORE: Final = re.compile(rb"\A(?:\xef\xbb\xbf|\s)+(?=<)")  # before the declaration
_RAW_AMPERSAND: Final = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")
_HTML: Final = re.compile(rb"(?:\xef\xbb\xbf|\s)*(?:<!doctype\s+html|<html)[\s>]", re.IGNORECASE)


def parse(data: bytes) -> Element:
    """The root; tags are local names, without namespace and without attributes."""
    if len(data) > SIZE_MAX_BYTES:
        raise BadXml(f"XML document of {len(data)} bytes, over {SIZE_MAX_BYTES}")
    if _HTML.match(data):
        raise BadXml("an HTML page, not XML")
    data = _BEFORE.sub(b"", data, count=1)
    try:
        return _parsed(data)
    except BadXml:
        escaped = _RAW_AMPERSAND.sub(b"&amp;", data)
        if escaped == data:
            raise
    return _parsed(escaped)


def _parsed(data: bytes) -> Element:
    tree = _Tree()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = tree.doctype
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.builder.data
    try:
        parser.Parse(data, True)
    except expat.ExpatError as exc:
        raise BadXml(f"not well-formed XML: {exc}") from exc
    except (LookupError, ValueError) as exc:
        raise BadXml(f"XML in an unknown encoding: {exc}") from exc
    return tree.builder.close()


class _Tree:
    """expat's events into a tree, within bounds."""

    def __init__(self) -> None:
        self.builder = TreeBuilder()
        self._depth = 0
        self._elements = 0

    def doctype(self, *_: object) -> None:
        raise BadXml("XML with a document type is refused")

    def start(self, tag: str, _attributes: object) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > DEPTH_MAX or self._elements > ELEMENTS_MAX:
            raise BadXml(f"XML over {DEPTH_MAX} levels deep, or over {ELEMENTS_MAX} elements")
        self.builder.start(tag.rpartition(":")[2], {})

    def end(self, tag: str) -> None:
        self._depth -= 1
        self.builder.end(tag.rpartition(":")[2])
