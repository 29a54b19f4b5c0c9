"""Waiting for a condition instead of sleeping: a slow machine takes longer, a fast one does not."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable

WAIT_S = 20.0
MAX_PAUSE_S = 0.01

What = str | Callable[[], object]


async def until(
    condition: Callable[[], object], what: What = "", timeout_s: float = WAIT_S
) -> float:
    """Wait until `condition()`, which may be a coroutine, is true; returns the seconds it took.

    Fails with `what`, or what it returns: a description, or a state to look at.
    """
    start, pause_s = time.monotonic(), 0.0
    while True:
        done = condition()
        if inspect.isawaitable(done):
            done = await done
        took = time.monotonic() - start
        if done:
            return took
        assert took < timeout_s, _missed(what, timeout_s)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s + 0.001, MAX_PAUSE_S)


def until_true(
    condition: Callable[[], object], what: What = "", timeout_s: float = WAIT_S
) -> float:
    """As `until`, for a test without an event loop."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < timeout_s, _missed(what, timeout_s)
        time.sleep(MAX_PAUSE_S)
    return time.monotonic() - start


def _missed(what: What, timeout_s: float) -> str:
    return f"not within {timeout_s:g} s: {what() if callable(what) else what}"
