"""A print waits for paper without a limit; an unresponsive printer is recovered."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.daemon import run_daemon
from support.fake_channel import FakeChannel
from support.http_client import IPP_TYPE, Reply, ask, connected, head, ipp_request
from support.time_lapse import told

from ippusbd.daemon.observe.status import ExchangeStatus
from ippusbd.daemon.observe.waiting import explained
from ippusbd.daemon.recovery.evidence import EvidenceLog
from ippusbd.daemon.recovery.stall_detector import StallDetector
from ippusbd.daemon.recovery.verdict import Patience
from ippusbd.errors import NotAsked, PrinterSilent, TransferFailed, TransferTimeout
from ippusbd.exchange.query import Asked, Outcome, outcome_of
from ippusbd.exchange.traffic import Traffic
from ippusbd.model import Awaits
from ippusbd.usbio.pool import InterfacePool, Lane, Lease
from ippusbd.usbio.pool_types import Purpose
from ippusbd.wire.ipp import Operation, PrinterState

MINUTE_S = 60.0
ALL_IS_WELL, PAPER_OUT = 0x18, 0x38


class Work:
    """An exchange that moves when the test says so."""

    taken = False

    def __init__(
        self, kind: Purpose = Purpose.DOCUMENT, *, awaits: Awaits = Awaits.PRINTER_TAKES
    ) -> None:
        self.progress = 0
        self.purpose = kind
        self.awaits = awaits

    def give_up(self) -> None: ...

    async def finish(self, quiet_s: float, excused: object = None) -> None:
        await asyncio.Event().wait()


class Watched:
    """A pool with a stall detector, and the printer's answers set by the test."""

    def __init__(self, interfaces: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.channels = [FakeChannel(number=n) for n in range(interfaces)]
        self.pool = InterfacePool(self.channels, drain_s=1)
        self.failure: Exception | None = None
        self.state: PrinterState | None = None
        self.reasons: tuple[str, ...] = ()
        self.port: int | None = ALL_IS_WELL
        self.asked = 0
        self.stalled_uploads = 0
        self.evidence = EvidenceLog(self.loop.time, Traffic())
        self.detector = StallDetector(
            self.pool,
            self.evidence,
            self._ask,
            self._port_status,
            patience=Patience(30, 300, 3600),
            on_stalled_upload=self._upload_stalled,
        )

    async def _ask(self) -> None:
        self.asked += 1
        outcome = outcome_of(self.failure)  # type: ignore[arg-type]
        number = None if outcome is Outcome.NOT_ASKED else len(self.channels) - 1
        self.evidence.asked(Asked(number, self.loop.time(), outcome))
        if self.failure is not None:
            raise self.failure
        if self.state is not None:
            self.evidence.state_report(self.state, self.reasons)

    async def _port_status(self) -> int:
        if self.port is None:
            raise TransferFailed("no port status")
        return self.port

    def _upload_stalled(self) -> None:
        self.stalled_uploads += 1

    async def minutes(self, count: float) -> None:
        for _ in range(round(count * 6)):
            await asyncio.sleep(10)
            await self.detector.step()

    @property
    def ended(self) -> list[int]:
        return [one.interface for one in self.detector.status()]


@asynccontextmanager
async def working(watched: Watched, work: Work, *, wait_s: float = 1) -> AsyncIterator[Lease]:
    async with watched.pool.lease(wait_s=wait_s, lane=Lane.LONG) as lease:
        lease.unfinished = work
        yield lease
        lease.unfinished = None


@pytest.mark.parametrize("interfaces", [1, 3])
def test_three_hours_without_paper_are_waited_out(interfaces: int):
    async def story() -> None:
        watched = Watched(interfaces)
        watched.port = PAPER_OUT
        async with working(watched, Work()):
            await watched.minutes(180)
            assert watched.ended == []
            assert watched.asked == 0
            assert "paper out" in watched.detector.waits
        await watched.pool.close()

    told(story)


def test_a_stopped_printer_is_waited_for_and_the_stall_time_begins_anew():
    async def story() -> None:
        watched = Watched(3)
        watched.state = PrinterState.STOPPED
        async with working(watched, Work()) as lease:
            await watched.minutes(300)
            assert watched.ended == []
            assert lease.unfinished is not None
            lease.unfinished.progress += 1  # somebody brought paper
            watched.state = PrinterState.PROCESSING
            await watched.minutes(59)
            assert watched.ended == []
        await watched.pool.close()

    told(story)


@pytest.mark.parametrize(
    ("state", "minutes"),
    [(PrinterState.IDLE, 5), (PrinterState.PROCESSING, 60), (None, 60)],
)
def test_a_job_that_stalls_without_a_reason_is_on_an_unresponsive_interface(
    state: PrinterState | None, minutes: int
):
    async def story() -> None:
        watched = Watched(2)
        watched.state = state
        async with working(watched, Work()) as lease:
            await watched.minutes(minutes - 0.4)
            assert watched.ended == []
            await watched.minutes(1)
            assert watched.ended == [0]
            assert watched.stalled_uploads == 1
            with pytest.raises(TransferTimeout):
                await lease.channel.read()
        await watched.pool.close()

    told(story)


def test_silence_on_all_interfaces_ends_a_question_within_two_minutes_and_work_later():
    async def story() -> None:
        for kind, patient_min in ((Purpose.QUESTION, 0.5), (Purpose.DOCUMENT, 9.8)):
            watched = Watched(3)
            watched.failure = PrinterSilent("no answer")
            async with working(watched, Work(kind)):
                await watched.minutes(patient_min)
                assert watched.ended == []
                await watched.minutes(1.5)
                assert watched.ended == [0]
                assert watched.stalled_uploads == 0
            await watched.pool.close()

    told(story)


def test_a_question_that_could_not_be_asked_ends_nothing_for_an_hour():
    async def story() -> None:
        watched = Watched(2)
        watched.failure = NotAsked("all interfaces are in use")
        async with working(watched, Work()):
            await watched.minutes(59)
            assert watched.ended == []
            assert watched.asked > 100
        await watched.pool.close()

    told(story)


def test_two_jobs_that_wait_for_the_same_paper_are_both_waited_for():
    async def story() -> None:
        watched = Watched(2)
        watched.evidence.state_report(PrinterState.PROCESSING, ("media-empty",))
        async with working(watched, Work()), watched.pool.lease(wait_s=1) as letter:
            letter.unfinished = Work()
            await watched.minutes(1)
            watched.evidence.state_report(PrinterState.PROCESSING, ("media-empty",))  # to a monitor
            await watched.minutes(180)
            assert watched.ended == []
            letter.unfinished = None
        await watched.pool.close()

    told(story)


@pytest.mark.parametrize("told_once", [True, False])
def test_one_interface_without_evidence_is_given_up_after_an_hour(told_once: bool):
    async def story() -> None:
        watched = Watched(1)
        watched.port = None
        if told_once:
            watched.evidence.state_report(PrinterState.PROCESSING, ("media-low-warning",))
        async with working(watched, Work()):
            await watched.minutes(59.5)
            assert watched.ended == []
            await watched.minutes(1)
            assert watched.ended == [0]
            assert watched.stalled_uploads == 0
        await watched.pool.close()

    told(story)


def test_a_client_that_does_not_send_does_not_make_the_printer_unresponsive():
    async def story() -> None:
        watched = Watched(3)
        watched.failure = PrinterSilent("no answer")
        async with working(watched, Work(awaits=Awaits.CLIENT_SENDS)):
            await watched.minutes(20)
            assert (watched.ended, watched.asked) == ([], 0)
        await watched.pool.close()

    told(story)


def test_no_question_is_asked_while_a_print_moves():
    async def story() -> None:
        watched, work = Watched(3), Work()
        async with working(watched, work):
            for _ in range(100):
                work.progress += 1
                await watched.minutes(0.2)
            assert watched.asked == 0
        await watched.pool.close()

    told(story)


def test_a_harmless_question_on_an_unresponsive_interface_is_given_up_while_others_answer():
    async def story() -> None:
        watched = Watched(2)
        async with working(watched, Work(Purpose.QUESTION)):
            await watched.minutes(2)
            assert watched.ended == [0]
        await watched.pool.close()

    told(story)


def test_a_lost_question_is_given_up_though_the_idle_printer_lacks_ink():
    async def story() -> None:
        watched = Watched(2)
        watched.state, watched.reasons = PrinterState.IDLE, ("marker-supply-empty-error",)
        watched.evidence.state_report(watched.state, watched.reasons)
        async with working(watched, Work(Purpose.QUESTION)) as lease:
            await watched.minutes(2)
            assert watched.ended == [0]
            assert lease.unfinished is not None
            assert not watched.detector.excuses(lease.unfinished), "its client may leave, too"
        await watched.pool.close()

    told(story)


def test_a_page_that_may_be_a_long_poll_has_twenty_minutes_until_a_document_needs_its_interface():
    async def story() -> None:
        watched = Watched(2)
        watched.state = PrinterState.IDLE

        async def document() -> None:
            async with working(watched, Work(), wait_s=300):
                raise AssertionError("the page's interface came free by itself")

        async with working(watched, Work(Purpose.PAGE, awaits=Awaits.PRINTER_ANSWERS)):
            await watched.minutes(20)
            assert (watched.ended, watched.asked) == ([], 0)
            waiting = asyncio.create_task(document())
            await watched.minutes(1.5)
            assert watched.ended == [0]
            waiting.cancel()
            await asyncio.wait([waiting])
        await watched.pool.close()

    told(story)


def test_a_long_poll_is_never_given_up():
    async def story() -> None:
        watched = Watched(2)
        async with working(watched, Work(Purpose.LONG_POLL, awaits=Awaits.PRINTER_ANSWERS)):
            await watched.minutes(300)
            assert (watched.ended, watched.asked) == ([], 0)
        await watched.pool.close()

    told(story)


async def _print(port: int, document: bytes) -> Reply:
    start = ipp_request(Operation.PRINT_JOB)
    fields = (*IPP_TYPE, ("Content-Length", str(len(start) + len(document))))
    async with connected(port) as connection:
        await connection.send(head("POST", "/ipp/print", fields) + start)
        await connection.send(document)
        return await connection.reply("POST")


@pytest.mark.parametrize("interfaces", [1, 2])
async def test_a_job_that_waits_for_paper_prints_when_paper_is_there(
    make_printer, state_path, interfaces: int
):
    printer = make_printer(interfaces=interfaces)
    document = bytes(range(256)) * 8192
    async with run_daemon(
        printer, state_path=state_path, busy_check_s=0.1, idle_stall_s=0.2, stall_s=0.4, check_s=2.0
    ) as daemon:
        printer.switch("paper-out", on=True)
        job = asyncio.create_task(_print(daemon.port(), document))
        await daemon.until(lambda: "waits" in daemon.row()["waits_for"])
        letter = asyncio.create_task(_print(daemon.port(), b"letter"))

        def prints() -> list[ExchangeStatus]:
            (row,) = daemon.supervisor.status()
            return [one for one in row.exchanges if one.kind == "document"]

        await daemon.until(lambda: len(prints()) == 2)
        small, large = sorted(prints(), key=lambda one: one.size or 0)
        assert (large.interface is None, large.is_left) == (False, False)
        assert (large.size or 0) > len(document) > large.bytes_out > 0
        assert large.waits_for == Awaits.PRINTER_TAKES
        assert "uid" in small.client
        waits = r"since \d\d:\d\d: a print of .+ and a print of .+ wait$"
        await daemon.until(lambda: re.search(waits, explained(daemon.supervisor.status()[0])))
        (row,) = daemon.supervisor.status()
        assert "paper out" in explained(row)  # its own word, or that of its USB port
        await asyncio.sleep(1.0)  # longer than any limit
        assert not job.done()
        assert daemon.row()["ended"] == []
        printer.switch("paper-out", on=False)
        assert ((await job).status, (await letter).status) == (200, 200)
        await daemon.until(lambda: not daemon.row()["exchanges"])
    assert all(stored.completed for stored in printer.documents)
    kept = {stored.sha256 for stored in printer.documents}
    assert kept == {hashlib.sha256(one).hexdigest() for one in (document, b"letter")}


async def test_a_patient_client_is_told_that_the_printer_is_unresponsive_and_the_next_is_served(
    make_printer, state_path
):
    printer = make_printer(interfaces=2)
    async with run_daemon(
        printer, state_path=state_path, busy_check_s=0.3, drain_s=0.3, check_s=0.5, supplies_s=0.0
    ) as daemon:
        printer.switch("deaf-until-set-interface", on=True)
        replies = [await ask(daemon.port()) for _ in range(4)]
        assert sorted({reply.status for reply in replies}) in ([200], [200, 503])
        await daemon.until_idle()
        assert (await ask(daemon.port())).status == 200


async def test_a_bug_in_the_stall_detector_is_logged_as_an_error(
    make_printer, state_path, monkeypatch, caplog
):
    async def broken(self: StallDetector) -> None:
        raise ZeroDivisionError("a bug")

    async with run_daemon(make_printer(), state_path=state_path, busy_check_s=0.2) as daemon:
        monkeypatch.setattr(StallDetector, "step", broken)
        await daemon.until(lambda: "a bug" in caplog.text)
        monkeypatch.undo()
        await daemon.until_state("ready")
    assert any(record.exc_info for record in caplog.records)
