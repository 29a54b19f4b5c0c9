"""Tasks that must not be lost: run to their end, cancelled and waited for, or looked at.

Knows asyncio and our own errors; nothing of what the tasks do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from ippusbd.errors import IppUsbError

T = TypeVar("T")

CANCEL_S = 1.0  # pause between two cancellations of a task that ends something in good order


async def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is not interrupted when its caller is cancelled.

    A device that was half closed keeps its threads, its claims and its drivers' places, so a
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


def retrieve_exception(task: asyncio.Task[None]) -> None:
    """A done callback: whoever reads the channel is told of a writer's failure, too."""
    if not task.cancelled():
        task.exception()
