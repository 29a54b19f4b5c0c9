"""The evidence that the log derives from what it sees."""

from __future__ import annotations

from ippusbd.daemon.recovery.evidence import EvidenceLog
from ippusbd.daemon.recovery.verdict import at_work
from ippusbd.exchange.query import Asked, Outcome
from ippusbd.exchange.traffic import Traffic
from ippusbd.model import Awaits
from ippusbd.usbio.pool_types import PoolSlot, Purpose, SlotState
from ippusbd.wire.ipp import PrinterState


class Work:
    """An exchange whose progress the test sets."""

    def __init__(self, kind: Purpose = Purpose.DOCUMENT) -> None:
        self.purpose = kind
        self.awaits = Awaits.PRINTER_TAKES
        self.progress = 0
        self.taken = False

    def give_up(self) -> None: ...

    async def finish(self, quiet_s: float, excused: object = None) -> None: ...


class Seen:
    """A log, a clock and one interface that drains `work`."""

    def __init__(self, work: Work) -> None:
        self.now = 100.0
        self.traffic = Traffic()
        self.log = EvidenceLog(lambda: self.now, self.traffic)
        self.slots = [PoolSlot(0, None, SlotState.DRAINING, unfinished=work)]

    def after(self, pause_s: float):
        self.now += pause_s
        return self.log.look(self.slots)

    def prints(self, *reasons: str, state: PrinterState = PrinterState.IDLE) -> None:
        """A document, and what the printer reports a while later."""
        self.now += 1
        self.traffic.document_at = self.now
        self.reports(*reasons, state=state)

    def reports(self, *reasons: str, state: PrinterState = PrinterState.IDLE) -> None:
        self.now += 60
        self.log.state_report(state, reasons)

    def holds_up(self) -> str:
        """Why the idle printer may not be reset."""
        return at_work(self.log.look([]), self.now)


def test_a_stall_begins_when_the_last_byte_moved():
    work = Work()
    seen = Seen(work)
    assert seen.after(0).interfaces[0].since == 100
    assert seen.after(10).interfaces[0].since == 100
    work.progress = 1
    moved = seen.after(10)
    assert moved.interfaces[0].since == 120
    assert moved.interfaces[0].began_at == 100
    assert seen.after(5).interfaces[0].since == 120


def test_waiting_for_the_client_is_no_stall():
    work = Work()
    seen = Seen(work)
    seen.after(0)
    work.awaits = Awaits.CLIENT_SENDS
    one = seen.after(500).interfaces[0]
    assert (one.since, one.awaits_printer) == (600, False)
    work.awaits = Awaits.PRINTER_TAKES
    assert seen.after(10).interfaces[0].since == 600


def test_a_reported_reason_excuses_a_stall():
    seen = Seen(Work())
    assert seen.after(0).excused_at < 0
    seen.log.state_report(PrinterState.PROCESSING, ("media-empty",))
    assert seen.after(0).excused_at == 100
    seen.now = 130
    seen.log.state_report(PrinterState.PROCESSING, ())
    found = seen.after(0)
    assert found.excused_at == 100
    assert found.report is not None
    assert found.report.waits_for == ""
    seen.log.port_status(True)
    assert seen.after(0).excused_at == 130


NO_INK, NO_PAPER = "marker-supply-empty-error", "media-empty-error"


def test_a_fault_from_before_a_document_is_none_that_the_document_waits_for():
    seen = Seen(Work(Purpose.QUESTION))
    seen.reports(NO_INK)
    for _ in range(3):
        seen.prints(NO_INK)  # in black
        assert not seen.holds_up()
    seen.prints(NO_INK, NO_PAPER)
    assert NO_PAPER in seen.holds_up()
    seen.prints(NO_INK, NO_PAPER)  # another document waits, too
    assert NO_PAPER in seen.holds_up()
    seen.reports(state=PrinterState.PROCESSING)
    assert seen.holds_up()
    seen.reports(NO_INK)
    assert not seen.holds_up()


def test_a_fault_of_an_idle_printer_holds_a_document_for_an_hour():
    seen = Seen(Work(Purpose.QUESTION))
    seen.prints(NO_INK)  # its last ink
    for _ in range(59):
        seen.reports(NO_INK)
        assert seen.holds_up()
    seen.reports(NO_INK)
    assert not seen.holds_up()
    seen.prints(NO_INK)
    assert not seen.holds_up()


def test_a_fault_in_the_middle_of_a_document_is_one_that_it_waits_for():
    seen = Seen(Work())
    seen.after(0)
    seen.reports(NO_PAPER)
    seen.prints(NO_PAPER)
    assert NO_PAPER in seen.holds_up()


def test_an_idle_printer_just_after_a_document_does_not_tell_that_it_is_printed():
    seen = Seen(Work(Purpose.QUESTION))
    seen.traffic.document_at = 95.0
    seen.log.state_report(PrinterState.IDLE, ())
    assert seen.after(0).settled_at < 0
    seen.reports()
    assert seen.after(0).settled_at == 160


def test_what_is_done_before_a_stall_may_be_its_cause_and_what_is_done_later_is_not():
    touched_before, touched_later = Seen(Work()), Seen(Work())
    for seen in (touched_before, touched_later):
        seen.log.touched()  # claimed for it
        seen.now += 1
        assert not seen.after(0).interfaces[0].touched
    touched_before.now += 10
    touched_before.log.touched()
    assert touched_before.after(5).interfaces[0].touched
    touched_later.now += 40
    touched_later.log.touched()
    assert not touched_later.after(5).interfaces[0].touched
    assert touched_before.after(500).interfaces[0].touched


def test_a_new_session_begins_without_old_questions():
    seen = Seen(Work())
    seen.log.asked(Asked(1, 100, Outcome.UNANSWERED))
    assert len(seen.after(0).asked) == 1
    seen.now = 200
    seen.log.new_session()
    found = seen.after(0)
    assert found.asked == ()


def test_an_interface_held_by_another_program_is_not_available():
    log = EvidenceLog(lambda: 0.0, Traffic())
    free, held = PoolSlot(0, None, SlotState.RELEASED), PoolSlot(1, None, SlotState.RELEASED)
    held.trouble = "interface 1 is held by process 7"
    found = log.look([free, held])
    assert [one.is_available for one in found.interfaces] == [True, False]
