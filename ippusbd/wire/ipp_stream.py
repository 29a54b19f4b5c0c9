"""An IPP message rewritten while it passes, however long it is.

The message is cut into items (RFC 8010, 3.1) as they come; each is passed on, with
its value replaced or not, or goes through the repair. What is no IPP, and what
follows the end tag, passes untouched; so does the rest of a message that cannot be
repaired, for which the client will report the error.

An error status in front of printer attributes (Canon SELPHY CP1500) becomes
successful-ok on request: clients read nothing of an answer that failed.

Invariants: where the bytes are cut changes nothing; at most one item is held, of
two strings of 64 KiB, or what stands before the printer's attributes, of 16 KiB.
"""

from __future__ import annotations

from typing import Final

from ippusbd.errors import BadIpp
from ippusbd.wire.ipp_codec import DEFAULT_LIMITS, HEADER, MAJOR_MAX, put_item
from ippusbd.wire.ipp_codes import Status
from ippusbd.wire.ipp_layout import Change, changed, walk
from ippusbd.wire.ipp_repair import Repair
from ippusbd.wire.ipp_values import FIRST_VALUE_TAG, Tag

_URI: Final = int(Tag.URI)
_KEYWORD: Final = int(Tag.KEYWORD)
_END: Final = int(Tag.END)
_OK: Final = b"\0\0"
_PREFIX_MAX: Final = 16 * 1024  # before the first of the printer's attributes


class IppStream:
    """Takes the bytes of a message, yields those of the rewritten one; never raises.

    `good_data`: an error status in front of printer attributes becomes successful-ok.
    """

    def __init__(self, change: Change, *, repair: bool, good_data: bool = False) -> None:
        self._change = change
        self._writer = _Writer(change)
        self._repair = Repair(self._writer, DEFAULT_LIMITS.depth) if repair else None
        self._good_data = good_data
        self._held = bytearray()
        self._name = b""  # see `Walk`
        self._begun = False  # the header has passed
        self._over = False  # what follows passes untouched
        self.fault = ""  # why the rest was not repaired

    def feed(self, data: bytes) -> bytes:
        if self._over:
            return data
        self._held += data
        held = bytes(self._held)
        at = self._header(held)
        if at or self._begun:
            at = self._repaired(held, at) if self._repair else self._changed(held, at)
        return self._passed(held, at)

    def _passed(self, held: bytes, at: int) -> bytes:
        """What may go; from `at` on it is kept, unless the message is over."""
        if self._over:
            self._writer.out += held[at:]
            at = len(held)
        del self._held[:at]
        return self._writer.take()

    def finish(self) -> bytes:
        """What was held of a message that is cut short."""
        rest = bytes(self._held)
        self._held.clear()
        return rest

    def _header(self, data: bytes) -> int:
        """Pass the header on once it is here; the offset of what follows it."""
        if self._begun:
            return 0
        self._over = bool(data) and data[0] > MAJOR_MAX
        if self._over or len(data) < HEADER.size:
            return 0
        status = data[2:4]
        if self._good_data and _is_error(data):
            has_data = _printer_attributes_follow(data[:_PREFIX_MAX])
            if has_data is None and len(data) < _PREFIX_MAX:
                return 0
            status = _OK if has_data else status
        self._begun = True
        self._writer.out += data[:2] + status + data[4 : HEADER.size]
        return HEADER.size

    def _changed(self, data: bytes, at: int) -> int:
        """Pass all whole items on; the offset of the first that is not whole."""
        found = walk(data, at, self._change.keywords, name=self._name)
        self._name, self._over = found.name, found.over
        self._writer.out += changed(data[: found.at], found.places, self._change)[at:]
        return found.at

    def _repaired(self, data: bytes, at: int) -> int:
        """The same, item by item through the repair."""
        items, size = self._repair, len(data)
        assert items is not None
        try:
            while at < size and not self._over:
                tag = data[at]
                if tag >= FIRST_VALUE_TAG:
                    end = _item_end(data, at)
                    if end > size:
                        break
                    name_end = at + 3 + int.from_bytes(data[at + 1 : at + 3], "big")
                    items.item(tag, data[at + 3 : name_end], data[name_end + 2 : end])
                    at = end
                    continue
                at += 1
                if tag == _END:
                    items.finish()
                    self._over = True
                else:
                    items.delimiter(tag)
        except BadIpp as exc:
            self.fault = str(exc)
            self._over = True
        return at


def fails_with_data(answer: bytes) -> bool:
    """Its status is an error, and printer attributes follow."""
    return _is_error(answer) and bool(_printer_attributes_follow(answer[:_PREFIX_MAX]))


def _is_error(answer: bytes) -> bool:
    """Its status is an error, and not the one after which clients ask with an older version."""
    status = int.from_bytes(answer[2:4], "big")
    return status >= Status.BAD_REQUEST and status != Status.VERSION_NOT_SUPPORTED


def _printer_attributes_follow(data: bytes) -> bool | None:
    """Whether a group of printer attributes has one; None: that cannot be known yet."""
    at, in_printer = HEADER.size, False
    while at < len(data):
        tag = data[at]
        if tag >= FIRST_VALUE_TAG:
            if in_printer:
                return True
            at = _item_end(data, at)
        elif tag == _END:
            return False
        else:
            in_printer = tag == Tag.PRINTER
            at += 1
    return None


def _item_end(data: bytes, at: int) -> int:
    """Where the item at `at` ends; over the end of `data` when that cannot be known yet."""
    value_at = at + 5 + int.from_bytes(data[at + 1 : at + 3], "big")
    if at + 3 > len(data) or value_at > len(data):
        return len(data) + 1
    return value_at + int.from_bytes(data[value_at - 2 : value_at], "big")


class _Writer:
    """Items to bytes, changed."""

    def __init__(self, change: Change) -> None:
        self.out = bytearray()
        self._change = change
        self.keyword: bytes | None = None  # the value for keywords of this attribute

    def take(self) -> bytes:
        taken = bytes(self.out)
        self.out.clear()
        return taken

    def delimiter(self, tag: int) -> None:
        self.out.append(tag)

    def finish(self) -> None:
        self.out.append(_END)

    def item(self, tag: int, item_name: bytes, raw: bytes) -> None:
        if item_name:
            self.keyword = self._change.keywords.get(item_name)
        if tag == _URI:
            raw = self._change.uri(raw)
        elif tag == _KEYWORD and self.keyword is not None:
            raw = self.keyword
        put_item(self.out, tag, item_name, raw)
