"""Which pattern means which device, and which is the most specific."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.model import BusAddress, DeviceFacts, UsbId
from ippusbd.quirks.match import MatchTarget, ModelPattern, UsbPattern, glob, parse_usb_id


def device(manufacturer: str = "", product: str = "", usb_id: str = "03f0:1234") -> MatchTarget:
    vendor, product_id = usb_id.split(":")
    facts = DeviceFacts(
        UsbId(int(vendor, 16), int(product_id, 16)), BusAddress(1, 2), manufacturer, product
    )
    return MatchTarget.from_facts(facts)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("HP Laser 107a", "HP Laser 107a", True),
        ("hp laser 107A", "HP Laser 107a", True),
        ("HP Laser 107a", "HP Laser 107ab", False),
        ("HP*", "HP", True),
        ("*Flow*", "HP Color LaserJet Flow MFP", True),
        ("*Flow*", "HP Color LaserJet", False),
        ("a*a", "a", False),
        ("a*b*c", "aXbXc", True),
        ("a*b*c", "acb", False),
        ("[ab]", "a", False),
        ("?", "a", True),
        ("?", "ab", False),
        ("?", "", False),
        ("a?c*", "abcd", True),
        ("*?", "", False),
        (r"\?", "?", True),
        (r"\?", "a", False),
        (r"a\*", "a*", True),
        (r"a\*", "ab", False),
        ("a\\", "a\\", True),
        ("*", "", True),
    ],
)
def test_a_star_stands_for_any_text_and_a_question_mark_for_one_character(
    pattern: str, name: str, matches: bool
):
    assert glob(pattern, name) is matches


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=12))
def test_the_matcher_agrees_with_a_regular_expression(pattern: str, name: str):
    expected = (
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), name) is not None
    )
    assert glob(pattern, name) is expected
    assert fnmatch.fnmatchcase(name, pattern) is expected


def test_a_model_is_known_with_and_without_its_maker():
    assert ModelPattern("Brother QL-810W").matches(device("Brother", "QL-810W"))
    assert ModelPattern("HP LaserJet M406").matches(device("HP", "HP LaserJet M406"))
    assert ModelPattern("HP LaserJet M406").matches(device("Hewlett-Packard", "HP LaserJet M406"))


def test_a_device_without_a_name_is_meant_only_by_the_star():
    nameless = device()
    assert ModelPattern("*").matches(nameless)
    assert not ModelPattern("HP*").matches(nameless)


def test_ids_match_exactly_or_by_vendor():
    assert UsbPattern.parse("03F0:1234").matches(device())
    assert UsbPattern.parse("03f0:*").matches(device())
    assert not UsbPattern.parse("03f0:1235").matches(device())
    assert not UsbPattern.parse("04f0:*").matches(device())
    assert not UsbPattern.parse("03f0:*").matches(MatchTarget(names=("HP",)))


@pytest.mark.parametrize("text", ["", "03f0", "3f0:1", "*:1234", "03f0:12345", "03f0:*x", "g000:1"])
def test_other_texts_are_no_ids(text: str):
    with pytest.raises(ValueError, match="must be a USB id"):
        UsbPattern.parse(text)
    assert parse_usb_id(text) is None


def test_ranks_follow_id_then_literal_characters_then_vendor_then_star():
    ranked = [
        ModelPattern("*").rank,
        UsbPattern.parse("03f0:*").rank,
        ModelPattern("*J*").rank,
        ModelPattern("HP*").rank,
        ModelPattern("HP LaserJet").rank,
        UsbPattern.parse("03f0:1234").rank,
    ]
    assert ranked == sorted(ranked)
    assert len(set(ranked)) == len(ranked)


def test_what_a_person_types_is_an_id_or_a_name():
    assert MatchTarget.from_text("03F0:1234").usb_id == UsbId(0x03F0, 0x1234)
    assert MatchTarget.from_text("HP Laser 107a").names == ("HP Laser 107a",)
