"""Nothing a device calls itself reaches a terminal, a log or a DNS-SD record as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.wire.text import decoded, one_line, queue_name

any_text = st.text(st.characters(exclude_categories=()))  # surrogates too
hostile = st.lists(
    st.one_of(any_text, st.sampled_from(["\x1b", "\x1b[", "\x1b]", "\x07", "\\", "m", "  "]))
).map("".join)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Example MFP 4711", "Example MFP 4711"),
        ("Bürodrucker Nº 5 東京", "Bürodrucker Nº 5 東京"),
        ("  a \t\r\n b\x85c\u2028d\xa0 ", "a b c d"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", "ab"),
        ("\x1b]0;never ended", "]0;never ended"),
        ("a\x00\x7f\x9bb", "ab"),
        ("a\u202eb\u200bc\ufeff", "abc"),
        ("a \x00 b", "a b"),
        ("a\udcffb", "a\ufffdb"),
        ("\x1b[\x1b[31m31m", "[31m"),
        ("", ""),
    ],
)
def test_text_is_shown_on_one_line_without_tricks(text: str, shown: str):
    assert one_line(text, 80) == shown


@pytest.mark.parametrize(("limit", "shown"), [(6, "abcdef"), (5, "abcd…"), (1, "…"), (0, "")])
def test_a_cut_is_marked(limit: int, shown: str):
    assert one_line("abcdef", limit) == shown


@given(hostile, st.integers(0, 30))
def test_any_text_becomes_printable_short_and_stays_so(text: str, limit: int):
    shown = one_line(text, limit)

    assert shown.isprintable()
    assert len(shown) <= limit
    assert one_line(shown, limit) == shown


@given(st.binary())
def test_any_bytes_are_some_text(data: bytes):
    assert decoded(data).encode("utf-8") == data or decoded(data).encode("latin-1") == data


@pytest.mark.parametrize(
    ("name", "queue"),
    [("HP LaserJet (USB) #2", "HP_LaserJet_USB_2"), ("Büro", "B_ro"), ("(x)", "_x"), ("é", "")],
)
def test_queue_names_are_those_of_cups(name: str, queue: str):
    assert queue_name(name) == queue
