"""Keys are added to a file, and nothing of it is changed."""

from __future__ import annotations

import tomllib

import pytest

from ippusbd.toml_merge import Addition, merged, shown

FILE = """\
# mine
[listen]   # where
# port_min = 60000
port_max = 62000

[access]
text = \"\"\"
[dnssd]
\"\"\"
"""


def test_keys_stand_below_their_section_or_in_a_new_one():
    document = merged(
        FILE,
        [
            Addition("dnssd", "publisher", "off", "From there"),
            Addition("access", "print", ("lp", "@lp"), "From here"),
            Addition("listen", "port_min", 61000, "From here"),
            Addition("access", "scan", [1000], "From here"),
        ],
    )
    assert tomllib.loads(document) == {
        "listen": {"port_max": 62000, "port_min": 61000},
        "access": {"print": ["lp", "@lp"], "scan": [1000], "text": "[dnssd]\n"},
        "dnssd": {"publisher": "off"},
    }
    rows = document.splitlines()
    at = rows.index("[listen]   # where")
    assert rows[at + 1 : at + 3] == ["# From here", "port_min = 61000"]
    rest = iter(rows)
    assert all(row in rest for row in FILE.splitlines()), "every line is there, in order"


@pytest.mark.parametrize("document", ["", "# only a comment", "[log]", "a = 1\r\n[log]\r\n"])
def test_any_file_may_be_short(document: str):
    added = merged(document, [Addition("log", "level", "error", "c")])
    assert tomllib.loads(added) == tomllib.loads(document) | {"log": {"level": "error"}}


def test_values_are_written_as_toml():
    assert [shown(value) for value in ('a"b', 1, True, ["x", 1], ())] == [
        '"a\\"b"',
        "1",
        "true",
        '["x", 1]',
        "[]",
    ]
