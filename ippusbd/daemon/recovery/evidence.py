"""What is known about one printer, from all sources.

Conclusions are drawn in one place (`verdict`) and from all of it: what moves on which
interface, what the printer reports about itself to us and to clients whose answers pass by, the
outcomes of our own questions, and what was done to it. A question that could not be asked
is a fact about us, not about the printer.

Values, and the log that collects them; no I/O. Times are the event loop's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from ippusbd.exchange.query import Asked
from ippusbd.exchange.traffic import Traffic
from ippusbd.kinds import Severity
from ippusbd.model import Awaits
from ippusbd.usbio.pool_types import PoolSlot, Purpose, SlotState, Unfinished
from ippusbd.wire.ipp import PrinterState
from ippusbd.wire.state_reasons import advice

QUESTIONS_KEPT: Final = 16
BEGINS_S: Final = 10.0  # how long after a document a printer may still report that it is idle
FAULT_S: Final = 3600.0  # a fault of a printer that is idle for so long stands, and stops no print
EFFECT_S: Final = 30.0  # what is done so soon after an exchange's last byte may have stopped it
# Words in a reason that name something a print waits for, whatever its severity; and
# words of warnings ahead of time.
_WAITED_FOR: Final = frozenset(
    (
        "media",
        "cover",
        "door",
        "interlock",
        "toner",
        "marker",
        "ink",
        "operator",
        "input",
        "output",
        "tray",
        "manual",
        "supply",
        "waste",
        "paused",
        "hold",
    )
)
_NOT_YET: Final = frozenset(("report", "low", "almost", "near"))


@dataclass(frozen=True, slots=True)
class InterfaceEvidence:
    """One interface, and the exchange on it: `purpose` is None when there is none."""

    number: int
    state: SlotState
    held: bool = False  # by another program
    purpose: Purpose | None = None
    awaits: Awaits = Awaits.CLIENT_READS
    taken: bool = False  # the printer took the request to its end
    began_at: float = 0.0
    since: float = 0.0  # since then no byte moved, and the printer was to move it
    touched: bool = False  # something was done to the printer meanwhile, before it stalled

    @property
    def is_available(self) -> bool:
        """A question could be asked here."""
        return self.state in (SlotState.FREE, SlotState.RELEASED) and not self.held

    @property
    def awaits_printer(self) -> bool:
        """Its exchange waits for the printer."""
        return self.purpose not in (None, Purpose.LONG_POLL) and self.awaits.printer


@dataclass(frozen=True, slots=True)
class StateReport:
    """What the printer reports about itself, in an answer to us or to a client."""

    state: int | None
    reasons: tuple[str, ...]
    at: float

    @property
    def waits_for(self) -> str:
        """What the printer waits for; empty: no reason is known."""
        if self.blocking:
            return ", ".join(self.blocking)
        return "printer-state stopped" if self.state == PrinterState.STOPPED else ""

    @property
    def blocking(self) -> tuple[str, ...]:
        """The reasons that a print waits for."""
        return tuple(reason for reason in self.reasons if self._blocks(reason))

    def _blocks(self, reason: str) -> bool:
        if advice(reason).severity is Severity.ERROR:
            return True
        waits = self.state in (PrinterState.PROCESSING, PrinterState.STOPPED)
        words = set(reason.split("-"))
        return waits and not words & _NOT_YET and bool(words & _WAITED_FOR)


@dataclass(frozen=True, slots=True)
class PortStatus:
    """GET_PORT_STATUS: `attention` is paper out, or an error."""

    attention: bool
    at: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known at one moment."""

    interfaces: tuple[InterfaceEvidence, ...] = ()
    moved_at: float = -math.inf  # a byte, on any interface
    document_at: float = -math.inf  # the last byte of a whole document
    settled_at: float = -math.inf  # a report that it is idle, and that nothing sent to it waits
    report: StateReport | None = None
    port: PortStatus | None = None
    asked: tuple[Asked, ...] = ()  # the latest questions, oldest first
    excused_at: float = -math.inf  # a reason to wait was last known
    wanted: bool = False  # requests wait for an interface
    gone: bool = False

    @property
    def is_unsettled(self) -> bool:
        """A document was sent, of which no report tells that it is printed."""
        return self.document_at > self.settled_at


@dataclass(slots=True)
class _Seen:
    progress: int
    began_at: float
    since: float
    touched: bool = False


class EvidenceLog:
    """Collects the evidence about one printer."""

    def __init__(self, clock: Callable[[], float], traffic: Traffic) -> None:
        self._clock = clock
        self._traffic = traffic
        self._seen: dict[Unfinished, _Seen] = {}
        self._known = Evidence()
        self._touched_at = -math.inf
        self._report: StateReport | None = None  # a new one with every answer that passes by
        self._standing: tuple[str, ...] = ()  # faults that stop no print
        self._fault_since = math.inf  # since then it is idle with another one

    @property
    def excused_at(self) -> float:
        """When a reason to wait was last known."""
        return self._known.excused_at

    def new_session(self) -> None:
        """The device was opened anew: earlier questions prove nothing about it now."""
        self._seen.clear()
        self._note(asked=(), port=None)
        self.touched()

    def nothing_prints(self) -> None:
        """An administrator says so, or the printer's own reports did."""
        self.plugged(-math.inf)

    def plugged(self, document_at: float) -> None:
        """It was plugged in, which comes with a bus reset: what it was sent before is over.

        Or it was found plugged in, and the last document since its plug was sent at `document_at`.
        """
        self._report = None
        self._traffic.document(document_at)

    def state_report(self, state: int | None, reasons: Iterable[str]) -> None:
        """printer-state and printer-state-reasons, in an answer to us or to a client."""
        self._report = report = StateReport(state, tuple(reasons), self._clock())
        if report.waits_for:
            self.excused()
        if state == PrinterState.IDLE:
            self._is_idle(report)

    def _is_idle(self, report: StateReport) -> None:
        """Some report that they are idle while a document waits for what was no fault before it."""
        document_at, faults = self._traffic.document_at, set(report.blocking)
        is_new = not faults <= set(self._standing)
        self._fault_since = min(self._fault_since, report.at) if is_new else math.inf
        over = not is_new or report.at - self._fault_since >= FAULT_S
        told = over and report.at >= document_at + BEGINS_S
        sends = any(work.purpose is Purpose.DOCUMENT for work in self._seen)
        if told or (document_at <= self._known.settled_at and not sends):
            self._standing, self._fault_since = report.blocking, math.inf
            self._note(settled_at=report.at)

    def port_status(self, attention: bool) -> None:
        self._note(port=PortStatus(attention, self._clock()))
        if attention:
            self.excused()

    def excused(self) -> None:
        """A reason to wait is known now."""
        self._note(excused_at=self._clock())

    def asked(self, question: Asked) -> None:
        """One of our own questions came to its end."""
        self._note(asked=(*self._known.asked, question)[-QUESTIONS_KEPT:])

    def touched(self) -> None:
        """Something was done to the printer: a claim, a rung, a new session."""
        self._touched_at = self._clock()

    def look(
        self, slots: Iterable[PoolSlot], *, wanted: bool = False, gone: bool = False
    ) -> Evidence:
        """The evidence now; call it a few times while an exchange stalls."""
        now = self._clock()
        seen: dict[Unfinished, _Seen] = {}
        interfaces = tuple(self._interface(slot, now, seen) for slot in slots)
        self._seen = seen
        return replace(
            self._known,
            interfaces=interfaces,
            moved_at=self._traffic.moved_at,
            document_at=self._traffic.document_at,
            report=self._report,
            wanted=wanted,
            gone=gone,
        )

    def _note(self, **facts: Any) -> None:
        self._known = replace(self._known, **facts)

    def _interface(
        self, slot: PoolSlot, now: float, seen: dict[Unfinished, _Seen]
    ) -> InterfaceEvidence:
        held = slot.state is SlotState.RELEASED and slot.trouble is not None
        work = slot.work
        if work is None:
            return InterfaceEvidence(slot.number, slot.state, held)
        awaits, before = work.awaits, self._seen.get(work)
        one = _Seen(work.progress, now, now)
        if before is not None:
            moved = one.progress != before.progress
            one.began_at = before.began_at
            one.since = now if moved or not awaits.printer else before.since
            # What was done later, to a stall that lasts, is no cause of it.
            may_be = one.began_at <= self._touched_at < one.since + EFFECT_S
            one.touched = before.touched or may_be
        seen[work] = one
        return InterfaceEvidence(
            slot.number,
            slot.state,
            held,
            work.purpose,
            awaits,
            work.taken,
            one.began_at,
            one.since,
            one.touched,
        )
