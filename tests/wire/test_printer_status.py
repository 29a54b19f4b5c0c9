"""What a printer says of how it is: from its attributes to words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.model import Condition, Supply
from ippusbd.wire import ipp, printer_status
from ippusbd.wire.ipp import Group, Message, Tag, Value
from ippusbd.wire.state_reasons import Severity, advice, all_advice, state_name


def told(**attributes: tuple[Value, ...]) -> Condition:
    named = (ipp.attribute(name.replace("_", "-"), *given) for name, given in attributes.items())
    return printer_status.read(Message(0, 1, (Group(Tag.PRINTER, tuple(named)),)))


def texts(*names: str) -> tuple[Value, ...]:
    return tuple(ipp.name(name) for name in names)


def integers(*numbers: int) -> tuple[Value, ...]:
    return tuple(ipp.integer(number) for number in numbers)


def test_marker_lists_side_by_side_become_supplies():
    now = told(
        printer_state=(ipp.enum(5),),
        printer_state_reasons=(ipp.keyword("media-empty-error"), ipp.keyword("none")),
        marker_names=texts("Black", "Waste"),
        marker_types=(ipp.keyword("toner"), ipp.keyword("waste-toner")),
        marker_colors=texts("#000000", "none"),
        marker_levels=integers(7, 95),
        marker_low_levels=integers(10, 0),
        marker_high_levels=integers(100, 90),
        printer_impressions_completed=integers(4711),
    )
    assert (now.state, now.reasons, now.pages) == (5, ("media-empty-error",), 4711)
    assert now.supplies == (
        Supply("Black", "toner", "#000000", 7, low=True),
        Supply("Waste", "waste-toner", "", 95, low=True, fills=True),
    )


def test_a_level_the_printer_does_not_know_is_none_and_not_low():
    now = told(marker_names=texts("Ink"), marker_levels=integers(-2))
    assert now.supplies == (Supply("Ink"),)


def test_lists_of_different_lengths_belong_to_no_supply():
    assert told(marker_names=texts("A", "B"), marker_levels=integers(1)).supplies == ()
    short = told(
        marker_names=texts("A", "B"), marker_levels=integers(50, 60), marker_colors=texts("#000000")
    )
    assert [each.color for each in short.supplies] == ["", ""]


def test_a_printer_without_markers_is_read_by_its_supply_strings():
    raw = "index=1;class=supplyThatIsConsumed;type=ink;maxcapacity=250;level=20;"
    waste = "index=2;class=receptacleThatIsFilled;type=wasteInk;maxcapacity=100;level=30;"
    now = told(
        printer_supply=tuple(ipp.octets(each.encode()) for each in (raw, waste, "junk", "type=x")),
        printer_supply_description=texts("Black ink", "Pad"),
    )
    assert now.supplies == (
        Supply("Black ink", "ink", "", 8, low=True),
        Supply("Pad", "wasteInk", "", 30, fills=True),
        Supply("x", "x"),
    )


@pytest.mark.parametrize(
    "level", ["9" * 400, "-" + "9" * 400, "9" * 5000, "1e999", "inf", "\u0665"]
)
def test_a_level_that_is_no_reasonable_number_is_unknown(level: str):
    raw = f"type=toner;class=supplyThatIsConsumed;maxcapacity=1;level={level};".encode()
    now = told(printer_supply=(ipp.octets(raw),))
    assert [one.level for one in now.supplies] == [None]


def test_control_characters_of_a_printer_reach_nobody():
    now = told(
        marker_names=texts("Bl\x1b[31mack\n"),
        marker_levels=integers(1),
        printer_state_message=(ipp.text("hot\x07\r\n"),),
        printer_state_reasons=(ipp.keyword("x\x1b]0;owned\x07y"),),
    )
    assert (now.supplies[0].name, now.message) == ("Black", "hot")
    assert "".join(now.reasons).isprintable()


@given(
    st.dictionaries(
        st.sampled_from(printer_status.REQUESTED),
        st.lists(st.builds(Value, st.integers(0x10, 0x4A), st.binary(max_size=60)), max_size=9),
    )
)
def test_whatever_stands_in_the_attributes_a_condition_comes_out(attributes):
    now = told(**{name.replace("-", "_"): tuple(v) for name, v in attributes.items()})
    assert all(s.level is None or 0 <= s.level <= 100 for s in now.supplies)
    assert all(one.text.isprintable() for one in all_advice(now.reasons))


@pytest.mark.parametrize(
    ("reason", "text", "severity"),
    [
        ("media-empty-error", "paper out", Severity.ERROR),
        ("media-empty", "paper out", Severity.ERROR),
        ("media-empty-report", "paper out", Severity.REPORT),
        ("cover-open-error", "cover open", Severity.ERROR),
        ("marker-supply-low-warning", "supply low", Severity.WARNING),
        ("com.example-tray_7-sulks-error", "com.example tray 7 sulks", Severity.ERROR),
        ("", "unknown", Severity.WARNING),
    ],
)
def test_a_reason_is_told_in_words(reason: str, text: str, severity: Severity):
    assert (advice(reason).text, advice(reason).severity) == (text, severity)


def test_the_worst_comes_first_and_nothing_twice():
    reasons = ["standby", "media-low-warning", "media-jam-error", "media-low-report", "none"]
    told = all_advice(reasons)
    assert [each.text for each in told] == ["paper jam", "paper low", "sleeping"]
    assert [each.severity for each in told][:2] == [Severity.ERROR, Severity.WARNING]
    assert told[0].remedy == "remove the jammed paper"


def test_states_have_names():
    assert [state_name(state) for state in (3, 4, 5, 9, None)] == [
        "idle", "printing", "stopped", "", ""
    ]  # fmt: skip
