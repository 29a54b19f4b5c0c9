"""The judgement: from the evidence about a printer, what may be concluded.

Work that the printer may still be doing is never ended by us. Three things end an exchange:
its client, the printer's answer, or proof that the interface is unresponsive. A wrong "wait"
costs time, and a person can end it; a wrong "unresponsive" costs a document. Rules:

1. A byte that moved on any interface since a question went out shows that the printer is
   alive; only an interface with an unanswered exchange of its own can be unresponsive.
2. While a reason to wait is known that is no older than the stall, everything waits, but a
   question while no document may wait for that reason: it is given up as if none were known.
3. "Could not be asked" leads to waiting and asking again, to nothing else.
4. Only interfaces that are available count as others.
5. Nothing is learned from a stall for which any reason was known, or that we may have caused.
6. A long poll is never silent. A page of the printer's web server, which may be one, has an hour,
   but while others wait for an interface it is judged like a question.
7. Where nothing is known and nothing can be asked, the limit is an hour; there is no limit
   while a page may be printing.

Pure: values in, a verdict out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ippusbd.daemon.recovery.evidence import BEGINS_S, Evidence, InterfaceEvidence
from ippusbd.exchange.query import Asked
from ippusbd.model import Awaits
from ippusbd.usbio.pool_types import Purpose
from ippusbd.wire.ipp import PrinterState

CHECKS: Final = 2  # answers on other interfaces, or silences, that make a proof
PRINTING_S: Final = 600.0  # how long after a document's last byte a page may come out
LATELY: Final = "a document was sent to it lately"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a stall lasts, in seconds, before it has consequences."""

    check_s: float = 30.0  # then the printer is asked, again and again
    idle_s: float = 300.0  # the printer reports that it is idle
    blind_s: float = 3600.0  # it reports that it works, or nothing can be asked


@dataclass(frozen=True, slots=True)
class Wait:
    """No action yet. `what` is waited for, by the interfaces `numbers`; empty: nothing stalls."""

    until: float = math.inf
    what: str = ""
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """The printer should be asked, on an interface that is available."""

    what: str


@dataclass(frozen=True, slots=True)
class InterfaceUnresponsive:
    """`stalled_upload`: transfers may have to be smaller."""

    number: int
    proof: str
    stalled_upload: bool = False


@dataclass(frozen=True, slots=True)
class PrinterUnresponsive:
    """Silent on every interface: `numbers` are those with an exchange that waits for it."""

    numbers: tuple[int, ...]
    proof: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The device is unplugged."""


Verdict = Wait | Ask | InterfaceUnresponsive | PrinterUnresponsive | Gone


def judge(evidence: Evidence, now: float, patience: Patience) -> Verdict:
    """The verdict from the evidence, the gravest first; one at a time."""
    if evidence.gone:
        return Gone()
    stalled = [
        one
        for one in evidence.interfaces
        if one.awaits_printer and now - one.since >= patience.check_s
    ]
    if not stalled:
        return Wait()
    verdicts = [_of(one, evidence, now, patience) for one in stalled]
    for kind in (InterfaceUnresponsive, PrinterUnresponsive, Ask):
        for verdict in verdicts:
            if isinstance(verdict, kind):
                return verdict
    return _together([verdict for verdict in verdicts if isinstance(verdict, Wait)])


def _together(waits: list[Wait]) -> Wait:
    """One for all; each reason is named once, with the interfaces that wait because of it."""
    numbers: dict[str, list[int]] = {}
    for each in waits:
        numbers.setdefault(each.what, []).extend(each.numbers)
    what = "; ".join(reason + _who_waits(found) for reason, found in numbers.items())
    return Wait(min(each.until for each in waits), what)


def _who_waits(numbers: Sequence[int]) -> str:
    if len(numbers) < 2:
        return f"; interface {numbers[0]} waits" if numbers else ""
    return f"; interfaces {', '.join(map(str, numbers))} wait"


def reason_to_wait(evidence: Evidence, since: float) -> str:
    """A reason that the printer reported at `since` or later; empty: none."""
    report, port = evidence.report, evidence.port
    if report is not None and report.at >= since and report.waits_for:
        return f"the printer reports {report.waits_for}"
    if port is not None and port.at >= since and port.attention:
        return "its port status reports paper out or an error"
    return ""


def _port_attention(evidence: Evidence) -> bool:
    return evidence.port is not None and evidence.port.attention


def at_work(evidence: Evidence, now: float) -> str:
    """Why nothing may be done to the device as a whole now; empty: nothing would be lost."""
    return _carried(evidence) or may_print(evidence, now)


def serves(evidence: Evidence, now: float) -> str:
    """Why its session may not end now, which a printer that holds a job survives; empty: it may."""
    return _carried(evidence) or (LATELY if now - evidence.document_at < PRINTING_S else "")


def _carried(evidence: Evidence) -> str:
    for one in evidence.interfaces:
        if one.purpose is not None and one.purpose.is_work:
            return f"interface {one.number} carries a {one.purpose.value} request"
    return ""


def may_print(evidence: Evidence, now: float) -> str:
    """Why a page may be coming out now; empty: none is known of."""
    report = evidence.report
    if report is not None and now - report.at < PRINTING_S:
        works = report.state != PrinterState.IDLE
        if report.waits_for and (works or evidence.is_unsettled):
            return f"the printer reports {report.waits_for}"
        if report.state == PrinterState.PROCESSING:
            return "the printer reports that it prints"
    if _is_unreported(evidence, now):
        return LATELY
    return ""


def is_printing(evidence: Evidence, now: float) -> bool:
    """The printer reported lately that it prints, or that it stopped with a document of ours.

    A document that no report is about may be printed, too.
    """
    report = evidence.report
    if report is not None and now - report.at < PRINTING_S:
        ours = report.state == PrinterState.STOPPED and now - evidence.document_at < PRINTING_S
        if ours or report.state == PrinterState.PROCESSING:
            return True
    return _is_unreported(evidence, now)


def _is_unreported(evidence: Evidence, now: float) -> bool:
    """A document was sent lately, and no report tells what became of it."""
    report = evidence.report
    told = report is not None and report.at >= evidence.document_at + BEGINS_S
    return not told and now - evidence.document_at < PRINTING_S


def page_may_print(evidence: Evidence, now: float) -> bool:
    """A document was sent lately, or the printer's last report was that it prints."""
    report = evidence.report
    processing = report is not None and report.state == PrinterState.PROCESSING
    return processing or now - evidence.document_at < PRINTING_S


# --- one stalled exchange


def _of(one: InterfaceEvidence, evidence: Evidence, now: float, patience: Patience) -> Verdict:
    reason = _reason(one, evidence)
    may_ask = _may_ask(one, evidence, now, patience)
    if reason:
        report = evidence.report
        stale = (
            report is not None
            and report.at < now - patience.check_s
            and not _port_attention(evidence)
        )
        if stale and may_ask:
            return Ask(reason + _who_waits([one.number]))
        return Wait(math.inf, reason, (one.number,))
    stalled_s = now - _stalls_since(one, evidence)
    asked = _asked(one, evidence)
    answered = [q for q in asked if q.outcome.responds]
    silent = [q for q in asked if q.outcome.silent and evidence.moved_at < q.at]
    silent_s = min(stalled_s, now - evidence.moved_at)  # on every interface
    limit_s = _limit_s(one, evidence, now, patience, bool(answered))
    if _is_unanswered_question(one, evidence, answered) or (answered and stalled_s >= limit_s):
        return _unresponsive(one, evidence, stalled_s, answered)
    if (
        not answered
        and len(silent) >= CHECKS
        and not _is_taken_document(one)
        and silent_s >= _silence_s(evidence, now, patience)
    ):
        proof = f"{len(silent)} questions unanswered, no byte for {silent_s:.0f} s"
        return PrinterUnresponsive(_silenced(evidence), proof)
    if not answered and not silent and stalled_s >= limit_s:  # nothing can be asked
        return _unresponsive(one, evidence, stalled_s, answered)
    if may_ask:
        return Ask(f"interface {one.number}: no byte for {stalled_s:.0f} s")
    return Wait(now - stalled_s + limit_s, f"interface {one.number}: {one.awaits.value}")


def waits_in_vain(purpose: Purpose | None, evidence: Evidence) -> bool:
    """No reason excuses such an exchange: it is no work, and no document may wait for one."""
    is_work = purpose is not None and purpose.is_work
    return not is_work and not _carried(evidence) and not evidence.is_unsettled


def _reason(one: InterfaceEvidence, evidence: Evidence) -> str:
    """The reason for which this exchange waits; empty: none."""
    in_vain = waits_in_vain(one.purpose, evidence)
    return "" if in_vain else reason_to_wait(evidence, one.since)


def _stalls_since(one: InterfaceEvidence, evidence: Evidence) -> float:
    """Since when it could have gone on."""
    in_vain = waits_in_vain(one.purpose, evidence)
    return one.since if in_vain else max(one.since, evidence.excused_at)


def _asked(one: InterfaceEvidence, evidence: Evidence) -> list[Asked]:
    """Our questions on other interfaces since this one stalls without a reason."""
    since = _stalls_since(one, evidence)
    return [q for q in evidence.asked if q.at >= since and q.interface != one.number]


def _is_unanswered_question(
    one: InterfaceEvidence, evidence: Evidence, answered: list[Asked]
) -> bool:
    """A harmless question without an answer, while the printer answers others: nothing is lost.

    One that was not even accepted proves nothing while the printer is busy.
    """
    busy = any(other.purpose is not None for other in evidence.interfaces if other is not one)
    return _is_question(one, evidence) and len(answered) >= CHECKS and (one.taken or not busy)


def _is_question(one: InterfaceEvidence, evidence: Evidence) -> bool:
    return one.purpose is Purpose.QUESTION or (one.purpose is Purpose.PAGE and evidence.wanted)


def _limit_s(
    one: InterfaceEvidence, evidence: Evidence, now: float, patience: Patience, answered: bool
) -> float:
    """How long this exchange may stall while no reason is known."""
    report = evidence.report
    if answered:
        idle = report is not None and report.at >= one.since and report.state == PrinterState.IDLE
        # Of a scanner or of a maker's own request, printer-state says nothing.
        prints = one.purpose in (Purpose.DOCUMENT, Purpose.QUESTION)
        return patience.idle_s if idle and prints else patience.blind_s
    if _is_question(one, evidence):
        return patience.blind_s if page_may_print(evidence, now) else patience.idle_s
    return math.inf if _is_taken_document(one) else patience.blind_s


def _is_taken_document(one: InterfaceEvidence) -> bool:
    """It may be printed until its answer comes, which many printers send after the last page."""
    return one.purpose is Purpose.DOCUMENT and one.taken


def _silenced(evidence: Evidence) -> tuple[int, ...]:
    """The interfaces whose exchanges a printer ends that is silent on all of them."""
    return tuple(
        one.number
        for one in evidence.interfaces
        if one.awaits_printer and not _is_taken_document(one) and not _reason(one, evidence)
    )


def _silence_s(evidence: Evidence, now: float, patience: Patience) -> float:
    """How long silence on all interfaces has to last: many printers are silent while they print."""
    if may_print(evidence, now):
        return math.inf
    lost = _carried(evidence) or page_may_print(evidence, now)
    return max(patience.idle_s, PRINTING_S) if lost else 0.0


def _may_ask(one: InterfaceEvidence, evidence: Evidence, now: float, patience: Patience) -> bool:
    """An interface is available, the last question was not just now, and an answer would tell."""
    can = any(other.is_available for other in evidence.interfaces)
    can = can and (one.purpose is not Purpose.PAGE or evidence.wanted)
    return can and all(now - q.at >= patience.check_s for q in evidence.asked if q.at >= one.since)


def _unresponsive(
    one: InterfaceEvidence, evidence: Evidence, stalled_s: float, answered: list[Asked]
) -> InterfaceUnresponsive:
    others = (
        f"the printer answers on others ({len(answered)} times)" if answered else "nothing is known"
    )
    unexplained = evidence.excused_at < one.began_at and not one.touched
    port = evidence.port
    port_is_fine = port is not None and port.at >= one.since and not port.attention
    stalled_upload = (
        one.purpose is Purpose.DOCUMENT
        and one.awaits is Awaits.PRINTER_TAKES
        and (bool(answered) or port_is_fine)
        and unexplained
    )
    reason = reason_to_wait(evidence, one.since)  # of one that waits in vain
    why = f"{reason} but no document waits" if reason else "no reason reported"
    proof = f"no byte for {stalled_s:.0f} s, {why}, {others}"
    return InterfaceUnresponsive(one.number, proof, stalled_upload)
