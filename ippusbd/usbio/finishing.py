"""What must be brought to its end once it has begun, also when its caller is cancelled.

A device that was half closed keeps its threads, its claims and its drivers' places. So a
teardown runs in a task of its own, and whoever is cancelled in the meantime hears of it after
the end. Only for work whose every wait is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is not interrupted; CancelledError after it, if one came."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # looked at: the cancellation outranks it
        raise cancelled
    return task.result()
