"""IPP messages: bytes in, values out, and back to the same bytes (RFC 8010).

The bytes come from firmware. So decoding is one flat loop over counted
items with an explicit stack, every count unsigned and checked, sizes and
depth bounded; its outcome is a message, `IncompleteIpp` (more bytes are
needed) or `BadIpp`, never anything else.

    encode(decode(data)) == data[:offset]     whatever decode() accepted

`tolerant=True` continues where known printers break the rules (`ipp_repair`);
its result is encoded well-formed, but not to the same bytes.

Knows the encoding only; `ipp_facts` knows what attributes mean.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from ippusbd.errors import BadIpp, IncompleteIpp
from ippusbd.wire.ipp_repair import Items, Repair
from ippusbd.wire.ipp_values import FIRST_VALUE_TAG, Attribute, Tag, Value, share_a_set

HEADER: Final = struct.Struct(">BBHI")  # version, operation or status, request-id
GROUP_TAGS: Final = frozenset(range(0x01, 0x10)) - {Tag.END}
VALUE_TAGS: Final = range(FIRST_VALUE_TAG, 0x100)
COUNT_MAX: Final = 0xFFFF
MAJOR_MAX: Final = 9  # more is the first letter of a text or HTML page


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one message."""

    size_bytes: int = 1 << 20  # without the document
    depth: int = 16  # collections in collections
    items: int = 1 << 16  # delimiters, values and member names together


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Group:
    """Attributes after one delimiter tag; order and repetitions are kept."""

    tag: int
    attributes: tuple[Attribute, ...] = ()

    def get(self, attribute_name: str) -> Attribute | None:
        """The first attribute of that name."""
        return next((a for a in self.attributes if a.name == attribute_name), None)


@dataclass(frozen=True, slots=True)
class Message:
    """A request or a response; `code` is the operation-id or the status-code."""

    code: int
    request_id: int
    groups: tuple[Group, ...] = ()
    version: tuple[int, int] = (2, 0)

    @property
    def ok(self) -> bool:
        """Whether a response's status is successful (RFC 8011, 4.1.6.1)."""
        return self.code < 0x100

    def group(self, tag: int) -> Group:
        """The first group of that tag; an empty one if there is none."""
        return next((g for g in self.groups if g.tag == tag), Group(tag))

    def get(self, tag: int, attribute_name: str) -> Attribute | None:
        """The first attribute of that name in any group of that tag."""
        found = (g.get(attribute_name) for g in self.groups if g.tag == tag)
        return next((a for a in found if a is not None), None)

    def first_text(self, tag: int, attribute_name: str) -> str | None:
        """The attribute's first string, if it has one."""
        found = self.get(tag, attribute_name)
        return next(iter(found.texts), None) if found else None

    def first_integer(self, tag: int, attribute_name: str) -> int | None:
        """The attribute's first integer or enum, if it has one."""
        found = self.get(tag, attribute_name)
        return next(iter(found.integers), None) if found else None


# --- decoding


def decode(
    data: bytes, *, tolerant: bool = False, limits: Limits = DEFAULT_LIMITS
) -> tuple[Message, int]:
    """The message at the start of `data`, and the offset where document data begins.

    Raises IncompleteIpp while more bytes could complete it, else BadIpp.
    """
    if data and data[0] > MAJOR_MAX:
        raise BadIpp(f"not an IPP message: its version would be {data[0]}")
    if len(data) < HEADER.size:
        raise IncompleteIpp("IPP header is cut short")
    major, minor, code, request_id = HEADER.unpack_from(data)
    builder = _Builder(limits.depth)
    items: Items = Repair(builder, limits.depth) if tolerant else builder
    reader = _Reader(data, HEADER.size, limits.size_bytes)
    count = 0
    while (tag := reader.take(1)[0]) != Tag.END:
        if (count := count + 1) > limits.items:
            raise BadIpp(f"over {limits.items} items in an IPP message")
        if tag < FIRST_VALUE_TAG:
            items.delimiter(tag)
        else:
            items.item(tag, reader.counted(), reader.counted())
    items.finish()
    return Message(code, request_id, tuple(builder.groups), (major, minor)), reader.offset


@dataclass(slots=True)
class _Reader:
    """Takes bytes from the front; raises IncompleteIpp at the end, BadIpp at the limit."""

    data: bytes
    offset: int
    size_bytes: int

    def take(self, count: int) -> bytes:
        start, end = self.offset, self.offset + count
        if end > self.size_bytes:
            raise BadIpp(f"IPP attributes are over {self.size_bytes} bytes")
        if end > len(self.data):
            raise IncompleteIpp(f"IPP message is cut short at byte {len(self.data)}")
        self.offset = end
        return self.data[start:end]

    def counted(self) -> bytes:
        """A string after its two-byte, unsigned length."""
        return self.take(int.from_bytes(self.take(2), "big"))


@dataclass(slots=True)
class _Open:
    """A group or collection that is not closed yet; `raw` is a begin-collection value's."""

    tag: int
    raw: bytes = b""
    attributes: list[tuple[str, list[Value]]] = field(default_factory=list)

    def freeze(self) -> tuple[Attribute, ...]:
        if any(not values for _, values in self.attributes):
            raise BadIpp("a member without a value in an IPP message")
        return tuple(Attribute(name, tuple(values)) for name, values in self.attributes)


class _Builder:
    """Groups from items. `_stack` holds the open group and, above it, its open collections."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self.groups: list[Group] = []
        self._stack: list[_Open] = []

    def delimiter(self, tag: int) -> None:
        if tag == 0:
            raise BadIpp("reserved delimiter tag 0 in an IPP message")
        self.finish()
        self._stack.append(_Open(tag))

    def finish(self) -> None:
        """The end of the group, or of the message."""
        if len(self._stack) > 1:
            raise BadIpp("a collection is not closed in an IPP message")
        if self._stack:
            group = self._stack.pop()
            self.groups.append(Group(group.tag, group.freeze()))

    def item(self, tag: int, item_name: bytes, raw: bytes) -> None:
        if not self._stack:
            raise BadIpp("an IPP attribute stands outside of any group")
        if tag == Tag.END_COLLECTION:
            self._end_collection(item_name, raw)
        elif tag == Tag.MEMBER_NAME:
            self._member_name(item_name, raw)
        else:
            self._value(tag, item_name, raw)

    def _end_collection(self, item_name: bytes, raw: bytes) -> None:
        if item_name or raw:
            raise BadIpp("the end of a collection has a name or a value in an IPP message")
        if len(self._stack) == 1:
            raise BadIpp("the end of a collection that was not opened in an IPP message")
        closed = self._stack.pop()
        value = Value(closed.tag, closed.raw, closed.freeze())
        self._stack[-1].attributes[-1][1].append(value)

    def _member_name(self, item_name: bytes, raw: bytes) -> None:
        if len(self._stack) == 1:
            raise BadIpp("a member name outside of a collection in an IPP message")
        if item_name:
            raise BadIpp("a member name with a name of its own in an IPP message")
        self._begin_attribute(raw)

    def _value(self, tag: int, item_name: bytes, raw: bytes) -> None:
        attributes = self._stack[-1].attributes
        if item_name:
            if len(self._stack) > 1:
                raise BadIpp("an attribute inside a collection in an IPP message")
            self._begin_attribute(item_name)
        elif not attributes:
            raise BadIpp("a value without a name in an IPP message")
        values = attributes[-1][1]
        if values and not share_a_set(values[0].tag, tag):
            raise BadIpp("values of different types in one set in an IPP message")
        if tag == Tag.BEG_COLLECTION:
            self._open_collection(raw)
        else:
            values.append(Value(tag, raw))

    def _begin_attribute(self, item_name: bytes) -> None:
        # Latin-1 encodes back to the same bytes; the names we look for are ASCII.
        self._stack[-1].attributes.append((item_name.decode("latin-1"), []))

    def _open_collection(self, raw: bytes) -> None:
        if len(self._stack) > self._depth:
            raise BadIpp(f"IPP collections are nested over {self._depth} deep")
        self._stack.append(_Open(Tag.BEG_COLLECTION, raw))


# --- encoding


def encode(message: Message) -> bytes:
    """The message with its end tag; BadIpp if something is too long for its count."""
    try:
        header = HEADER.pack(*message.version, message.code, message.request_id)
    except struct.error as exc:
        raise BadIpp(f"numbers of an IPP header out of range: {exc}") from exc
    out = bytearray(header)
    for group in message.groups:
        if group.tag not in GROUP_TAGS:
            raise BadIpp(f"not the tag of an IPP group: {group.tag}")
        out.append(group.tag)
        for attr in group.attributes:
            _put_attribute(out, attr)
    out.append(Tag.END)
    return bytes(out)


def sanitize(data: bytes) -> bytes:
    """A printer's answer, decoded tolerantly and encoded well-formed; data after it is kept."""
    message, offset = decode(data, tolerant=True)
    return encode(message) + data[offset:]


def _put_attribute(out: bytearray, attr: Attribute) -> None:
    item_name = _name_bytes(attr.name)
    if not item_name or not attr.values:
        raise BadIpp(f"an IPP attribute needs a name and a value: {attr.name!r}")
    for value in attr.values:
        _put_value(out, item_name, value, depth=0)
        item_name = b""


def _put_value(out: bytearray, item_name: bytes, value: Value, depth: int) -> None:
    if value.tag not in VALUE_TAGS or value.tag in (Tag.MEMBER_NAME, Tag.END_COLLECTION):
        raise BadIpp(f"not the tag of an IPP value: {value.tag}")
    put_item(out, value.tag, item_name, value.raw)
    if value.tag != Tag.BEG_COLLECTION:
        return
    if depth >= DEFAULT_LIMITS.depth:
        raise BadIpp(f"IPP collections are nested over {DEFAULT_LIMITS.depth} deep")
    for member in value.members:
        put_item(out, Tag.MEMBER_NAME, b"", _name_bytes(member.name))
        for inner in member.values:
            _put_value(out, b"", inner, depth + 1)
    put_item(out, Tag.END_COLLECTION, b"", b"")


def put_item(out: bytearray, tag: int, item_name: bytes, raw: bytes) -> None:
    if len(item_name) > COUNT_MAX or len(raw) > COUNT_MAX:
        raise BadIpp(f"an IPP name or value is over {COUNT_MAX} bytes")
    out += struct.pack(">BH", tag, len(item_name)) + item_name
    out += struct.pack(">H", len(raw)) + raw


def _name_bytes(attribute_name: str) -> bytes:
    try:
        return attribute_name.encode("latin-1")
    except UnicodeEncodeError as exc:
        raise BadIpp(f"not an IPP attribute name: {attribute_name!r}") from exc
