"""How the device's end waits: in a thread of its own, or in nobody's.

The firmware is written as coroutines. Where it has to wait it yields a `Change`: of which
signal, and for how long. Whoever runs it decides what waiting means: `run` blocks the calling
thread, an event loop resumes the coroutine when the change has come or the time is over.

Knows threads; never asyncio.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")
Steps = Coroutine["Change", bool, T]  # a coroutine of the firmware


class Signal:
    """A lock, and word of changes of what it guards."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiters: tuple[Callable[[], None], ...] = ()
        self.count = 0  # of changes

    def __enter__(self) -> None:
        self._condition.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._condition.release()

    def notify(self) -> None:
        """Something changed. May be called with the lock held."""
        with self._condition:
            self.count += 1
            self._condition.notify_all()
            for waiter in self._waiters:
                waiter()

    def block(self, timeout_s: float | None) -> None:
        """Wait for the next change; with the lock held."""
        self._condition.wait(timeout_s)

    def block_since(self, count: int, timeout_s: float | None) -> bool:
        """Wait for a change after the `count`th; False: the time is over."""
        with self._condition:
            return self._condition.wait_for(lambda: self.count != count, timeout_s)

    def subscribe(self, waiter: Callable[[], None]) -> Callable[[], None]:
        """Call `waiter`, with the lock held, at every change; returns how to undo it."""
        self._waiters += (waiter,)

        def unsubscribe() -> None:
            self._waiters = tuple(one for one in self._waiters if one is not waiter)

        return unsubscribe


@dataclass(frozen=True, slots=True)
class Change:
    """What a coroutine waits for: `await Change(...)` is False when the time was over first."""

    signal: Signal
    since: int  # the signal's count when the coroutine looked
    timeout_s: float | None = None

    def __await__(self) -> Generator[Change, bool, bool]:
        return (yield self)


def run(coroutine: Coroutine[Any, bool, T]) -> T:
    """Run a coroutine of the firmware to its end in this thread."""
    changed = None
    while True:
        try:
            wait = coroutine.send(changed)  # type: ignore[arg-type] # None at the start
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        changed = wait.signal.block_since(wait.since, wait.timeout_s)
