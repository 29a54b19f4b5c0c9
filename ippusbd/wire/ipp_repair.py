"""Items of a badly encoded IPP message in, items of a well-formed one out.

Firmware forgets to close collections (Canon MF262dw II), closes them before their
last member (Kyocera FS-4200DN), names members like attributes (Pantum M7300FDW).
CUPS refuses such a message as a whole. What the printer meant is decided item by
item, from what came before; a value that can belong to nothing is dropped.

Invariants: the items that leave are accepted by a strict reader, ours and CUPS';
a well-formed message leaves as it came; memory is bounded by `depth` and one item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from ippusbd.errors import BadIpp
from ippusbd.wire.ipp_values import Tag, share_a_set

_LOST: Final = b""  # the name of an attribute or member that nothing is kept of


class Items(Protocol):
    """What reads a message item by item (RFC 8010, 3.1): delimiters, and tag, name and value."""

    def delimiter(self, tag: int) -> None: ...

    def item(self, tag: int, item_name: bytes, raw: bytes) -> None: ...

    def finish(self) -> None:
        """The end tag came."""


@dataclass(slots=True)
class _Level:
    """A group, or an open collection: its last attribute or member, and the type of its values."""

    name: bytes = _LOST
    first: int | None = None  # the tag of its first value
    dropped: bool = False  # with all that is in it


class Repair:
    """Passes items on to `sink`, repaired. Raises BadIpp for what no repair can be known of."""

    def __init__(self, sink: Items, depth: int) -> None:
        self._sink = sink
        self._depth = depth
        self._levels: list[_Level] = []  # the open group and, above it, its open collections
        self._ended = False  # an end of the outermost collection, not passed on yet
        self._knows_member_names = False

    def delimiter(self, tag: int) -> None:
        self._close_all()
        self._levels = [_Level()]
        self._sink.delimiter(tag)

    def finish(self) -> None:
        self._close_all()
        self._sink.finish()

    def item(self, tag: int, item_name: bytes, raw: bytes) -> None:
        if not self._levels:
            raise BadIpp("an IPP attribute stands outside of any group")
        if tag == Tag.END_COLLECTION:
            self._end()
        elif tag == Tag.MEMBER_NAME:
            self._member_name(raw)
        else:
            self._value(tag, item_name, raw)

    def _end(self) -> None:
        if self._ended or len(self._levels) == 1:
            return  # one too many
        if len(self._levels) == 2 and not self._levels[-1].dropped:
            self._ended = True  # unless a member follows: Kyocera FS-4200DN
        else:
            self._close()

    def _member_name(self, name: bytes) -> None:
        self._ended = False
        level = self._levels[-1]
        if len(self._levels) == 1:
            level.name, level.first = _LOST, None
        else:
            level.name, level.first = name, None
            self._knows_member_names = True

    def _value(self, tag: int, item_name: bytes, raw: bytes) -> None:
        if self._ended:
            self._close()
        level = self._begun(item_name) if item_name else self._continued(tag)
        fits = level.first is None or share_a_set(level.first, tag)
        dropped = level.dropped or level.name == _LOST or not fits
        if not dropped:
            self._pass(level, tag, raw)
        if tag == Tag.BEG_COLLECTION:
            if len(self._levels) > self._depth:
                raise BadIpp(f"IPP collections are nested over {self._depth} deep")
            self._levels.append(_Level(dropped=dropped))

    def _begun(self, item_name: bytes) -> _Level:
        """The level of a value that has a name: of an attribute, or of a member named like one."""
        level = self._levels[-1]
        if len(self._levels) > 1:
            if level.name != _LOST and level.first is None:
                return level  # the value of a member that has a name already
            if self._knows_member_names:
                self._close_all()  # Canon MF262dw II
                level = self._levels[-1]
        level.name, level.first = item_name, None
        return level

    def _continued(self, tag: int) -> _Level:
        """The level of a value without a name.

        A collection beside values of another type is the next value of the attribute whose
        collection was not closed.
        """
        level = self._levels[-1]
        foreign = level.first is not None and not share_a_set(level.first, tag)
        if tag == Tag.BEG_COLLECTION and foreign and len(self._levels) > 1:
            self._close()
        return self._levels[-1]

    def _pass(self, level: _Level, tag: int, raw: bytes) -> None:
        item_name = b""
        if level.first is None:
            level.first = tag
            if len(self._levels) == 1:
                item_name = level.name
            else:
                self._sink.item(Tag.MEMBER_NAME, b"", level.name)
        self._sink.item(tag, item_name, b"" if tag == Tag.BEG_COLLECTION else raw)

    def _close_all(self) -> None:
        while len(self._levels) > 1:
            self._close()

    def _close(self) -> None:
        self._ended = False
        if not self._levels.pop().dropped:
            self._sink.item(Tag.END_COLLECTION, b"", b"")
