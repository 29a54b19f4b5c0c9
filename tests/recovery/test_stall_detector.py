"""Deaf or just busy: no patience lost on a printer without paper, none wasted on a deaf one."""

from __future__ import annotations

import asyncio
import hashlib
import math

import pytest
from support.daemon import InProcessDaemon, run_daemon
from support.fake_channel import FakeChannel
from support.http_client import IPP_TYPE, Reply, ask, connected, head, ipp_request

from ippusbd.daemon.recovery.stall_detector import StallDetector
from ippusbd.errors import PrinterSilent, TransferTimeout
from ippusbd.model import Condition
from ippusbd.usbio.pool import InterfacePool, Lane
from ippusbd.wire.ipp import Operation, PrinterState

MINUTE_S = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Work:
    """An exchange that moves when the test says so."""

    def __init__(self, *, repeatable: bool = False, awaits_printer: bool = True) -> None:
        self.progress = 0
        self.awaits_printer = awaits_printer
        self.taken = False
        self.repeatable = repeatable

    async def finish(self, quiet_s: float) -> None:
        await asyncio.Event().wait()


class Ward:
    """A pool under watch, with the printer's answers in the test's hand."""

    def __init__(self, interfaces: int) -> None:
        self.clock = Clock()
        self.channels = [FakeChannel(number=n) for n in range(interfaces)]
        self.pool = InterfacePool(self.channels, drain_s=1)
        self.answers = True
        self.state: PrinterState | None = None
        self.attention: bool | None = False
        self.known: Condition | None = None
        self.asked = 0
        self.detector = StallDetector(
            self.pool,
            self._ask,
            self._needs_attention,
            known=lambda: self.known,
            busy_check_s=30,
            idle_stall_s=300,
            clock=self.clock,
        )

    async def _ask(self) -> PrinterState | None:
        self.asked += 1
        if not self.answers:
            raise PrinterSilent("no answer")
        return self.state

    async def _needs_attention(self) -> bool | None:
        return self.attention

    async def minutes(self, count: float) -> None:
        for _ in range(round(count * 6)):
            self.clock.now += 10
            await self.detector.step()

    def given_up(self) -> list[int]:
        return [c.number for c in self.channels if c._inbox.failure is not None]


@pytest.mark.parametrize("interfaces", [1, 3])
async def test_twenty_minutes_without_paper_are_waited_out(interfaces: int):
    ward = Ward(interfaces)
    async with ward.pool.lease(wait_s=1, lane=Lane.LONG) as lease:
        lease.unfinished = Work()
        ward.attention = True
        await ward.minutes(20)
        assert ward.given_up() == []
        assert ward.asked == (0 if interfaces == 1 else 39)
        lease.unfinished = None
    await ward.pool.close()


async def test_a_printer_that_says_it_is_stopped_is_waited_for_for_hours():
    ward = Ward(3)
    async with ward.pool.lease(wait_s=1, lane=Lane.LONG) as lease:
        lease.unfinished = Work()
        ward.state = PrinterState.STOPPED
        await ward.minutes(300)
        assert ward.given_up() == []
        ward.state = PrinterState.PROCESSING  # somebody brought paper; its patience begins anew
        await ward.minutes(19)
        assert ward.given_up() == []
        lease.unfinished = None
    await ward.pool.close()


@pytest.mark.parametrize(
    ("state", "minutes"),
    [(PrinterState.IDLE, 5), (PrinterState.PROCESSING, 20), (None, 20)],
)
async def test_a_job_that_stands_still_without_a_reason_has_met_a_deaf_interface(
    state: PrinterState | None, minutes: int
):
    ward = Ward(2)
    async with ward.pool.lease(wait_s=1, lane=Lane.LONG) as lease:
        lease.unfinished = Work()
        ward.state = state
        await ward.minutes(minutes - 0.2)
        assert ward.given_up() == []
        await ward.minutes(1)
        assert ward.given_up() == [0]
        lease.unfinished = None
    await ward.pool.close()


async def test_silence_on_all_interfaces_is_noticed_within_the_minute():
    ward = Ward(3)
    async with ward.pool.lease(wait_s=1, lane=Lane.LONG) as lease:
        lease.unfinished = Work()
        ward.answers = False
        await ward.minutes(1)
        assert ward.given_up() == [0]
        with pytest.raises(TransferTimeout):
            await lease.channel.read()
        lease.unfinished = None
    await ward.pool.close()


async def test_one_silent_interface_is_given_up_after_as_long_as_configured():
    ward = Ward(1)
    async with ward.pool.lease(wait_s=1, lane=Lane.LONG) as lease:
        lease.unfinished = Work()
        await ward.minutes(4.8)
        assert ward.given_up() == []
        await ward.minutes(1)
        assert ward.given_up() == [0]
        lease.unfinished = None
    await ward.pool.close()


@pytest.mark.parametrize(
    ("known", "patience_min"),
    [
        (None, 5),
        (Condition(state=3), 5),
        (Condition(state=4), 20),  # it was printing: a long page
        (Condition(state=5), math.inf),
        (Condition(state=4, reasons=("media-empty-error",)), math.inf),
        (Condition(state=4, reasons=("media-low-warning",)), 20),
    ],
)
async def test_where_one_interface_reports_nothing_what_the_printer_said_last_decides(
    known: Condition | None, patience_min: float
):
    ward = Ward(1)
    ward.attention, ward.known = None, known
    async with ward.pool.lease(wait_s=1, lane=Lane.LONG) as lease:
        lease.unfinished = Work()
        await ward.minutes(min(patience_min, 60) - 0.2)
        assert ward.given_up() == []
        await ward.minutes(2)
        assert ward.given_up() == ([] if math.isinf(patience_min) else [0])
        lease.unfinished = None
    await ward.pool.close()


async def test_a_port_status_without_an_error_counts_more_than_old_news():
    ward = Ward(1)
    ward.known = Condition(state=5, reasons=("media-empty-error",))  # there is paper again
    async with ward.pool.lease(wait_s=1, lane=Lane.LONG) as lease:
        lease.unfinished = Work()
        await ward.minutes(6)
        assert ward.given_up() == [0]
        lease.unfinished = None
    await ward.pool.close()


async def test_a_client_that_dawdles_is_not_taken_for_a_deaf_printer():
    ward = Ward(3)
    ward.answers = False
    async with ward.pool.lease(wait_s=1, lane=Lane.LONG) as lease:
        lease.unfinished = Work(awaits_printer=False)
        await ward.minutes(20)
        assert ward.given_up() == []
        assert ward.asked == 0
        lease.unfinished = None
    await ward.pool.close()


async def test_a_print_that_moves_is_never_asked_about():
    ward = Ward(3)
    async with ward.pool.lease(wait_s=1, lane=Lane.LONG) as lease:
        lease.unfinished = work = Work()
        for _ in range(100):
            work.progress += 1
            await ward.minutes(0.2)
        assert ward.asked == 0
        lease.unfinished = None
    await ward.pool.close()


async def test_a_harmless_question_on_a_deaf_interface_is_given_up_while_others_answer():
    ward = Ward(2)
    async with ward.pool.lease(wait_s=1) as lease:
        lease.unfinished = Work(repeatable=True)
        await ward.minutes(1.2)
        assert ward.given_up() == [0]
        lease.unfinished = None
    await ward.pool.close()


async def _print(port: int, document: bytes) -> Reply:
    start = ipp_request(Operation.PRINT_JOB)
    fields = (*IPP_TYPE, ("Content-Length", str(len(start) + len(document))))
    async with connected(port) as connection:
        await connection.send(head("POST", "/ipp/print", fields) + start)
        await connection.send(document)
        return await connection.reply("POST")


async def _requests(daemon: InProcessDaemon, count: int) -> None:
    before = daemon.row()["requests"]
    await daemon.until(lambda: daemon.row()["requests"] >= before + count)


@pytest.mark.parametrize("interfaces", [1, 2])
async def test_a_job_that_waits_for_paper_prints_when_there_is_some(
    make_printer, state_path, interfaces: int
):
    printer = make_printer(interfaces=interfaces)
    document = bytes(range(256)) * 8192
    async with run_daemon(
        printer, state_path=state_path, busy_check_s=0.1, idle_stall_s=0.2, check_s=2.0
    ) as daemon:
        printer.switch("paper-out", on=True)
        job = asyncio.create_task(_print(daemon.port(), document))
        if interfaces > 1:
            await _requests(daemon, 5)  # it was asked about again and again
        else:
            await asyncio.sleep(1.0)
        assert not job.done()
        printer.switch("paper-out", on=False)
        assert (await job).status == 200
    (stored,) = printer.documents
    assert (stored.completed, stored.sha256) == (True, hashlib.sha256(document).hexdigest())


async def test_a_patient_client_is_told_when_the_printer_went_deaf_and_the_next_is_served(
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


async def test_an_error_of_our_own_in_the_watch_is_loud(
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
