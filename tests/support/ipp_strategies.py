"""IPP messages as hypothesis draws them: everything a well-formed encoding can say."""

from __future__ import annotations

from hypothesis import strategies as st

from ippusbd.wire import ipp
from ippusbd.wire.ipp import Attribute, Group, Message, Tag, Value
from ippusbd.wire.ipp_values import share_a_set

COLLECTION_TAGS = {Tag.BEG_COLLECTION, Tag.END_COLLECTION, Tag.MEMBER_NAME}
names = st.text(st.characters(max_codepoint=255), min_size=1, max_size=20)
plain_values = st.builds(
    Value,
    tag=st.integers(0x10, 0xFF).filter(lambda tag: tag not in COLLECTION_TAGS),
    raw=st.binary(max_size=40),
)


def _one_set(drawn: list[Value]) -> tuple[Value, ...]:
    """Those that may stand in one set with the first."""
    return tuple(value for value in drawn if share_a_set(drawn[0].tag, value.tag))


def _collections(values: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    members = st.lists(
        st.builds(
            Attribute, name=names, values=st.lists(values, min_size=1, max_size=3).map(_one_set)
        ),
        max_size=4,
    )
    return st.builds(Value, tag=st.just(int(Tag.BEG_COLLECTION)), members=members.map(tuple))


values = st.recursive(plain_values, _collections, max_leaves=8)
attributes = st.builds(
    Attribute, name=names, values=st.lists(values, min_size=1, max_size=4).map(_one_set)
)
groups = st.builds(
    Group,
    tag=st.integers(1, 0x0F).filter(lambda tag: tag != Tag.END),
    attributes=st.lists(attributes, max_size=5).map(tuple),
)
messages = st.builds(
    Message,
    code=st.integers(0, 0xFFFF),
    request_id=st.integers(0, 0xFFFFFFFF),
    groups=st.lists(groups, max_size=4).map(tuple),
    version=st.tuples(st.integers(0, 9), st.integers(0, 255)),
)

ITEM_TAGS = st.sampled_from(
    [*Tag, 0x00, 0x0F, 0x11, 0x60, 0xFE, 0xFF],
)


@st.composite
def item_streams(draw: st.DrawFn) -> bytes:
    """Items with good counts in any order: what a broken encoder says in a sound framing."""
    out = bytearray(bytes([draw(st.integers(1, 2)), 0, 0, 11, 0, 0, 0, 1]))
    for tag in draw(st.lists(ITEM_TAGS, max_size=30)):
        out.append(tag)
        if tag >= 0x10:
            for part in (
                draw(st.sampled_from([b"", b"", b"a", b"media-size"])),
                draw(st.binary(max_size=9)),
            ):
                out += len(part).to_bytes(2, "big") + part
    return bytes(out) + b"\x03" + draw(st.binary(max_size=5))


def answer(*attributes: Attribute, code: int = 0) -> Message:
    """An answer to Get-Printer-Attributes."""
    head = Group(
        Tag.OPERATION,
        (
            ipp.attribute("attributes-charset", ipp.charset()),
            ipp.attribute("attributes-natural-language", ipp.language()),
        ),
    )
    return Message(code, 1, (head, Group(Tag.PRINTER, attributes)))
