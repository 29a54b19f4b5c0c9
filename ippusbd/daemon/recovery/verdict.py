"""The judgement: from the evidence about a printer, what may be concluded.

Work that the printer may still be doing is never ended by us. Three things end an exchange:
its client, the printer's own word, or proof that the interface is unresponsive. A wrong "wait"
costs patience, and a person can end it; a wrong "unresponsive" costs a document. Rules:

1. A byte that moved on any interface since a question went out shows that the printer is
   alive; only an interface with an unanswered exchange of its own can be unresponsive.
2. While a reason to wait is known that is no older than the stall, everything waits.
3. "Could not be asked" leads to waiting and asking again, to nothing else.
4. Only interfaces that can be had count as others.
5. Nothing is learned from a stall for which any reason was known, or that we may have caused.
6. A long poll is never silent.
7. Where nothing is known and nothing can be asked: an hour, and no limit while a page may be
   printing.

Pure: values in, a verdict out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from ippusbd.daemon.recovery.evidence import Evidence, InterfaceEvidence
from ippusbd.exchange.query import Asked
from ippusbd.usbio.pool_types import Awaits, Kind
from ippusbd.wire.ipp import PrinterState

CHECKS: Final = 2  # answers on other interfaces, or silences, that make a proof
PRINTING_S: Final = 600.0  # so long after a document's last byte a page may come out


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a stall lasts, in seconds, before anything follows from it."""

    check_s: float = 30.0  # then the printer is asked, again and again
    idle_s: float = 300.0  # the printer says that it is idle
    blind_s: float = 3600.0  # it says that it works, or nothing can be asked


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing follows yet. `what` is waited for; empty: nothing stands."""

    until: float = math.inf
    what: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """The printer should be asked, on an interface that can be had."""

    what: str


@dataclass(frozen=True, slots=True)
class InterfaceUnresponsive:
    """`stalled_upload`: it may be learned from that transfers have to be smaller."""

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
    """What follows from the evidence, the gravest first; one verdict at a time."""
    if evidence.gone:
        return Gone()
    stalled = [
        one for one in evidence.interfaces if one.stands and now - one.since >= patience.check_s
    ]
    if not stalled:
        return Wait()
    verdicts = [_of(one, evidence, now, patience) for one in stalled]
    for kind in (InterfaceUnresponsive, PrinterUnresponsive, Ask):
        for verdict in verdicts:
            if isinstance(verdict, kind):
                return verdict
    waits = [verdict for verdict in verdicts if isinstance(verdict, Wait)]
    return Wait(min(w.until for w in waits), "; ".join(dict.fromkeys(w.what for w in waits)))


def reason_to_wait(evidence: Evidence, since: float) -> str:
    """A reason that the printer reported at `since` or later; empty: none."""
    told, port = evidence.told, evidence.port
    if told is not None and told.at >= since and told.waits_for:
        return f"the printer reports {told.waits_for}"
    if port is not None and port.at >= since and port.attention:
        return "its port status reports paper out or an error"
    return ""


def _port_says(evidence: Evidence) -> bool:
    return evidence.port is not None and evidence.port.attention


def at_work(evidence: Evidence, now: float) -> str:
    """Why nothing may be done to the device as a whole now; empty: nothing would be lost."""
    for one in evidence.interfaces:
        if one.kind is not None and one.kind.is_work:
            return f"interface {one.number} carries a {one.kind.value} request"
    told = evidence.told
    if told is not None and now - told.at < PRINTING_S:
        if told.waits_for:
            return f"the printer reports {told.waits_for}"
        if told.state == PrinterState.PROCESSING:
            return "the printer says that it prints"
    return ""


def is_printing(evidence: Evidence, now: float) -> bool:
    """The printer said not long ago that it prints, or stopped with a document of ours."""
    told = evidence.told
    if told is None or now - told.at >= PRINTING_S:
        return False
    stopped = told.state == PrinterState.STOPPED and now - evidence.document_at < PRINTING_S
    return told.state == PrinterState.PROCESSING or stopped


def page_may_print(evidence: Evidence, now: float) -> bool:
    """A document went in not long ago, or the printer's last word was that it prints."""
    told = evidence.told
    processing = told is not None and told.state == PrinterState.PROCESSING
    return processing or now - evidence.document_at < PRINTING_S


# --- one stalled exchange


def _of(one: InterfaceEvidence, evidence: Evidence, now: float, patience: Patience) -> Verdict:
    reason = reason_to_wait(evidence, one.since)
    may_ask = _may_ask(one, evidence, now, patience)
    if reason:
        told = evidence.told
        stale = told is not None and told.at < now - patience.check_s and not _port_says(evidence)
        what = f"{reason}; interface {one.number} waits"
        return Ask(what) if stale and may_ask else Wait(math.inf, what)
    stood_s = now - max(one.since, evidence.excused_at)  # from when it could have gone on
    asked = _asked(one, evidence)
    lives = [q for q in asked if q.outcome.lives]
    silent = [q for q in asked if q.outcome.silent and evidence.moved_at < q.at]
    limit_s = _limit_s(one, evidence, now, patience, bool(lives))
    if _is_unanswered_question(one, evidence, lives) or (lives and stood_s >= limit_s):
        return _unresponsive(one, evidence, stood_s, lives)
    if not lives and len(silent) >= CHECKS and _silent_long_enough(evidence, silent, now, patience):
        numbers = tuple(other.number for other in evidence.interfaces if other.stands)
        return PrinterUnresponsive(
            numbers, f"{len(silent)} questions unanswered, no byte for {now - silent[0].at:.0f} s"
        )
    if not lives and not silent and stood_s >= limit_s:  # nothing can be asked
        return _unresponsive(one, evidence, stood_s, lives)
    if may_ask:
        return Ask(f"interface {one.number}: no byte for {stood_s:.0f} s")
    return Wait(now - stood_s + limit_s, f"interface {one.number}: {one.awaits.value}")


def _asked(one: InterfaceEvidence, evidence: Evidence) -> list[Asked]:
    """Our questions on other interfaces since this one stands without an excuse."""
    since = max(one.since, evidence.excused_at)
    return [q for q in evidence.asked if q.at >= since and q.interface != one.number]


def _is_unanswered_question(one: InterfaceEvidence, evidence: Evidence, lives: list[Asked]) -> bool:
    """A harmless question without an answer, while the printer answers others: nothing is lost.

    One that was not even taken proves nothing while the printer is at something else.
    """
    busy = any(other.kind is not None for other in evidence.interfaces if other is not one)
    return one.kind is Kind.QUESTION and len(lives) >= CHECKS and (one.taken or not busy)


def _limit_s(
    one: InterfaceEvidence, evidence: Evidence, now: float, patience: Patience, lives: bool
) -> float:
    """How long this exchange may stand while no reason is known."""
    told = evidence.told
    if lives:
        idle = told is not None and told.at >= one.since and told.state == PrinterState.IDLE
        return patience.idle_s if idle else patience.blind_s
    if one.kind is Kind.QUESTION:
        return patience.blind_s if page_may_print(evidence, now) else patience.idle_s
    return math.inf if one.kind is Kind.DOCUMENT and one.taken else patience.blind_s


def _silent_long_enough(
    evidence: Evidence, silent: list[Asked], now: float, patience: Patience
) -> bool:
    """Where work could be lost, silence on all interfaces has to last."""
    if not at_work(evidence, now) and not page_may_print(evidence, now):
        return True
    return now - silent[0].at >= patience.idle_s


def _may_ask(one: InterfaceEvidence, evidence: Evidence, now: float, patience: Patience) -> bool:
    """An interface can be had, and the last question was not just now."""
    can = any(other.can_be_had for other in evidence.interfaces)
    return can and all(now - q.at >= patience.check_s for q in evidence.asked if q.at >= one.since)


def _unresponsive(
    one: InterfaceEvidence, evidence: Evidence, stood_s: float, lives: list[Asked]
) -> InterfaceUnresponsive:
    others = f"the printer answers on others ({len(lives)} times)" if lives else "nothing is known"
    untouched = evidence.excused_at < one.began_at and evidence.touched_at < one.began_at
    port = evidence.port
    port_is_fine = port is not None and port.at >= one.since and not port.attention
    stalled_upload = (
        one.kind is Kind.DOCUMENT
        and one.awaits is Awaits.PRINTER_TAKES
        and (bool(lives) or port_is_fine)
        and untouched
    )
    proof = f"no byte for {stood_s:.0f} s, no reason reported, {others}"
    return InterfaceUnresponsive(one.number, proof, stalled_upload)
