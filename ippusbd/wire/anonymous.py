"""Captured answers of a device without what identifies it, its owner and its network.

Serial numbers, names, UUIDs, addresses and host names are overwritten by zeros and x of the same
length: no count changes, so an answer keeps its encoding, even a wrong one. What stands twice is
overwritten twice, in both answers. The model's own words stay.

Knows IPP's item structure and XML's text; bytes in, bytes out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ippusbd.errors import BadXml
from ippusbd.wire import ipp_codec
from ippusbd.wire.ipp_values import FIRST_VALUE_TAG, Tag

LIMITS: Final = ipp_codec.Limits(size_bytes=16 << 20, items=1 << 20)
PRIVATE: Final = re.compile(
    rb"serial|ssid|location|organi[sz]ation|contact|owner|user-name|host-?name|mac-addr"
    rb"|geo-|password|operator",
    re.IGNORECASE,
)
NAMES: Final = frozenset({b"printer-name", b"printer-info", b"printer-dns-sd-name"})
TEXTS: Final = frozenset(
    {Tag.OCTETS, Tag.TEXT_LANG, Tag.NAME_LANG, Tag.TEXT, Tag.NAME, Tag.URI}
)  # keywords, charsets, formats and languages are the model's
NO_UUID: Final = b"00000000-0000-4000-8000-000000000000"
REPEATED: Final = 6  # bytes; what is shorter is not looked for elsewhere

_UUID: Final = rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_MAC: Final = rb"(?<![0-9a-fA-F:-])(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}(?![0-9a-fA-F:-])"
_IPV4: Final = rb"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])"
_IPV6: Final = rb"(?<=\[)[0-9a-fA-F:]+:[0-9a-fA-F:.]*(?:%[\w.-]+)?(?=\])"
_MAIL: Final = rb"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)*"
_URI_HOST: Final = rb"(?<=://)(?!localhost\b)[^/:?#<>\[\]\"'\s]+"
_LOCAL_HOST: Final = rb"(?<![\w-])[\w-]+(?=\.local\b)"
_PATTERNS: Final = re.compile(
    rb"(?P<uuid>%b)|(?P<mac>%b)|(?P<ipv4>%b)|(?P<ipv6>%b)|(?P<text>%b|%b|%b)"
    % (_UUID, _MAC, _IPV4, _IPV6, _MAIL, _URI_HOST, _LOCAL_HOST)
)
_SERIAL_FIELD: Final = re.compile(rb"(?<=[;,:])((?:SN|SERN|SERIALNUMBER|SERIAL):)([^;]+)")
_SCHEME: Final = re.compile(rb"(?:[A-Za-z][\w+.-]*:(?://)?)?")
_ELEMENT: Final = re.compile(rb"<(?:[\w.-]+:)?([\w.-]+)(?:\s[^<>]*)?>([^<]+)(?=<)")
_WORD: Final = re.compile(rb"[^\s_\-\[\](){}.,]+")
_ENTITY: Final = re.compile(rb"&[#\w]+;|[^&]+|&")


@dataclass(frozen=True, slots=True)
class Replaced:
    """One value that was overwritten, and the attribute or element it stood in."""

    where: str
    old: str
    new: str


@dataclass(slots=True)
class Anonymizer:
    """Overwrites the answers of one device; `replaced` lists what, each once."""

    replaced: dict[Replaced, None] = field(default_factory=dict)
    _model: bytes = b""
    _secrets: dict[bytes, bytes] = field(default_factory=dict)

    def both(self, ipp_answer: bytes, xml: bytes) -> tuple[bytes, bytes]:
        """Both answers, either may be empty. Raises BadIpp and BadXml."""
        if b"\0" in xml:
            raise BadXml("not an ASCII-compatible encoding of XML")
        if ipp_answer:  # complete, without what follows the end tag
            ipp_answer = ipp_answer[: ipp_codec.decode(ipp_answer, tolerant=True, limits=LIMITS)[1]]
        self._model = b" ".join([*_models(ipp_answer, xml)])
        for _ in range(2):  # the first pass finds what is private, in either answer
            self.replaced.clear()
            done = self._ipp(ipp_answer) if ipp_answer else b"", self._xml(xml)
        return done

    def text(self, value: str) -> str:
        """A text without addresses, host names, UUIDs and what was private before."""
        return self._everywhere(value.encode("utf-8", "replace")).decode("utf-8", "replace")

    # --- IPP

    def _ipp(self, data: bytes) -> bytes:
        out = bytearray(data)
        for tag, name, start, end in _values(data):
            if tag in TEXTS:
                start = _text_start(tag, data, start, end)
                old = data[start:end]
                out[start:end] = self._value(name, old, is_uri=tag == Tag.URI)
        return bytes(out)

    def _value(self, name: bytes, old: bytes, *, is_uri: bool) -> bytes:
        new = self._everywhere(old)
        if name in NAMES:
            new = _WORD.sub(self._unless_model, new)
        elif PRIVATE.search(name):
            kept = _SCHEME.match(new)
            scheme = kept.end() if kept and is_uri else 0
            new = new[:scheme] + self._private(new[scheme:])
        return self._note(name, old, new)

    def _unless_model(self, word: re.Match[bytes]) -> bytes:
        known = {one.lower() for one in _WORD.findall(self._model)}
        return word[0] if word[0].lower() in known else _masked(word[0])

    # --- XML

    def _xml(self, data: bytes) -> bytes:
        out = bytearray(data)
        for found in _ELEMENT.finditer(data):
            name, old = found[1], found[2]
            if not old.strip():
                continue
            new = self._everywhere(old)
            if PRIVATE.search(name):
                new = _ENTITY.sub(lambda part: self._private(part[0]), new)
            out[found.start(2) : found.end(2)] = self._note(name, old, new)
        return bytes(out)

    # --- both

    def _everywhere(self, value: bytes) -> bytes:
        """Without what is recognised by its form, or was private elsewhere."""
        value = _SERIAL_FIELD.sub(lambda found: found[1] + self._secret(found[2]), value)
        value = _PATTERNS.sub(self._recognised, value)
        for old, new in self._secrets.items():
            value = value.replace(old, new)
        return value

    def _recognised(self, found: re.Match[bytes]) -> bytes:
        old = found[0]
        if found["uuid"]:
            return NO_UUID
        if found["mac"]:
            return re.sub(rb"[0-9a-fA-F]", b"0", old)
        if found["ipv4"] or (found["text"] and re.fullmatch(_IPV4, old)):
            return _other_address(old)
        if found["ipv6"]:
            return old if old == b"::1" else re.sub(rb"[0-9a-fA-F]", b"0", old)
        bare, local, _ = old.partition(b".local")
        return self._secret(bare) + local if local else self._secret(old)

    def _secret(self, old: bytes) -> bytes:
        new = _masked(old)
        if len(old) >= REPEATED and old.lower() not in self._model.lower():
            self._secrets[old] = new
        return new

    def _private(self, old: bytes) -> bytes:
        if old.startswith(b"&") and old.endswith(b";"):
            return old  # an entity of XML
        if re.search(rb"\d", old):
            self._secret(old.strip())
        return _masked(old)

    def _note(self, name: bytes, old: bytes, new: bytes) -> bytes:
        if new != old:
            texts = (one.decode("utf-8", "replace") for one in (name, old.strip(), new.strip()))
            self.replaced.setdefault(Replaced(*texts))
        return new


def _models(ipp_answer: bytes, xml: bytes) -> Iterator[bytes]:
    """Make and model, as the answers have them."""
    for _, name, start, end in _values(ipp_answer) if ipp_answer else ():
        if name == b"printer-make-and-model":
            yield ipp_answer[start:end]
    yield from (found[2] for found in _ELEMENT.finditer(xml) if found[1] == b"MakeAndModel")


def _values(data: bytes) -> Iterator[tuple[int, bytes, int, int]]:
    """Tag, attribute's or member's name, start and end of each value of a complete message."""
    at, name = ipp_codec.HEADER.size, b""
    while data[at] != Tag.END:
        tag = data[at]
        at += 1
        if tag < FIRST_VALUE_TAG:
            continue
        start = at + 2 + int.from_bytes(data[at : at + 2], "big")
        name = data[at + 2 : start] or name
        end = start + 2 + int.from_bytes(data[start : start + 2], "big")
        if tag == Tag.MEMBER_NAME:
            name = data[start + 2 : end]
        yield tag, name, start + 2, end
        at = end


def _text_start(tag: int, data: bytes, start: int, end: int) -> int:
    """Where the text begins; one with a language has that, and both lengths, before it."""
    if tag not in (Tag.TEXT_LANG, Tag.NAME_LANG):
        return start
    return min(start + 4 + int.from_bytes(data[start : start + 2], "big"), end)


def _masked(value: bytes) -> bytes:
    """Zeros for digits, x for letters and for every byte that is not ASCII."""
    value = re.sub(rb"[0-9]", b"0", value)
    value = re.sub(rb"[A-Z]", b"X", value)
    return re.sub(rb"[a-z\x80-\xff]", b"x", value)


def _other_address(old: bytes) -> bytes:
    """A private address with as many digits; loopback stays."""
    if old.startswith(b"127."):
        return old
    first, *rest = (len(one) for one in old.split(b"."))
    numbers: Callable[[int], bytes] = {1: b"0", 2: b"10", 3: b"100"}.__getitem__
    return b".".join([{1: b"1", 2: b"10", 3: b"192"}[first], *map(numbers, rest)])
