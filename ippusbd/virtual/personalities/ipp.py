"""Printers that misbehave in IPP; the first line of each class says which model does what."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ippusbd.virtual.personalities.base import Personality
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Attribute, Message, Status, Tag, Value

MANY_FORMATS: Final = tuple(
    f"application/vnd.hp-PCLXL-{number:02d}-{'x' * 16}" for number in range(44)
)
LONG_NAME: Final = "Drucker im Büro mit einem sehr langen Namen, erster Stock Menü"


def _printer_attributes(answer: Message, change: Callable[[Attribute], Attribute]) -> Message:
    groups = tuple(
        replace(group, attributes=tuple(change(one) for one in group.attributes))
        if group.tag == Tag.PRINTER
        else group
        for group in answer.groups
    )
    return replace(answer, groups=groups)


class ErrorWithGoodData(Personality):
    """Canon SELPHY CP1500: server-error-internal-error, followed by good attributes."""

    name = "ipp-error-good-data"

    def ipp(self, request: Message, answer: Message) -> Message:
        if request.code != ipp.Operation.GET_PRINTER_ATTRIBUTES:
            return answer
        return replace(answer, code=Status.INTERNAL_ERROR)


class BadCollections(Personality):
    """Pantum M7300FDW: members of collections are named like attributes."""

    name = "bad-collections"

    def ipp_bytes(self, request: Message, answer: bytes) -> bytes:
        out, at, member = bytearray(answer[:8]), 8, b""
        while at < len(answer):
            tag = answer[at]
            at += 1
            if tag < 0x10:
                out.append(tag)
                continue
            name, at = _counted(answer, at)
            value, at = _counted(answer, at)
            if tag == Tag.MEMBER_NAME:
                member = value
                continue
            name, member = name or member, b""
            out += struct.pack(">BH", tag, len(name)) + name
            out += struct.pack(">H", len(value)) + value
        return bytes(out)


def _counted(data: bytes, at: int) -> tuple[bytes, int]:
    size = int.from_bytes(data[at : at + 2], "big")
    return data[at + 2 : at + 2 + size], at + 2 + size


class TextWithLanguage(Personality):
    """Brother MFC-L8390CDW: textWithLanguage and nameWithLanguage instead of text and name."""

    name = "text-with-language"

    def ipp(self, request: Message, answer: Message) -> Message:
        return _printer_attributes(answer, self._change)

    def _change(self, attr: Attribute) -> Attribute:
        return replace(attr, values=tuple(self._value(one) for one in attr.values))

    @staticmethod
    def _value(value: Value) -> Value:
        with_language = ipp.text_lang("en", value.text or "")
        if value.tag == Tag.NAME:
            return replace(with_language, tag=Tag.NAME_LANG)
        return with_language if value.tag == Tag.TEXT else value


class LongPdl(Personality):
    """HP Color LaserJet Pro MFP M478f: 2 KB of document formats."""

    name = "long-pdl"

    def ipp(self, request: Message, answer: Message) -> Message:
        return _printer_attributes(answer, self._change)

    @staticmethod
    def _change(attr: Attribute) -> Attribute:
        if attr.name != "document-format-supported":
            return attr
        more = tuple(ipp.mime(one) for one in MANY_FORMATS)
        return replace(attr, values=more + attr.values)


class LongName(Personality):
    """A name of 64 bytes, one more than DNS-SD allows, with letters of two bytes."""

    name = "long-name"
    names: Final = ("printer-dns-sd-name", "printer-info", "printer-name")
    text: str = LONG_NAME

    def ipp(self, request: Message, answer: Message) -> Message:
        return _printer_attributes(answer, self._change)

    def _change(self, attr: Attribute) -> Attribute:
        if attr.name not in self.names:
            return attr
        return replace(attr, values=(Value(attr.values[0].tag, self.text.encode()),))


class HostileName(LongName):
    """A name with terminal escapes, a path, and line breaks."""

    name = "hostile-name"
    text = "Evil\x1b[31m\r\n../../etc/cron.d/x\x00\x1b]0;owned\x07"
