"""Lines of keys, also where strings look like headers."""

from __future__ import annotations

import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st

from ippusbd.toml_lines import key_lines, line_of

DOCUMENT = '''\
# [not] = "a header"
top = "x"

[listen]      # a comment with [brackets
port_min = 1
"port max" = [
    1, # [no]
    2,
]
text = """
[fake]
key = 1
"""
raw = \'\'\'
[[fake]]\'\'\'

[[quirk]]
reason = "a \\" [b] # c"
[[ quirk ]]
reason = 'x'
a.b = {c = 1, d = "}"}
[quirk.sub]
z = 1
'''


def test_headers_and_keys_are_found_and_look_alikes_in_strings_are_not():
    assert tomllib.loads(DOCUMENT)
    assert key_lines(DOCUMENT) == {
        ("top",): 2,
        ("listen",): 4,
        ("listen", "port_min"): 5,
        ("listen", "port max"): 6,
        ("listen", "text"): 10,
        ("listen", "raw"): 14,
        ("quirk", 0): 17,
        ("quirk", 0, "reason"): 18,
        ("quirk", 1): 19,
        ("quirk", 1, "reason"): 20,
        ("quirk", 1, "a", "b"): 21,
        ("quirk", "sub"): 22,
        ("quirk", "sub", "z"): 23,
    }


def test_what_stands_in_an_inline_table_has_the_line_of_its_statement():
    lines = key_lines("\n[log]\nlevels = {usb = 1}\n")
    assert line_of(lines, ("log", "levels", "usb")) == 3
    assert line_of(lines, ("nowhere",)) == 1


_words = st.text("abcxyz_", min_size=1, max_size=6)
_scalars = st.one_of(
    st.integers(0, 99).map(str),
    st.text("ab[]{}#\"= '", max_size=12).map(
        lambda t: '"' + t.replace('"', '\\"') + '"',
    ),
    st.text("ab[]{}#= \n", max_size=12).map(lambda t: f'"""{t}"""'),
    st.text("ab[]{}#= \n", max_size=12).map(lambda t: f"'''{t}'''"),
)
_values = st.one_of(
    _scalars,
    st.lists(_scalars, max_size=3).map(lambda items: "[\n" + ",\n".join(items) + "]"),
)


@given(st.dictionaries(_words, _values, max_size=6), st.lists(st.booleans(), max_size=6))
def test_every_key_is_found_on_the_line_where_it_was_written(table, blanks):
    text, expected = "[section]\n", {("section",): 1}
    for number, (key, value) in enumerate(table.items()):
        text += "\n# [[comment\n" if number < len(blanks) and blanks[number] else ""
        expected["section", key] = text.count("\n") + 1
        text += f"{key} = {value} # why\n"
    assert set(tomllib.loads(text)["section"]) == set(table)
    assert key_lines(text) == expected


_pieces = st.sampled_from(
    [
        "[",
        "]",
        "[[",
        "]]",
        "a",
        "b.c",
        '"',
        "'",
        '"""',
        "'''",
        "=",
        " = 1",
        "\n",
        "#",
        "\\",
        "{",
        "}",
    ]
)


@settings(max_examples=2000)
@given(st.lists(_pieces, max_size=14).map("".join))
def test_whatever_tomllib_takes_is_walked_to_the_end(text: str):
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert {path[0] for path in key_lines(text)} == set(tables)
