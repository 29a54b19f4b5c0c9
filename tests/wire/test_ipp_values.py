"""A value is its bytes; a meaning is given only where the bytes have one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ipp_strategies import values

from ippusbd.errors import BadIpp
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Attribute, Tag, Value


@pytest.mark.parametrize(
    ("built", "meaning"),
    [
        (ipp.integer(-5), -5),
        (ipp.enum(3), 3),
        (ipp.boolean(True), True),
        (ipp.boolean(False), False),
        (ipp.octets(b"\x00\xff"), b"\x00\xff"),
        (ipp.datetime(bytes(11)), bytes(11)),
        (ipp.range_(1, 99), (1, 99)),
        (ipp.resolution(600, 300), (600, 300, 3)),
        (ipp.text("Büro"), "Büro"),
        (ipp.name("lp"), "lp"),
        (ipp.text_lang("de", "Büro"), "Büro"),
        (ipp.keyword("none"), "none"),
        (ipp.uri("ipp://localhost/"), "ipp://localhost/"),
        (ipp.uri_scheme("ipp"), "ipp"),
        (ipp.charset(), "utf-8"),
        (ipp.language(), "en"),
        (ipp.mime("image/urf"), "image/urf"),
        (ipp.no_value(), None),
        (ipp.unknown(), None),
        (ipp.collection({"a": ipp.integer(1)}), {"a": (1,)}),
    ],
)
def test_what_is_built_means_what_was_said(built, meaning):
    assert built.python == meaning
    assert type(built.python) is type(meaning)


def test_a_text_with_a_language_is_a_text():
    # Brother MFC-L8390CDW sends textWithLanguage where textWithoutLanguage is due.
    assert ipp.text_lang("en-us", "Brother").text == "Brother"
    assert Value(Tag.NAME_LANG, b"\0\2en\0\3lpd").text == "lpd"


@pytest.mark.parametrize(
    "raw", [b"", b"\0", b"\0\2en", b"\0\2en\0\4lpd", b"\0\2en\0\2lpd", b"\xff\xffen\0\3lpd"]
)
def test_a_text_with_a_language_that_does_not_add_up_stays_bytes(raw):
    value = Value(Tag.TEXT_LANG, raw)
    assert value.python == raw
    assert value.text is None


@pytest.mark.parametrize("tag", [Tag.INTEGER, Tag.ENUM, Tag.BOOLEAN, Tag.RANGE, Tag.RESOLUTION])
def test_numbers_of_a_wrong_size_stay_bytes(tag):
    value = Value(tag, b"\0\1\2")
    assert value.python == b"\0\1\2"
    assert value.integer is None
    assert value.boolean is None


def test_bad_utf8_loses_only_the_bad_bytes():
    assert Value(Tag.TEXT, b"B\xfcro").text == "B\N{REPLACEMENT CHARACTER}ro"
    assert ipp.text("lone \ud800").text == "lone ?"


def test_a_boolean_is_no_integer_and_an_integer_no_text():
    assert ipp.boolean(True).integer is None
    assert ipp.integer(1).boolean is None
    assert ipp.integer(1).text is None


def test_an_attribute_gives_its_values_by_kind_in_order():
    mixed = Attribute("x", (ipp.integer(1), ipp.keyword("a"), ipp.enum(2), ipp.name("b")))
    assert mixed.integers == (1, 2)
    assert mixed.texts == ("a", "b")
    assert mixed.plain == (1, "a", 2, "b")


@pytest.mark.parametrize(
    "build",
    [
        lambda: ipp.integer(1 << 31),
        lambda: ipp.range_(0, 1 << 31),
        lambda: ipp.resolution(1, 1, 200),
        lambda: ipp.text_lang("x" * 65536, ""),
    ],
)
def test_numbers_that_do_not_fit_are_refused(build):
    with pytest.raises(BadIpp):
        build()


@given(values)
def test_every_value_means_something(value):
    assert isinstance(value.python, bool | int | str | bytes | tuple | dict | None)


@given(st.sampled_from([Tag.TEXT_LANG, Tag.NAME_LANG]), st.binary(max_size=20))
def test_no_bytes_break_a_text_with_language(tag, raw):
    assert isinstance(Value(tag, raw).python, str | bytes)
