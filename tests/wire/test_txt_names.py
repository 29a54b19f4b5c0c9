"""A printer's name differs from those of the network by its suffix, and fits in 63 bytes."""

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


def first(base: str, count: int, suffix: str = txt.SUFFIX) -> list[str]:
    return list(islice(txt.names(base, suffix), count))


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        (" (USB)", ["Office (USB)", "Office (USB 2)", "Office (USB 3)"]),
        (" (Kabel)", ["Office (Kabel)", "Office (Kabel 2)", "Office (Kabel 3)"]),
        (" at the cable", ["Office at the cable", "Office at the cable 2"]),
        ("", ["Office", "Office (USB)", "Office (USB 2)"]),
    ],
)
def test_every_name_ends_with_the_suffix_and_further_ones_with_its_number(suffix, expected):
    assert first("Office", len(expected), suffix) == expected
    assert first(expected[1], len(expected) - 1, suffix) == expected[1:]


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("Office (USB)", ["Office (USB)", "Office (USB 2)"]),
        ("Office (USB 9)", ["Office (USB 9)", "Office (USB 10)"]),
        ("Office (USB 1)", ["Office (USB 1) (USB)", "Office (USB 1) (USB 2)"]),  # nothing of ours
        ("Office (USB) 2", ["Office (USB) 2 (USB)", "Office (USB) 2 (USB 2)"]),
        ("(USB)", ["(USB) (USB)", "(USB) (USB 2)"]),
        ("", ["USB printer (USB)", "USB printer (USB 2)"]),
        ("\x00", ["USB printer (USB)", "USB printer (USB 2)"]),
    ],
)
def test_a_name_that_has_a_suffix_is_counted_on(base, expected):
    assert first(base, 2) == expected


def test_a_64_byte_name_is_cut_at_a_character():
    assert first("ü" * 32, 2) == ["ü" * 28 + " (USB)", "ü" * 27 + " (USB 2)"]
    assert first("ü" * 32, 2, "") == ["ü" * 31, "ü" * 28 + " (USB)"]
    assert first("x" * 57 + " printer", 1) == ["x" * 57 + " (USB)"]


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
    assert txt.services(probe, port=1).name == f"{name} (USB)"
    assert txt.services(probe, port=1, suffix="").name == name


OFFICE = ProbeResult(NAMED, PrinterFacts(dns_sd_name="Office", info="First floor"), None)


@pytest.mark.parametrize(
    ("name", "suffix", "taken_over", "kept"),
    [
        ("Office (USB)", " (USB)", False, True),
        ("Office (USB 3)", " (USB)", False, True),
        ("Office", " (USB)", False, False),  # the suffix was off
        ("Office (USB)", " (Kabel)", False, False),  # the suffix is another one now
        ("Desk (USB)", " (USB)", False, False),  # somebody renamed the printer
        ("", " (USB)", False, False),
        ("Office", " (USB)", True, True),
        ("Office (USB 1)", " (USB)", True, True),  # ipp-usb counts from 1
        ("First floor (USB)", "", True, True),  # ipp-usb prefers printer-info
        ("Desk (USB)", " (USB)", True, False),
    ],
)
def test_a_name_is_kept_until_the_printer_or_the_suffix_changes(name, suffix, taken_over, kept):
    assert txt.may_keep(name, OFFICE, suffix, taken_over=taken_over) is kept


@given(texts)
def test_any_base_gives_different_names_within_the_limit(base):
    names = first(base, 12)
    assert len(set(names)) == 12
    for name in names:
        assert 1 <= len(name.encode()) <= 63
        assert name.isprintable()
        assert name == name.strip()
        assert name.endswith(")")


@given(st.text(max_size=80), st.integers(0, 12))
def test_a_remembered_name_leads_on_to_the_same_names(base, remembered):
    names = first(base, 20)
    assert first(names[remembered], 5) == names[remembered : remembered + 5]
