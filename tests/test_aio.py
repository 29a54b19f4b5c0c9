"""The event loop, and tasks that must not be lost."""

from __future__ import annotations

import asyncio
import logging
import selectors
import socket
import time

import pytest
from support.fake_channel import FakeChannel
from support.time_lapse import told

from ippusbd.aio import Selector, cancel_and_wait, coarse_clock, keep_running, run, run_to_end
from ippusbd.usbio.pool import InterfacePool


def test_a_busy_loop_looks_at_its_sockets_in_its_fourth_turn_and_an_idle_one_at_once():
    ours, theirs = socket.socketpair()
    with ours, theirs, Selector() as selector:
        selector.register(ours, selectors.EVENT_READ)
        theirs.send(b"x")
        for _ in range(2):
            assert [bool(selector.select(0)) for _ in range(4)] == [False, False, False, True]
            assert selector.select(60)  # nothing waits


def test_the_loops_clock_goes_on_while_a_task_never_waits():
    async def story() -> float:
        loop = asyncio.get_running_loop()
        end = loop.time() + 0.02
        while True:  # busy, until the time is over
            await asyncio.sleep(0)
            if (at := loop.time()) >= end:
                return at

    began = time.monotonic()
    assert began < run(story()) <= time.monotonic()


def test_a_timer_that_is_set_after_a_long_turn_is_not_early():
    async def never_waits() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def story() -> float:
        busy = asyncio.create_task(never_waits())
        await asyncio.sleep(0)
        time.sleep(0.05)  # noqa: ASYNC251 -- what a callback may do
        began = time.monotonic()
        await asyncio.wait([busy], timeout=0.04)
        busy.cancel()
        return time.monotonic() - began

    assert run(story()) >= 0.04


def test_notes_are_of_the_last_look_at_the_clock():
    async def story() -> None:
        loop = asyncio.get_running_loop()
        clock = coarse_clock(loop)
        began = loop.time()
        time.sleep(0.02)  # noqa: ASYNC251 -- a long turn
        assert clock() == began
        await asyncio.sleep(0.001)
        assert began + 0.02 < clock() <= loop.time() == clock()

    run(story())


async def test_notes_of_another_loop_are_of_its_clock():
    loop = asyncio.get_running_loop()
    assert coarse_clock(loop) == loop.time


def test_a_socket_is_served_while_a_task_never_waits():
    async def story() -> bytes:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            received = asyncio.create_task(loop.sock_recv(ours, 1))
            await asyncio.sleep(0)
            theirs.send(b"x")
            while True:  # busy, until it was served
                await asyncio.sleep(0)
                if received.done():
                    return received.result()

    assert run(story()) == b"x"


def test_a_main_task_that_fails_is_loud_and_started_again(caplog: pytest.LogCaptureFixture):
    async def story() -> None:
        runs: list[float] = []
        loop = asyncio.get_running_loop()

        async def work() -> None:
            runs.append(loop.time())
            if len(runs) < 3:
                raise ZeroDivisionError("a bug")

        await keep_running("look for printers", work, pause_s=5)
        assert [round(at - runs[0]) for at in runs] == [0, 5, 10]

    told(story)
    failures = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(failures) == 2
    assert all(r.exc_info for r in failures)
    assert "look for printers failed" in failures[0].getMessage()


async def test_a_cancelled_main_task_ends_with_what_it_began():
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(keep_running("work", work))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert ended.is_set()


async def test_what_must_come_to_its_end_does_and_its_caller_hears_of_the_cancellation_after_it():
    done = asyncio.Event()

    async def close() -> None:
        await asyncio.sleep(0.02)
        done.set()

    task = asyncio.create_task(run_to_end(close()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert done.is_set()


async def test_a_task_that_ends_something_first_is_cancelled_until_it_is_over():
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await cancel_and_wait(task)
    assert task.done()


async def test_a_bug_in_a_drain_ends_the_pool_loudly_instead_of_keeping_its_interface(
    caplog: pytest.LogCaptureFixture,
):
    class Broken:
        async def finish(self, quiet_s: float, excused: object = None) -> None:
            raise ZeroDivisionError("a bug")

    pool = InterfacePool([FakeChannel()], drain_s=1)
    async with pool.lease(wait_s=1) as lease:
        lease.unfinished = Broken()  # type: ignore[assignment]
    async with asyncio.timeout(5):
        assert "error of ippusbd itself" in str(await pool.gone())
    assert any(r.exc_info for r in caplog.records)
    await pool.close()
