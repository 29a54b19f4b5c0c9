"""An event loop in which nobody waits: when nothing is left to do, the clock jumps.

For stories that last minutes or hours and meet nothing real but sockets of their own. While a
thread works for the loop, time passes as it really does.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class TimeLapse(asyncio.SelectorEventLoop):
    """`time()` is what the loop's clock, and everything that is given it, shows."""

    def __init__(self) -> None:
        self._skipped_s = 0.0
        self._in_threads = 0
        selector = selectors.DefaultSelector()
        self._really_select = selector.select
        selector.select = self._select  # type: ignore[method-assign]
        super().__init__(selector)

    def time(self) -> float:
        return super().time() + self._skipped_s

    def _select(self, timeout: float | None = None) -> Any:
        if self._in_threads or timeout is None:
            return self._really_select(timeout)
        events = self._really_select(0)
        if not events:
            self._skipped_s += max(timeout, 0.0)
        return events

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        self._in_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: object) -> None:
        self._in_threads -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Without a time limit, which Python 3.12 and later measure by this jumping clock."""
        self._in_threads += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._in_threads -= 1


def told(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `story` in a loop whose clock jumps."""
    with asyncio.Runner(loop_factory=TimeLapse) as runner:
        runner.run(story())
