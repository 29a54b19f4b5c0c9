"""INI files are read as ipp-usb reads them, and nothing in them is skipped silently."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.ini_lines import Line, lines


def read(document: str) -> list[tuple[int, str, str, str]]:
    return [(each.number, each.section, each.key, each.value) for each in lines(document)]


def test_settings_know_their_section_and_line() -> None:
    document = "# first\n[a b]  ; why\n  one two = 1 # it\n\n[c]\nx=\n"
    assert read(document) == [
        (2, "a b", "", ""),
        (3, "a b", "one two", "1"),
        (5, "c", "", ""),
        (6, "c", "x", ""),
    ]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"a # b ; c"', "a # b ; c"),
        ('  "  a "  ; a comment', "  a "),
        (r'"\"x\" \\ \x41\101"', '"x" \\ AA'),
        ('""', ""),
        ("a, \\\n   b ; and why", "a,b"),
        ("a \\\n", "a"),
        ("lp, @lp", "lp, @lp"),
    ],
)
def test_quotes_escapes_comments_and_continued_lines(written: str, value: str) -> None:
    (line,) = lines(f"key = {written}")
    assert (line.key, line.value, line.error) == ("key", value, "")


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ("key", "must be KEY = VALUE"),
        ("= value", "must be KEY = VALUE"),
        ("# no\n[open", "a section must end with ]"),
        ("[open # ]", "a section must end with ]"),
        ('key = "open', "a quoted text must end with a quote"),
    ],
)
def test_a_line_that_cannot_be_read_says_why_and_the_next_one_is_read(row: str, error: str) -> None:
    *_, bad, good = lines(f"[before]\n{row}\nnext = 1\n")
    assert (bad.error, bad.text) == (error, row.splitlines()[-1])
    section = "" if row.endswith(("[open", "]")) else "before"
    assert good == Line(bad.number + 1, section, "next", "1", "", "next = 1")


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    for line in lines(text):
        assert 1 <= line.number <= text.count("\n") + 1
