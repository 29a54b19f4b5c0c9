"""The codec never trusts a byte, and never loses one either."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.ipp_strategies import item_streams, messages

from ippusbd.errors import BadIpp, IncompleteIpp
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Attribute, Group, Message, Tag, Value, decode, encode

HEADER = bytes.fromhex("0200 000b 00000001")


def item(tag: int, name: bytes = b"", value: bytes = b"") -> bytes:
    counted = (len(part).to_bytes(2, "big") + part for part in (name, value))
    return bytes([tag]) + b"".join(counted)


def message(*items: bytes) -> bytes:
    return HEADER + b"\x04" + b"".join(items) + b"\x03"


BEGIN = item(Tag.BEG_COLLECTION, b"media-size")
END = item(Tag.END_COLLECTION)
WIDTH = item(Tag.MEMBER_NAME, value=b"x-dimension") + item(Tag.INTEGER, value=b"\0\0\x52\x08")


# --- what is well-formed


def test_a_request_reads_as_the_specification_shows_it():
    # RFC 8010, appendix A.1, shortened
    data = (
        bytes.fromhex("0101 0002 00000001 01")
        + item(0x47, b"attributes-charset", b"utf-8")
        + item(0x48, b"attributes-natural-language", b"en-us")
        + item(0x45, b"printer-uri", b"ipp://printer.example.com/ipp/print/pinetree")
        + b"\x02"
        + item(0x21, b"copies", b"\0\0\0\x14")
        + item(0x44, b"sides", b"two-sided-long-edge")
        + b"\x03%!PDF..."
    )

    request, document_at = decode(data)

    assert request.version == (1, 1)
    assert request.code == ipp.Operation.PRINT_JOB
    assert request.request_id == 1
    assert [group.tag for group in request.groups] == [Tag.OPERATION, Tag.JOB]
    assert request.first_text(Tag.OPERATION, "printer-uri") == (
        "ipp://printer.example.com/ipp/print/pinetree"
    )
    assert request.first_integer(Tag.JOB, "copies") == 20
    assert data[document_at:] == b"%!PDF..."
    assert encode(request) == data[:document_at]


def test_more_values_of_one_attribute_have_no_name():
    data = message(item(0x44, b"sides", b"one-sided"), item(0x44, b"", b"two-sided-long-edge"))

    answer, _ = decode(data)

    sides = answer.get(Tag.PRINTER, "sides")
    assert sides is not None
    assert sides.texts == ("one-sided", "two-sided-long-edge")


def test_collections_hold_sets_and_collections():
    size = ipp.collection({"x-dimension": ipp.integer(21000), "y-dimension": ipp.range_(1, 9)})
    media = ipp.collection({"media-size": size, "media-type": [ipp.keyword("a"), ipp.name("b")]})
    sent = Message(0, 7, (Group(Tag.PRINTER, (ipp.attribute("media-col", media, media),)),))

    received, _ = decode(encode(sent))

    assert received == sent
    col = received.get(Tag.PRINTER, "media-col")
    assert col is not None
    assert col.plain[1] == {
        "media-size": ({"x-dimension": (21000,), "y-dimension": ((1, 9),)},),
        "media-type": ("a", "b"),
    }


def test_groups_of_one_tag_stay_apart_and_are_searched_in_order():
    jobs = tuple(Group(Tag.JOB, (ipp.attribute("job-id", ipp.integer(n)),)) for n in (4, 5))
    answer, _ = decode(encode(Message(0, 1, (Group(Tag.JOB), *jobs))))

    assert [group.get("job-id") is not None for group in answer.groups] == [False, True, True]
    assert answer.first_integer(Tag.JOB, "job-id") == 4
    assert answer.group(Tag.JOB) == Group(Tag.JOB)
    assert answer.group(Tag.PRINTER) == Group(Tag.PRINTER)
    assert answer.first_text(Tag.JOB, "job-name") is None
    assert answer.first_integer(Tag.JOB, "job-state") is None


def test_statuses_below_0x100_are_success():
    assert Message(ipp.Status.OK_CONFLICTING, 1).ok
    assert not Message(ipp.Status.BAD_REQUEST, 1).ok


def test_a_value_may_be_as_long_as_an_unsigned_count_says():
    # A signed count would be -5 here, and a loop over it would never end.
    data = message(item(Tag.OCTETS, b"blob", bytes(0xFFFB)))

    answer, offset = decode(data)

    assert len(answer.groups[0].attributes[0].values[0].raw) == 0xFFFB
    assert encode(answer) == data[:offset]


# --- what is not


@pytest.mark.parametrize(
    ("items", "fault"),
    [
        ([item(0x44, b"", b"stray")], "without a name"),
        ([END], "not opened"),
        ([BEGIN, item(Tag.END_COLLECTION, b"x")], "has a name or a value"),
        ([BEGIN, item(Tag.END_COLLECTION, b"", b"x")], "has a name or a value"),
        ([item(Tag.MEMBER_NAME, b"", b"m")], "member name outside of a collection"),
        ([BEGIN, item(Tag.MEMBER_NAME, b"x", b"m")], "with a name of its own"),
        ([BEGIN, item(Tag.INTEGER, b"x-dimension", bytes(4)), END], "attribute inside"),
        ([BEGIN, item(Tag.INTEGER, b"", bytes(4)), END], "without a name"),
        ([BEGIN, WIDTH], "not closed"),
        ([BEGIN, WIDTH, b"\x02"], "not closed"),
        ([b"\x00"], "tag 0"),
    ],
)
def test_each_broken_rule_is_named(items, fault):
    with pytest.raises(BadIpp, match=fault):
        decode(message(*items))


def test_an_attribute_before_any_group_is_refused_even_when_tolerant():
    with pytest.raises(BadIpp, match="outside"):
        decode(HEADER + item(0x44, b"sides", b"one-sided") + b"\x03", tolerant=True)


@pytest.mark.parametrize("page", [b"<html>", b"<", b"HTTP/1.1 404 Not Found\r\n\r\n"])
def test_a_web_page_is_no_message_from_its_first_byte(page):
    with pytest.raises(BadIpp, match="not an IPP message") as caught:
        decode(page)
    assert not isinstance(caught.value, IncompleteIpp)


def test_nesting_ends_at_the_limit():
    def nested(levels: int) -> bytes:
        inner = item(Tag.MEMBER_NAME, value=b"m") + item(Tag.BEG_COLLECTION)
        return message(BEGIN, inner * (levels - 1), END * levels)

    deepest, offset = decode(nested(16))
    assert encode(deepest) == nested(16)[:offset]
    with pytest.raises(BadIpp, match="over 16 deep"):
        decode(nested(17))
    with pytest.raises(BadIpp, match="over 16 deep"):
        decode(nested(17), tolerant=True)


def test_size_is_bounded_by_what_is_announced_not_by_what_came():
    limits = ipp.Limits(size_bytes=100)
    with pytest.raises(BadIpp, match="over 100 bytes") as caught:
        decode(HEADER + b"\x04" + item(Tag.OCTETS, b"blob", bytes(200))[:30], limits=limits)
    assert not isinstance(caught.value, IncompleteIpp)


@pytest.mark.parametrize(
    "many",
    [
        item(0x44, b"sides", b"a") + item(0x44) * 9,
        b"\x04" * 10,
        BEGIN + item(Tag.MEMBER_NAME) * 8 + END,
        END * 10,
    ],
)
def test_items_of_every_kind_are_counted(many):
    data = message(many)
    assert decode(data, tolerant=True, limits=ipp.Limits(items=11))
    with pytest.raises(BadIpp, match="over 10 items"):
        decode(data, tolerant=True, limits=ipp.Limits(items=10))


# --- what known printers do


def test_pantum_names_members_like_attributes():
    broken = message(
        BEGIN,
        item(Tag.INTEGER, b"x-dimension", b"\0\0\x52\x08"),
        item(Tag.INTEGER, b"y-dimension", b"\0\0\x74\x04"),
        END,
        item(Tag.KEYWORD, b"sides-supported", b"one-sided"),
    )

    answer, _ = decode(broken, tolerant=True)

    assert answer.groups[0].attributes[0].plain == (
        {"x-dimension": (21000,), "y-dimension": (29700,)},
    )
    assert answer.groups[0].attributes[1].texts == ("one-sided",)


def test_canon_forgets_to_close_collections():
    broken = message(
        item(Tag.BEG_COLLECTION, b"media-col-default"),
        item(Tag.MEMBER_NAME, value=b"media-size") + item(Tag.BEG_COLLECTION),
        WIDTH,
        item(Tag.KEYWORD, b"sides-supported", b"one-sided"),
        item(Tag.BEG_COLLECTION, b"media-col-ready"),
        WIDTH,
    )
    answer, _ = decode(broken, tolerant=True)

    width = ipp.collection({"x-dimension": ipp.integer(21000)})
    assert answer.groups[0].attributes == (
        Attribute("media-col-default", (ipp.collection({"media-size": width}),)),
        Attribute("sides-supported", (ipp.keyword("one-sided"),)),
        Attribute("media-col-ready", (width,)),
    )


def test_members_outside_of_collections_are_nobodys():
    # Kyocera FS-4200DN
    broken = message(
        item(Tag.KEYWORD, b"sides-supported", b"one-sided"),
        WIDTH,
        END,
        item(Tag.NAME, b"printer-name", b"lp"),
    )
    answer, _ = decode(broken, tolerant=True)
    assert answer.groups[0].attributes == (
        Attribute("sides-supported", (ipp.keyword("one-sided"),)),
        Attribute("printer-name", (ipp.name("lp"),)),
    )


def test_a_member_that_is_named_twice_keeps_its_first_name():
    broken = message(
        BEGIN,
        item(Tag.MEMBER_NAME, value=b"x-dimension"),
        item(Tag.INTEGER, b"x", bytes(4)),
        item(Tag.MEMBER_NAME, b"name", b"y-dimension"),
        item(Tag.INTEGER, b"", bytes(4)),
        END,
    )
    answer, _ = decode(broken, tolerant=True)
    assert answer.groups[0].attributes[0].plain == ({"x-dimension": (0,), "y-dimension": (0,)},)


def test_tolerance_drops_what_has_no_name_or_no_value_and_keeps_the_rest():
    broken = message(
        item(Tag.INTEGER, b"", bytes(4)),
        item(Tag.MEMBER_NAME, b"", b"lost"),
        END,
        item(Tag.BEG_COLLECTION, b"media-size", b"junk"),
        item(Tag.INTEGER, b"", bytes(4)),
        item(Tag.MEMBER_NAME, value=b"nothing"),
        item(Tag.MEMBER_NAME, value=b"x-dimension"),
        item(Tag.INTEGER, b"", b"\0\0\0\1"),
        item(Tag.END_COLLECTION, b"x", b"y"),
        item(Tag.NAME, b"printer-name", b"lp"),
        item(Tag.BEG_COLLECTION, b"open"),
    )
    answer, _ = decode(broken, tolerant=True)

    assert answer.groups[0].attributes == (
        Attribute("media-size", (ipp.collection({"x-dimension": ipp.integer(1)}),)),
        Attribute("printer-name", (ipp.name("lp"),)),
        Attribute("open", (ipp.collection({}),)),
    )


def test_sanitising_makes_a_strict_reader_content_and_keeps_what_follows():
    broken = message(BEGIN, item(Tag.INTEGER, b"x-dimension", bytes(4)), END) + b"tail"
    good = message(
        BEGIN, item(Tag.MEMBER_NAME, value=b"x-dimension"), item(Tag.INTEGER, b"", bytes(4)), END
    )
    assert ipp.sanitize(broken) == good + b"tail"


# --- what we build


@pytest.mark.parametrize(
    "wrong",
    [
        Message(-1, 1),
        Message(0, 1 << 32),
        Message(0, 1, version=(256, 0)),
        Message(0, 1, (Group(Tag.END),)),
        Message(0, 1, (Group(0x44),)),
        Message(0, 1, (Group(4, (Attribute("x", ()),)),)),
        Message(0, 1, (Group(4, (Attribute("", (ipp.no_value(),)),)),)),
        Message(0, 1, (Group(4, (Attribute("x" * 65536, (ipp.no_value(),)),)),)),
        Message(0, 1, (Group(4, (Attribute("x", (ipp.octets(bytes(65536)),)),)),)),
        Message(0, 1, (Group(4, (Attribute("\N{SNOWMAN}", (ipp.no_value(),)),)),)),
        Message(0, 1, (Group(4, (Attribute("x", (Value(0x03),)),)),)),
        Message(0, 1, (Group(4, (Attribute("x", (Value(0x100),)),)),)),
        Message(0, 1, (Group(4, (Attribute("x", (Value(Tag.END_COLLECTION),)),)),)),
    ],
)
def test_what_cannot_be_encoded_is_refused(wrong):
    with pytest.raises(BadIpp):
        encode(wrong)


def test_encoding_has_the_same_depth_limit_as_decoding():
    def nested(levels: int) -> Message:
        value = ipp.collection({})
        for _ in range(levels - 1):
            value = ipp.collection({"m": value})
        return Message(0, 1, (Group(4, (ipp.attribute("x", value),)),))

    assert decode(encode(nested(16)))[0] == nested(16)
    with pytest.raises(BadIpp, match="over 16 deep"):
        encode(nested(17))


# --- for all


@given(messages, st.binary(max_size=20))
def test_what_is_encoded_decodes_to_the_same_message(sent, document):
    data = encode(sent)
    assert decode(data + document) == (sent, len(data))
    assert decode(data, tolerant=True) == (sent, len(data))


@given(messages, st.data())
def test_a_cut_message_asks_for_more_wherever_it_is_cut(sent, draw):
    data = encode(sent)
    end = draw.draw(st.integers(0, len(data) - 1))
    with pytest.raises(IncompleteIpp):
        decode(data[:end])


@given(st.one_of(item_streams(), st.binary(max_size=400).map(HEADER.__add__), st.binary()))
@example(HEADER + b"\x04" + BEGIN + item(0x4A, b"", b"") + item(0x21, b"", b"") + END + b"\x03")
@settings(max_examples=400)
def test_any_bytes_give_a_message_or_our_error(data):
    try:
        got, offset = decode(data)
    except BadIpp:
        got = None
    if got is not None:
        assert encode(got) == data[:offset]


@given(item_streams())
@settings(max_examples=400)
def test_any_items_read_tolerantly_become_well_formed(data):
    try:
        clean = ipp.sanitize(data)
    except BadIpp:
        return
    got, _ = decode(clean)  # a strict reading
    assert ipp.sanitize(clean) == clean
    for group in got.groups:
        for attr in group.attributes:
            assert attr.name
            assert attr.values
