"""IPP attributes and their values (RFC 8010, 3.4 to 3.9), each exactly as it was on the wire.

A value is its tag and its bytes; they are interpreted only on access, and a
value whose bytes do not fit its tag yields those bytes. So a printer with one
malformed value loses that value and nothing else, and what was decoded is
encoded to the same bytes again.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from ippusbd.errors import BadIpp

# A value in Python: None for out-of-band values, bytes where nothing better is known.
Plain: TypeAlias = (
    "bool | int | str | bytes | tuple[int, ...] | dict[str, tuple[Plain, ...]] | None"
)


class Tag(IntEnum):
    """Delimiter tags (below 0x10) and value tags."""

    OPERATION = 0x01
    JOB = 0x02
    END = 0x03
    PRINTER = 0x04
    UNSUPPORTED = 0x05
    DOCUMENT = 0x09
    SYSTEM = 0x0A
    UNKNOWN = 0x12
    NO_VALUE = 0x13
    INTEGER = 0x21
    BOOLEAN = 0x22
    ENUM = 0x23
    OCTETS = 0x30
    DATETIME = 0x31
    RESOLUTION = 0x32
    RANGE = 0x33
    BEG_COLLECTION = 0x34
    TEXT_LANG = 0x35
    NAME_LANG = 0x36
    END_COLLECTION = 0x37
    TEXT = 0x41
    NAME = 0x42
    KEYWORD = 0x44
    URI = 0x45
    URI_SCHEME = 0x46
    CHARSET = 0x47
    LANGUAGE = 0x48
    MIME = 0x49
    MEMBER_NAME = 0x4A


FIRST_VALUE_TAG: Final = 0x10
OUT_OF_BAND: Final = range(0x10, 0x20)
CHARACTER_STRINGS: Final = range(0x40, 0x60)
_TEXTS: Final = frozenset({Tag.TEXT_LANG, Tag.NAME_LANG, *range(Tag.TEXT, Tag.MIME + 1)})
_NUMBERS: Final = frozenset({Tag.INTEGER, Tag.RANGE})


def share_a_set(first: int, tag: int) -> bool:
    """Whether a value of `tag` may follow one of `first` in a 1setOf, for CUPS and for us.

    Of one type (RFC 8011, 5.1); strings of all kinds mix, integers and ranges, too.
    """
    if first in _TEXTS:
        return tag in _TEXTS or tag == Tag.NO_VALUE
    return first == tag or (first in _NUMBERS and tag in _NUMBERS)


@dataclass(frozen=True, slots=True)
class Value:
    """One value. `members` are those of a collection, whose `raw` is empty in good encodings."""

    tag: int
    raw: bytes = b""
    members: tuple[Attribute, ...] = ()

    @property
    def python(self) -> Plain:
        """In Python; strings are UTF-8 with bad bytes replaced, language tags are dropped."""
        if self.tag == Tag.BEG_COLLECTION:
            return {m.name: tuple(v.python for v in m.values) for m in self.members}
        if self.tag in OUT_OF_BAND:
            return None
        if self.tag in CHARACTER_STRINGS:
            return self.raw.decode("utf-8", "replace")
        if self.tag in (Tag.TEXT_LANG, Tag.NAME_LANG):
            return _without_language(self.raw)
        return _number(self.tag, self.raw)

    @property
    def text(self) -> str | None:
        """A string of any kind, with or without language; None for everything else."""
        plain = self.python
        return plain if isinstance(plain, str) else None

    @property
    def language(self) -> str:
        """The language of a textWithLanguage or nameWithLanguage, in lower case; "": none."""
        if self.tag not in (Tag.TEXT_LANG, Tag.NAME_LANG):
            return ""
        return (
            self.raw[2 : 2 + int.from_bytes(self.raw[:2], "big")].decode("ascii", "replace").lower()
        )

    @property
    def integer(self) -> int | None:
        """An integer or enum; None for everything else, booleans too."""
        plain = self.python
        return plain if isinstance(plain, int) and not isinstance(plain, bool) else None

    @property
    def boolean(self) -> bool | None:
        plain = self.python
        return plain if isinstance(plain, bool) else None


@dataclass(frozen=True, slots=True)
class Attribute:
    """A name and its values (more than one: 1setOf). Also a member of a collection."""

    name: str
    values: tuple[Value, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """All values that are strings, in order."""
        return tuple(v.text for v in self.values if v.text is not None)

    @property
    def integers(self) -> tuple[int, ...]:
        """All values that are integers or enums, in order."""
        return tuple(v.integer for v in self.values if v.integer is not None)

    @property
    def plain(self) -> tuple[Plain, ...]:
        return tuple(v.python for v in self.values)


def _without_language(raw: bytes) -> str | bytes:
    """The text of a textWithLanguage: two counted strings, language first."""
    text_at = 4 + int.from_bytes(raw[:2], "big")
    if (
        len(raw) < text_at
        or int.from_bytes(raw[text_at - 2 : text_at], "big") != len(raw) - text_at
    ):
        return raw
    return raw[text_at:].decode("utf-8", "replace")


def _number(tag: int, raw: bytes) -> bool | int | bytes | tuple[int, ...]:
    if tag == Tag.BOOLEAN and len(raw) == 1:
        return raw != b"\0"
    if tag in (Tag.INTEGER, Tag.ENUM) and len(raw) == 4:
        return int.from_bytes(raw, "big", signed=True)
    if tag == Tag.RANGE and len(raw) == 8:
        return struct.unpack(">ii", raw)
    if tag == Tag.RESOLUTION and len(raw) == 9:
        return struct.unpack(">iib", raw)
    return raw


# --- building


def _packed(layout: str, *numbers: int) -> bytes:
    try:
        return struct.pack(layout, *numbers)
    except struct.error as exc:
        raise BadIpp(f"numbers do not fit an IPP value: {numbers}") from exc


def _utf8(string: str) -> bytes:
    return string.encode("utf-8", "replace")  # a lone surrogate becomes a question mark


def _string(tag: int, string: str) -> Value:
    return Value(tag, _utf8(string))


def integer(number: int) -> Value:
    return Value(Tag.INTEGER, _packed(">i", number))


def enum(number: int) -> Value:
    return Value(Tag.ENUM, _packed(">i", number))


def boolean(truth: bool) -> Value:
    return Value(Tag.BOOLEAN, b"\1" if truth else b"\0")


def octets(raw: bytes) -> Value:
    return Value(Tag.OCTETS, raw)


def datetime(raw: bytes) -> Value:
    """The eleven octets of RFC 2579's DateAndTime."""
    return Value(Tag.DATETIME, raw)


def range_(low: int, high: int) -> Value:
    return Value(Tag.RANGE, _packed(">ii", low, high))


def resolution(across: int, along: int, units: int = 3) -> Value:
    """`units`: 3 dots per inch, 4 dots per centimetre."""
    return Value(Tag.RESOLUTION, _packed(">iib", across, along, units))


def text(string: str) -> Value:
    return _string(Tag.TEXT, string)


def name(string: str) -> Value:
    return _string(Tag.NAME, string)


def text_lang(language_tag: str, string: str) -> Value:
    """textWithLanguage."""
    parts = (_utf8(language_tag), _utf8(string))
    return Value(Tag.TEXT_LANG, b"".join(_packed(">H", len(part)) + part for part in parts))


def keyword(string: str) -> Value:
    return _string(Tag.KEYWORD, string)


def uri(string: str) -> Value:
    return _string(Tag.URI, string)


def uri_scheme(string: str) -> Value:
    return _string(Tag.URI_SCHEME, string)


def charset(string: str = "utf-8") -> Value:
    return _string(Tag.CHARSET, string)


def language(string: str = "en") -> Value:
    return _string(Tag.LANGUAGE, string)


def mime(string: str) -> Value:
    return _string(Tag.MIME, string)


def no_value() -> Value:
    return Value(Tag.NO_VALUE)


def unknown() -> Value:
    return Value(Tag.UNKNOWN)


def collection(members: Mapping[str, Value | Sequence[Value]]) -> Value:
    """`members` in their order; a sequence makes a member with several values."""
    return Value(
        Tag.BEG_COLLECTION,
        members=tuple(
            Attribute(member, (given,) if isinstance(given, Value) else tuple(given))
            for member, given in members.items()
        ),
    )


def attribute(attribute_name: str, *values: Value) -> Attribute:
    return Attribute(attribute_name, values)
