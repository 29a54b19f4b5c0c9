"""IEEE 1284 device ids, as devices spell them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.wire.descriptors import device_id_fields


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("", {}),
        ("MFG:HP;MDL:LJ;CMD:PCL,PDF;", {"MFG": "HP", "MDL": "LJ", "CMD": "PCL,PDF"}),
        (
            "MANUFACTURER:Brother; MODEL: X ;COMMAND SET:PJL;URF:W8",
            {"MFG": "Brother", "MDL": "X", "CMD": "PJL", "URF": "W8"},
        ),
        ("mfg:a;MFG:b;MANUFACTURER:c", {"MFG": "a"}),
        ("noise;:x;SN:a:b;DES:\x1b[31mred", {"SN": "a:b", "DES": "red"}),
    ],
)
def test_keys_are_short_upper_case_and_the_first_counts(text, parsed):
    assert device_id_fields(text) == parsed


@given(st.text())
def test_values_are_one_printable_line(text):
    assert all(key and value.isprintable() for key, value in device_id_fields(text).items())
