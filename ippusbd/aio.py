"""The event loop, and tasks that must not be lost: run to their end, waited for, kept running.

Knows asyncio and our own errors; nothing of what the tasks do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ippusbd.errors import IppUsbError

T = TypeVar("T")

log = logging.getLogger("ippusbd.daemon")

RESTART_S = 5.0  # pause before a failed main task is started again
CANCEL_S = 1.0  # pause between two cancellations of a task that finishes something before it ends

BUSY_TURNS = 3  # of a busy loop, between two looks at its sockets


def run(work: Coroutine[Any, Any, T]) -> T:
    """asyncio.run, with a `Loop`."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(work)


class Loop(asyncio.SelectorEventLoop):
    """Looks at its sockets when nothing else is to be done, or in its fourth turn.

    asyncio does in every turn, and at the clock besides, for timers. A small exchange takes ten
    turns, of which seven only carry a result from one task to the next.
    """

    def __init__(self) -> None:
        self._looks = Selector()
        super().__init__(self._looks)

    def time(self) -> float:
        """asyncio asks directly after each `select`: it is told the time of the last look."""
        if self._looks.is_asked:
            return self._looks.at_clock()
        self._looks.is_asked = True
        return self._looks.looked_at

    def last_look(self) -> float:
        """When something looked at the clock last: never later than `time`."""
        return self._looks.looked_at


class Selector(selectors.DefaultSelector):
    """Lets a loop that has callbacks to run go on for `BUSY_TURNS` without asking the kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_at = time.monotonic()
        self.is_asked = True  # the time, since the last `select`
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.is_asked = False
        if timeout is not None and timeout <= 0 and self._turns < BUSY_TURNS:
            self._turns += 1
            return []
        events = super().select(timeout)
        self.at_clock()
        self._turns = 0
        return events

    def at_clock(self) -> float:
        """The time now, in seconds."""
        self.looked_at = time.monotonic()
        return self.looked_at


def now() -> float:
    """The running loop's clock, in seconds: `time.monotonic`, unless a loop has its own."""
    return asyncio.get_running_loop().time()


def coarse_clock(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """The clock of `loop` as of the last look at it, for notes of when something happened.

    They are early by up to four turns of the loop, and several may be equal: nothing that counts
    from them may be harmed by a long turn, and they tell no two events apart.
    """
    return loop.last_look if isinstance(loop, Loop) else loop.time


async def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is not interrupted when its caller is cancelled.

    A half-closed device would keep its threads and claims, and its drivers detached, so a
    teardown runs in a task of its own. A CancelledError that comes meanwhile is raised after it.
    Only for work whose every wait is bounded.
    """
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # retrieved: the cancellation outranks it
        raise cancelled
    return task.result()


async def cancel_and_wait(task: asyncio.Task[None]) -> None:
    """Cancel `task`, more than once if it goes on to end a framing, and wait for its end."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_S)
    with contextlib.suppress(asyncio.CancelledError, IppUsbError):
        await task


async def first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Run all until the first ends, and cancel the others."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def retrieve_exception(task: asyncio.Task[None]) -> None:
    """A done callback: the reader of the channel gets the writer's failure, too."""
    if not task.cancelled():
        task.exception()


async def keep_running(
    name: str,
    work: Callable[[], Coroutine[Any, Any, None]],
    *,
    pause_s: float = RESTART_S,
) -> None:
    """Run `work` until it ends by itself; one that fails is logged, and started again.

    For the daemon's main tasks: a bug in one of them must be loud, and must not end hot-plug,
    for example, for ever.
    """
    while True:
        task = asyncio.create_task(work(), name=name)
        try:
            await asyncio.wait([task])
        finally:
            if not task.done():
                await cancel_and_wait(task)
        if task.cancelled():
            return
        failure = task.exception()
        if failure is None:
            return
        log.error("%s failed, started again in %g s: %r", name, pause_s, failure, exc_info=failure)
        await asyncio.sleep(pause_s)
