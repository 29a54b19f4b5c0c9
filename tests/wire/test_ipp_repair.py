"""Badly encoded messages are read as the printer meant them, and leave as CUPS can read them."""

from __future__ import annotations

import pytest

from ippusbd.errors import BadIpp
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Tag, decode

SIZE = {"x-dimension": ipp.integer(21000), "y-dimension": ipp.integer(29700)}


def item(tag: int, name: bytes = b"", raw: bytes = b"") -> bytes:
    return b"".join(
        (bytes([tag]), len(name).to_bytes(2, "big"), name, len(raw).to_bytes(2, "big"), raw)
    )


def member(name: bytes, value: ipp.Value) -> bytes:
    return item(Tag.MEMBER_NAME, raw=name) + item(value.tag, raw=value.raw)


def message(*items: bytes) -> bytes:
    return b"\x02\x00\x00\x00\x00\x00\x00\x01\x04" + b"".join(items) + b"\x03"


def begin(name: bytes = b"") -> bytes:
    return item(Tag.BEG_COLLECTION, name)


END = item(Tag.END_COLLECTION)
DIMENSIONS = b"".join(member(name.encode(), value) for name, value in SIZE.items())
A4 = item(Tag.MEMBER_NAME, raw=b"media-size") + begin() + DIMENSIONS + END
PLAIN = member(b"media-type", ipp.keyword("stationery"))
PHOTO = member(b"media-type", ipp.keyword("photographic"))
NAME = item(Tag.NAME, b"printer-name", b"lp")


def repaired(*items: bytes) -> dict[str, tuple[ipp.Plain, ...]]:
    """The attributes of the repaired message, which a strict reader accepts."""
    answer, _ = decode(ipp.sanitize(message(*items)))
    return {attribute.name: attribute.plain for attribute in answer.groups[0].attributes}


def media(kind: str) -> dict[str, ipp.Plain]:
    size = {"x-dimension": (21000,), "y-dimension": (29700,)}
    return {"media-size": (size,), "media-type": (kind,)}


def test_the_next_value_of_an_unclosed_collection_is_a_value_of_its_attribute():
    # Canon MF262dw II
    assert repaired(begin(b"media-col-ready"), A4, PLAIN, begin(), A4, PHOTO, NAME) == {
        "media-col-ready": (media("stationery"), media("photographic")),
        "printer-name": ("lp",),
    }


def test_members_after_a_collection_that_was_closed_too_early_belong_to_it():
    # Kyocera FS-4200DN
    assert repaired(
        begin(b"media-col-database"), A4, END, PLAIN, END, begin(), A4, END, PHOTO, END, NAME
    ) == {
        "media-col-database": (media("stationery"), media("photographic")),
        "printer-name": ("lp",),
    }


def test_a_value_of_another_type_is_dropped_with_all_that_is_in_it():
    assert repaired(
        item(Tag.KEYWORD, b"sides", b"one"),
        item(Tag.INTEGER, raw=bytes(4)),
        begin(),
        A4,
        PLAIN,
        END,
        item(Tag.KEYWORD, raw=b"two"),
        NAME,
    ) == {"sides": ("one", "two"), "printer-name": ("lp",)}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Tag.KEYWORD, Tag.NAME),
        (Tag.TEXT_LANG, Tag.TEXT),
        (Tag.NAME, Tag.NO_VALUE),
        (Tag.INTEGER, Tag.RANGE),
        (Tag.RANGE, Tag.INTEGER),
        (0x7F, 0x7F),
    ],
)
def test_types_that_cups_reads_in_one_set_are_well_formed(first: int, second: int):
    decode(message(item(first, b"a"), item(second)))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Tag.KEYWORD, Tag.BEG_COLLECTION),
        (Tag.INTEGER, Tag.ENUM),
        (Tag.NO_VALUE, Tag.KEYWORD),
        (Tag.BEG_COLLECTION, Tag.INTEGER),
    ],
)
def test_a_set_of_different_types_is_badly_encoded(first: int, second: int):
    closed = {Tag.BEG_COLLECTION: END}
    body = message(item(first, b"a"), closed.get(first, b""), item(second), closed.get(second, b""))
    with pytest.raises(BadIpp, match="values of different types in one set"):
        decode(body)
    decode(ipp.sanitize(body))


def test_a_repaired_collection_may_be_as_deep_as_a_sound_one():
    def nested(levels: int) -> bytes:
        inside = item(Tag.MEMBER_NAME, raw=b"m") + begin()
        return message(begin(b"a") + inside * (levels - 1))

    decode(ipp.sanitize(nested(16)))
    with pytest.raises(BadIpp, match="over 16 deep"):
        ipp.sanitize(nested(17))


def test_a_member_without_a_value_is_badly_encoded_and_dropped():
    body = message(begin(b"a"), item(Tag.MEMBER_NAME, raw=b"empty"), PLAIN, END)
    with pytest.raises(BadIpp, match="member without a value"):
        decode(body)
    answer, _ = decode(ipp.sanitize(body))
    assert answer.groups[0].attributes[0].plain == ({"media-type": ("stationery",)},)
