"""A printer's name is its own as long as nobody else has it, and fits in 63 bytes."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.facts_strategies import texts

from ippusbd.model import BusAddress, DeviceFacts, PrinterFacts, ProbeResult, ScannerFacts, UsbId
from ippusbd.wire import txt

NOBODY = DeviceFacts(UsbId(0x03F0, 0x0AFF), BusAddress(1, 2))
NAMED = DeviceFacts(UsbId(0x03F0, 0x0AFF), BusAddress(1, 2), "HP", "LaserJet")


def first(base: str, count: int) -> list[str]:
    return list(islice(txt.names(base), count))


def test_a_name_is_followed_by_numbered_ones():
    assert first("Office", 4) == ["Office", "Office (USB)", "Office (USB 2)", "Office (USB 3)"]


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("Office (USB)", ["Office (USB)", "Office (USB 2)"]),
        ("Office (USB 9)", ["Office (USB 9)", "Office (USB 10)"]),
        ("Office (USB 1)", ["Office (USB 1)", "Office (USB 1) (USB)"]),  # nothing of ours
        ("Office (USB) 2", ["Office (USB) 2", "Office (USB) 2 (USB)"]),
        ("(USB)", ["(USB)", "(USB) (USB)"]),
        ("", ["USB printer", "USB printer (USB)"]),
        ("\x00", ["USB printer", "USB printer (USB)"]),
    ],
)
def test_a_name_that_has_a_suffix_is_counted_on(base, expected):
    assert first(base, 2) == expected


def test_a_64_byte_name_is_cut_at_a_character():
    assert first("ü" * 32, 3) == ["ü" * 31, "ü" * 28 + " (USB)", "ü" * 27 + " (USB 2)"]
    assert first("x" * 57 + " printer", 2) == ["x" * 57 + " print", "x" * 57 + " (USB)"]


@pytest.mark.parametrize(
    ("printer", "scanner", "device", "name"),
    [
        (
            PrinterFacts(dns_sd_name="a", make_and_model="b", info="c"),
            ScannerFacts(make_and_model="d"),
            NAMED,
            "a",
        ),
        (PrinterFacts(make_and_model="b", info="c"), None, NAMED, "b"),
        (PrinterFacts(info="c"), None, NAMED, "c"),
        (PrinterFacts(dns_sd_name="\x1b[0m"), None, NAMED, "HP LaserJet"),
        (None, ScannerFacts(make_and_model="d"), NAMED, "HP LaserJet"),
        (None, ScannerFacts(make_and_model="d"), NOBODY, "d"),
        (None, None, NOBODY, "USB printer 03f0:0aff"),
    ],
)
def test_names_come_from_the_best_source_there_is(printer, scanner, device, name):
    probe = ProbeResult(device, printer, scanner)
    assert txt.base_name(probe) == name
    assert txt.services(probe, port=1).name == name


@given(texts)
def test_any_base_gives_different_names_within_the_limit(base):
    names = first(base, 12)
    assert len(set(names)) == 12
    for number, name in enumerate(names):
        assert 1 <= len(name.encode()) <= 63
        assert name.isprintable()
        assert name == name.strip()
        assert number == 0 or name.endswith(")")


@given(st.text(max_size=80), st.integers(1, 12))
def test_a_remembered_name_leads_on_to_the_same_names(base, remembered):
    names = first(base, 20)
    assert first(names[remembered], 5) == names[remembered : remembered + 5]
