"""The verdict, row by row, and its rules as properties over random evidence."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ippusbd.daemon.recovery.evidence import Evidence, InterfaceEvidence, PortStatus, StateReport
from ippusbd.daemon.recovery.verdict import (
    Ask,
    Gone,
    InterfaceUnresponsive,
    Patience,
    PrinterUnresponsive,
    Wait,
    at_work,
    is_printing,
    judge,
    may_print,
    reason_to_wait,
    serves,
)
from ippusbd.exchange.query import Asked, Outcome
from ippusbd.model import Awaits
from ippusbd.usbio.pool_types import Purpose, SlotState
from ippusbd.wire.ipp import PrinterState

NOW = 10_000.0
PATIENCE = Patience(check_s=30, idle_s=300, blind_s=3600)
PAPER_OUT = ("media-empty-error",)
FREE = InterfaceEvidence(1, SlotState.FREE)
HELD = InterfaceEvidence(1, SlotState.RELEASED, held=True)


def stalled(
    for_s: float,
    kind: Purpose = Purpose.DOCUMENT,
    *,
    number: int = 0,
    taken: bool = False,
    awaits: Awaits = Awaits.PRINTER_TAKES,
) -> InterfaceEvidence:
    """An exchange that has waited for the printer for `s` seconds."""
    since = NOW - for_s
    return InterfaceEvidence(
        number, SlotState.LEASED, False, kind, awaits, taken, began_at=since - 10, since=since
    )


def question(outcome: Outcome, ago_s: float, interface: int | None = 1) -> Asked:
    return Asked(interface, NOW - ago_s, outcome)


def answers(*ago_s: float) -> tuple[Asked, ...]:
    return tuple(question(Outcome.ANSWERED, ago) for ago in ago_s)


def reported(state: PrinterState, *reasons: str, ago_s: float = 5.0) -> StateReport:
    return StateReport(state, reasons, NOW - ago_s)


def verdict(*interfaces: InterfaceEvidence, **known: object) -> object:
    return judge(Evidence(interfaces, **known), NOW, PATIENCE)  # type: ignore[arg-type]


def test_without_a_stall_there_is_no_action():
    assert verdict(FREE) == Wait()
    assert verdict(stalled(29), FREE) == Wait()
    assert verdict(stalled(500, awaits=Awaits.CLIENT_READS), FREE) == Wait()


def test_an_unplug_outranks_everything():
    assert verdict(stalled(9999), gone=True) == Gone()


@pytest.mark.parametrize("interfaces", [1, 2])
@pytest.mark.parametrize(
    "known",
    [
        {"report": reported(PrinterState.PROCESSING, "media-empty")},
        {"report": reported(PrinterState.IDLE, "media-empty-error")},
        {"report": reported(PrinterState.PROCESSING, "cover-open-warning")},
        {"report": reported(PrinterState.STOPPED)},
        {"port": PortStatus(True, NOW - 5)},
    ],
)
def test_a_known_reason_is_waited_for_without_a_limit(interfaces: int, known: dict[str, object]):
    found = verdict(stalled(90_000), *[FREE] * (interfaces - 1), **known)
    assert isinstance(found, Wait)
    assert math.isinf(found.until)
    assert "interface 0 waits" in found.what


def test_interfaces_that_wait_for_one_reason_are_named_together():
    port = PortStatus(True, NOW - 5)
    found = verdict(stalled(90_000), stalled(80_000, number=1), port=port)
    assert isinstance(found, Wait)
    assert found.what.endswith("paper out or an error; interfaces 0, 1 wait")


@pytest.mark.parametrize(
    "known",
    [
        {"report": reported(PrinterState.PROCESSING, "media-low")},
        {"report": reported(PrinterState.PROCESSING, "toner-low-warning")},
        {"report": reported(PrinterState.PROCESSING, "marker-supply-almost-empty-report")},
        {"report": reported(PrinterState.IDLE, "media-empty-warning")},
        {"report": reported(PrinterState.STOPPED, ago_s=4000)},
        {"port": PortStatus(True, NOW - 4000)},
        {"port": PortStatus(False, NOW - 5)},
    ],
)
def test_a_warning_or_a_reason_older_than_the_stall_is_not_waited_for(known: dict[str, object]):
    assert isinstance(verdict(stalled(3700), **known), InterfaceUnresponsive)


def test_a_stall_leads_to_a_question_on_an_available_interface():
    assert isinstance(verdict(stalled(31), FREE), Ask)
    assert isinstance(verdict(stalled(31), replace(FREE, state=SlotState.RELEASED)), Ask)
    assert isinstance(verdict(stalled(31), HELD), Wait)
    assert isinstance(verdict(stalled(31), replace(FREE, state=SlotState.BROKEN)), Wait)
    assert isinstance(verdict(stalled(61), FREE, asked=answers(20)), Wait)
    assert isinstance(verdict(stalled(61), FREE, asked=answers(30)), Ask)


def test_a_question_without_an_answer_is_given_up_when_others_are_answered():
    asks = stalled(70, Purpose.QUESTION, taken=True, awaits=Awaits.PRINTER_ANSWERS)
    assert isinstance(verdict(asks, FREE, asked=answers(40)), Ask)
    assert isinstance(verdict(asks, FREE, asked=answers(40, 10)), InterfaceUnresponsive)


STANDS = {"report": reported(PrinterState.IDLE, "marker-supply-empty-error"), "excused_at": NOW}


STOPPED = reported(PrinterState.STOPPED, "media-empty-error")


def test_a_question_waits_for_no_reason_for_which_no_document_may_wait():
    asks = stalled(70, Purpose.QUESTION, taken=True, awaits=Awaits.PRINTER_ANSWERS)
    assert isinstance(verdict(asks, FREE, **STANDS), Ask)
    found = verdict(asks, FREE, **STANDS, asked=answers(40, 10))
    assert isinstance(found, InterfaceUnresponsive)
    assert "marker-supply-empty-error but no document waits" in found.proof
    silent = tuple(question(Outcome.UNANSWERED, ago) for ago in (60, 30))
    found = verdict(asks, FREE, **STANDS, asked=silent)
    assert isinstance(found, PrinterUnresponsive)
    assert found.numbers == (0,)
    assert not isinstance(verdict(asks, FREE, report=STOPPED, asked=silent), PrinterUnresponsive)
    only = stalled(301, Purpose.QUESTION, taken=True, awaits=Awaits.PRINTER_ANSWERS)
    assert isinstance(verdict(only, **STANDS), InterfaceUnresponsive)


@pytest.mark.parametrize(
    "known",
    [
        STANDS | {"document_at": NOW - 5000},  # of which nothing tells that it is printed
        {"document_at": NOW - 5000, "port": PortStatus(True, NOW - 5)},
    ],
)
def test_a_question_waits_where_a_document_may_wait_for_the_same_reason(known: dict[str, object]):
    """What its interface needs to answer again could cost that document."""
    asks = stalled(4000, Purpose.QUESTION, taken=True, awaits=Awaits.PRINTER_ANSWERS)
    assert isinstance(verdict(asks, FREE, **known, asked=answers(40, 10)), Wait)
    assert isinstance(verdict(asks, **known), Wait)


def test_a_question_waits_beside_a_document_that_waits_for_paper():
    asks = stalled(70, Purpose.QUESTION, taken=True, awaits=Awaits.PRINTER_ANSWERS)
    found = verdict(asks, FREE, stalled(60, number=2), **STANDS, asked=answers(40, 10))
    assert isinstance(found, Wait)


@pytest.mark.parametrize("kind", [Purpose.SCAN, Purpose.OTHER])
def test_an_idle_printer_is_no_evidence_about_a_scan_or_a_request_of_its_maker(kind: Purpose):
    """The scanner waits for the next page on the glass; the printer beside it is idle."""
    known = {"report": reported(PrinterState.IDLE), "asked": answers(100, 20)}
    waits = {"taken": True, "awaits": Awaits.PRINTER_ANSWERS}
    assert isinstance(verdict(stalled(400, kind, **waits), FREE, **known), Wait)
    assert isinstance(verdict(stalled(3700, kind, **waits), FREE, **known), InterfaceUnresponsive)


def test_a_question_that_is_not_accepted_proves_nothing_while_another_interface_is_busy():
    asks = stalled(70, Purpose.QUESTION)
    reading = InterfaceEvidence(2, SlotState.LEASED, False, Purpose.SCAN, Awaits.CLIENT_READS)
    proof = answers(40, 10)
    assert isinstance(verdict(asks, FREE, asked=proof), InterfaceUnresponsive)
    assert isinstance(verdict(asks, FREE, reading, asked=proof), Wait)


@pytest.mark.parametrize(
    ("state", "given_up_s"), [(PrinterState.IDLE, 300), (PrinterState.PROCESSING, 3600)]
)
def test_a_document_may_stall_as_long_as_the_printers_state_explains(
    state: PrinterState, given_up_s: float
):
    known = {"report": reported(state), "asked": answers(5)}
    assert isinstance(verdict(stalled(given_up_s - 1), FREE, **known), Wait)
    assert isinstance(verdict(stalled(given_up_s), FREE, **known), InterfaceUnresponsive)


def test_one_interface_without_evidence_may_stall_for_an_hour():
    assert isinstance(verdict(stalled(3599)), Wait)
    assert isinstance(verdict(stalled(3600)), InterfaceUnresponsive)


def test_a_document_that_was_accepted_completely_may_be_printing_and_is_waited_for():
    whole = stalled(90_000, taken=True, awaits=Awaits.PRINTER_ANSWERS)
    assert isinstance(verdict(whole), Wait)


def test_a_question_on_the_only_interface_waits_longer_while_a_page_may_print():
    asks = stalled(301, Purpose.QUESTION, taken=True, awaits=Awaits.PRINTER_ANSWERS)
    assert isinstance(verdict(asks), InterfaceUnresponsive)
    assert isinstance(verdict(asks, document_at=NOW - 320), Wait)
    assert isinstance(verdict(asks, report=reported(PrinterState.PROCESSING, ago_s=400)), Wait)


def test_a_long_poll_is_never_silent():
    poll = stalled(90_000, Purpose.LONG_POLL, taken=True, awaits=Awaits.PRINTER_ANSWERS)
    assert verdict(poll, FREE, asked=answers(60, 30)) == Wait()


def test_a_page_of_its_web_server_may_be_a_long_poll_and_has_an_hour():
    for_s = {"taken": True, "awaits": Awaits.PRINTER_ANSWERS}
    known = {"asked": answers(100, 40), "report": reported(PrinterState.IDLE)}
    for others in ((), (FREE,)):
        assert isinstance(verdict(stalled(3599, Purpose.PAGE, **for_s), *others, **known), Wait)
        found = verdict(stalled(3600, Purpose.PAGE, **for_s), *others, **known)
        assert isinstance(found, InterfaceUnresponsive)


def test_a_page_for_which_others_wait_is_judged_like_a_question():
    page = stalled(70, Purpose.PAGE, taken=True, awaits=Awaits.PRINTER_ANSWERS)
    assert isinstance(verdict(page, FREE, wanted=True), Ask)
    assert isinstance(verdict(page, FREE, asked=answers(40, 10)), Wait)
    found = verdict(page, FREE, asked=answers(40, 10), wanted=True)
    assert isinstance(found, InterfaceUnresponsive)
    only = replace(page, since=NOW - 301)
    assert isinstance(verdict(only), Wait)
    assert isinstance(verdict(only, wanted=True), InterfaceUnresponsive)


def test_silence_on_all_interfaces_is_quick_proof_where_no_work_is_lost_and_slow_where_it_is():
    silent = tuple(question(Outcome.UNANSWERED, ago) for ago in (60, 30))
    asks = stalled(100, Purpose.QUESTION, taken=True, awaits=Awaits.PRINTER_ANSWERS)
    assert isinstance(verdict(asks, FREE, asked=silent), PrinterUnresponsive)
    assert not isinstance(verdict(stalled(599), FREE, asked=silent), PrinterUnresponsive)
    found = verdict(stalled(600), FREE, asked=silent)
    assert isinstance(found, PrinterUnresponsive)
    assert found.numbers == (0,)


def test_silence_is_no_proof_while_a_page_may_come_out():
    silent = tuple(question(Outcome.UNANSWERED, ago) for ago in (310, 30))
    known = {"asked": silent, "document_at": NOW - 400}  # two pages of a printer that says nothing
    assert not isinstance(verdict(stalled(3500), FREE, **known), PrinterUnresponsive)
    known["document_at"] = NOW - 600
    assert isinstance(verdict(stalled(3500), FREE, **known), PrinterUnresponsive)


def test_silence_never_ends_a_document_that_was_accepted_completely():
    silent = tuple(question(Outcome.UNANSWERED, ago) for ago in (310, 30))
    whole = stalled(90_000, taken=True, awaits=Awaits.PRINTER_ANSWERS)
    assert isinstance(verdict(whole, FREE, asked=silent), Ask | Wait)
    asks = stalled(700, Purpose.QUESTION, number=2, taken=True, awaits=Awaits.PRINTER_ANSWERS)
    found = verdict(whole, FREE, asks, asked=silent)
    assert isinstance(found, PrinterUnresponsive)
    assert found.numbers == (2,)


def test_silence_ends_nothing_on_an_interface_whose_stall_has_a_reason():
    silent = tuple(question(Outcome.UNANSWERED, ago) for ago in (310, 30))
    waits = stalled(900, number=2)  # the reason is as old as its stall, and not as the other's
    found = verdict(
        stalled(610), FREE, waits, asked=silent, report=reported(PrinterState.STOPPED, ago_s=800)
    )
    assert isinstance(found, PrinterUnresponsive)
    assert found.numbers == (0,)


def test_a_byte_that_moved_since_shows_that_the_printer_is_alive():
    silent = tuple(question(Outcome.UNANSWERED, ago) for ago in (310, 30))
    moving = InterfaceEvidence(
        2, SlotState.LEASED, False, Purpose.SCAN, Awaits.PRINTER_ANSWERS, since=NOW
    )
    for moved_s in (1, 599):  # after the last question; before the first one
        found = verdict(stalled(700), FREE, moving, asked=silent, moved_at=NOW - moved_s)
        assert isinstance(found, Ask | Wait)


def test_only_an_upload_that_stalls_without_a_reason_is_learned_from():
    known = {"report": reported(PrinterState.IDLE), "asked": answers(5)}
    found = verdict(stalled(400), FREE, **known)
    assert isinstance(found, InterfaceUnresponsive)
    assert found.stalled_upload
    touched = replace(stalled(400), touched=True)
    for found in (
        verdict(stalled(400), FREE, **known, excused_at=NOW - 405),
        verdict(touched, FREE, **known),
    ):
        assert isinstance(found, InterfaceUnresponsive)
        assert not found.stalled_upload
    found = verdict(stalled(3700))  # blind
    assert isinstance(found, InterfaceUnresponsive)
    assert not found.stalled_upload


def test_nothing_is_done_to_a_device_at_work():
    assert at_work(Evidence((stalled(1),)), NOW)
    assert at_work(Evidence(report=reported(PrinterState.PROCESSING)), NOW)
    assert at_work(Evidence(report=reported(PrinterState.STOPPED, "media-empty-error")), NOW)
    without_paper = reported(PrinterState.IDLE, "media-empty-error")
    waits = Evidence(report=without_paper, document_at=NOW - 5000)
    assert at_work(waits, NOW)
    assert not at_work(replace(waits, settled_at=NOW - 5), NOW)
    assert not at_work(Evidence(report=without_paper), NOW)
    assert not at_work(Evidence((stalled(1, Purpose.QUESTION),)), NOW)
    assert not at_work(Evidence(report=reported(PrinterState.PROCESSING, ago_s=601)), NOW)
    assert at_work(Evidence(document_at=NOW - 599), NOW)
    assert not at_work(Evidence(document_at=NOW - 601), NOW)
    idle = reported(PrinterState.IDLE, ago_s=30)
    assert at_work(Evidence(report=idle, document_at=NOW - 39), NOW)
    assert not at_work(Evidence(report=idle, document_at=NOW - 41), NOW)


def test_a_session_ends_for_another_setting_whatever_the_printer_reports():
    without_paper = reported(PrinterState.STOPPED, "media-empty-error")
    assert not serves(Evidence((stalled(1, Purpose.QUESTION),), report=without_paper), NOW)
    assert serves(Evidence((stalled(1),)), NOW)
    assert serves(Evidence(document_at=NOW - 599), NOW)
    assert not serves(Evidence(document_at=NOW - 601), NOW)


def test_a_printer_prints_until_it_reports_otherwise():
    assert is_printing(Evidence(report=reported(PrinterState.PROCESSING)), NOW)
    assert is_printing(Evidence(report=reported(PrinterState.STOPPED), document_at=NOW - 60), NOW)
    assert not is_printing(Evidence(report=reported(PrinterState.STOPPED)), NOW)
    assert not is_printing(Evidence(report=reported(PrinterState.IDLE)), NOW)
    assert not is_printing(Evidence(), NOW)
    assert not is_printing(Evidence(report=reported(PrinterState.PROCESSING, ago_s=601)), NOW)


def test_a_document_after_the_last_report_may_be_printed():
    assert is_printing(Evidence(document_at=NOW - 60), NOW)
    assert not is_printing(Evidence(document_at=NOW - 601), NOW)
    idle = reported(PrinterState.IDLE, ago_s=30)
    assert is_printing(Evidence(report=idle, document_at=NOW - 39), NOW)
    assert not is_printing(Evidence(report=idle, document_at=NOW - 41), NOW)


# --- the rules, over random histories

TIMES = st.floats(NOW - 8000, NOW)
INTERFACES = st.builds(
    InterfaceEvidence,
    number=st.integers(0, 3),
    state=st.sampled_from(SlotState),
    held=st.booleans(),
    purpose=st.none() | st.sampled_from(Purpose),
    awaits=st.sampled_from(Awaits),
    taken=st.booleans(),
    began_at=TIMES,
    since=TIMES,
    touched=st.booleans(),
)
REASONS = st.lists(st.sampled_from(["media-empty", "media-low", "cover-open-error", "other"]))
EVIDENCE = st.builds(
    Evidence,
    interfaces=st.lists(INTERFACES, max_size=4, unique_by=lambda one: one.number).map(tuple),
    moved_at=TIMES,
    document_at=TIMES,
    settled_at=st.just(-math.inf) | TIMES,
    report=st.none()
    | st.builds(StateReport, st.none() | st.sampled_from([3, 4, 5]), REASONS.map(tuple), TIMES),
    port=st.none() | st.builds(PortStatus, st.booleans(), TIMES),
    asked=st.lists(
        st.builds(Asked, st.none() | st.integers(0, 3), TIMES, st.sampled_from(Outcome)), max_size=8
    ).map(lambda asked: tuple(sorted(asked, key=lambda q: q.at))),
    excused_at=TIMES,
    wanted=st.booleans(),
)


def ended(found: object) -> tuple[int, ...]:
    """The interfaces whose exchanges a verdict ends."""
    if isinstance(found, InterfaceUnresponsive):
        return (found.number,)
    return found.numbers if isinstance(found, PrinterUnresponsive) else ()


@settings(max_examples=400)
@given(EVIDENCE)
def test_nothing_ends_while_a_reason_no_older_than_the_stall_is_known(evidence: Evidence):
    report, port = evidence.report, evidence.port
    by_number = {one.number: one for one in evidence.interfaces}
    for number in ended(judge(evidence, NOW, PATIENCE)):
        one = by_number[number]
        if one.purpose in (Purpose.QUESTION, Purpose.PAGE) and not evidence.is_unsettled:
            assert not any(o.purpose and o.purpose.is_work for o in evidence.interfaces) or (
                not reason_to_wait(evidence, one.since)
            )
            continue
        assert not (report and report.waits_for and report.at >= one.since)
        assert not (port and port.attention and port.at >= one.since)


@settings(max_examples=400)
@given(EVIDENCE)
def test_only_what_waits_for_the_printer_ends_and_no_long_poll(evidence: Evidence):
    by_number = {one.number: one for one in evidence.interfaces}
    for number in ended(judge(evidence, NOW, PATIENCE)):
        one = by_number[number]
        assert one.purpose not in (None, Purpose.LONG_POLL)
        assert one.awaits.printer


@settings(max_examples=400)
@given(EVIDENCE)
def test_silence_ends_no_document_that_may_be_printed(evidence: Evidence):
    found = judge(evidence, NOW, PATIENCE)
    if isinstance(found, PrinterUnresponsive):
        ends = [one for one in evidence.interfaces if one.number in found.numbers]
        assert ends
        assert not any(one.purpose is Purpose.DOCUMENT and one.taken for one in ends)
        assert NOW - evidence.document_at >= 600 or not may_print(evidence, NOW)


@settings(max_examples=400)
@given(EVIDENCE)
def test_questions_that_could_not_be_asked_change_no_verdict(evidence: Evidence):
    without = tuple(q for q in evidence.asked if q.outcome is not Outcome.NOT_ASKED)
    before = judge(replace(evidence, asked=without), NOW, PATIENCE)
    assert ended(judge(evidence, NOW, PATIENCE)) == ended(before)


@settings(max_examples=400)
@given(EVIDENCE)
def test_a_printer_that_moved_a_byte_now_is_never_unresponsive_as_a_whole(evidence: Evidence):
    found = judge(replace(evidence, moved_at=NOW), NOW, PATIENCE)
    assert not isinstance(found, PrinterUnresponsive)


@settings(max_examples=400)
@given(EVIDENCE)
def test_nothing_is_learned_where_a_reason_was_known_or_something_was_done(evidence: Evidence):
    found = judge(evidence, NOW, PATIENCE)
    if isinstance(found, InterfaceUnresponsive) and found.stalled_upload:
        one = next(o for o in evidence.interfaces if o.number == found.number)
        assert evidence.excused_at < one.began_at
        assert not one.touched


@settings(max_examples=400)
@given(EVIDENCE)
def test_a_question_is_asked_only_on_an_available_interface(evidence: Evidence):
    if isinstance(judge(evidence, NOW, PATIENCE), Ask):
        assert any(
            one.state in (SlotState.FREE, SlotState.RELEASED) and not one.held
            for one in evidence.interfaces
        )
