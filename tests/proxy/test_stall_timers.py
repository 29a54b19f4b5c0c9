"""Who reads nothing is let go only while others wait; whoever reads is never timed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ippusbd.proxy.stall_timers import ReaderStallTimer, UploadStallTimer


class Clock:
    """The loop's time and timers in the test's hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, pause_s: float, call: Callable[[], None]) -> Clock:
        self.timers.append((self.now + pause_s, call))
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def pass_to(self, moment: float) -> None:
        while due := [timer for timer in self.timers if timer[0] <= moment]:
            self.timers.remove(due[0])
            self.now = due[0][0]
            due[0][1]()
        self.now = moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


def paced(clock: Clock, *, contended: Callable[[], bool]) -> tuple[ReaderStallTimer, list[float]]:
    let_go: list[float] = []
    pace = ReaderStallTimer(contended, 10.0, lambda: let_go.append(clock.now))
    pace._loop = clock  # type: ignore[assignment]
    return pace, let_go


async def test_a_stalled_write_is_ended_when_others_wait(clock: Clock):
    pace, let_go = paced(clock, contended=lambda: True)
    with pace:
        clock.pass_to(4.0)
        write = asyncio.ensure_future(pace.of(asyncio.Event().wait()))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        clock.pass_to(13.9)
        assert let_go == []
        clock.pass_to(100.0)
        assert let_go == [14.0]
    write.cancel()
    await asyncio.wait([write])


async def test_a_stalled_write_goes_on_until_somebody_waits(clock: Clock):
    others: list[int] = []
    pace, let_go = paced(clock, contended=lambda: bool(others))
    with pace:
        write = asyncio.ensure_future(pace.of(asyncio.Event().wait()))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        clock.pass_to(35.0)
        assert let_go == []
        others.append(1)
        clock.pass_to(40.0)
        assert let_go == [40.0]
    write.cancel()
    await asyncio.wait([write])


async def test_many_short_writes_are_no_stall(clock: Clock):
    pace, let_go = paced(clock, contended=lambda: True)
    with pace:
        for second in range(100):
            write = asyncio.ensure_future(pace.of(asyncio.sleep(0)))
            await asyncio.sleep(0)
            clock.pass_to(float(second))
            await write
        clock.pass_to(200.0)  # the printer is slow: nothing is being written
    assert let_go == []


async def test_no_timer_outlives_the_answer(clock: Clock):
    pace, _ = paced(clock, contended=lambda: True)
    with pace:
        assert clock.timers
    assert not clock.timers


# --- uploads


class Upload:
    """A client that sends, and a Trickle that watches it."""

    def __init__(self, clock: Clock) -> None:
        self.received = 0
        self.blameless = False
        self.let_go: list[float] = []
        self.trickle = UploadStallTimer(
            lambda: self.received,
            lambda: self.blameless,
            10.0,
            lambda: self.let_go.append(clock.now),
        )
        self.trickle._loop = clock  # type: ignore[assignment]


async def test_an_upload_that_stalls_is_disconnected_once(clock: Clock):
    upload = Upload(clock)
    with upload.trickle:
        for second in range(1, 60):
            upload.received += 100  # a trickle: less than a kilobyte in ten seconds
            clock.pass_to(float(second))
    assert upload.let_go == [10.0]


async def test_an_upload_that_moves_is_not_disconnected(clock: Clock):
    upload = Upload(clock)
    with upload.trickle:
        for second in range(0, 100, 9):
            clock.pass_to(float(second))
            upload.received += UploadStallTimer.LEAST
    assert upload.let_go == []


async def test_a_pause_that_is_not_the_clients_restarts_its_time(clock: Clock):
    upload = Upload(clock)
    with upload.trickle:
        upload.blameless = True
        clock.pass_to(35.0)
        upload.blameless = False
        clock.pass_to(59.0)
    assert upload.let_go == [50.0]


async def test_after_its_end_an_upload_has_no_timer(clock: Clock):
    upload = Upload(clock)
    with upload.trickle:
        clock.pass_to(5.0)
    clock.pass_to(100.0)
    assert upload.let_go == []
