"""How tasks of an exchange end: looked at, and waited for. Knows asyncio."""

from __future__ import annotations

import asyncio
import contextlib

from ippusbd.errors import IppUsbError

CANCEL_S = 1.0


def looked_at(task: asyncio.Task[None]) -> None:
    """A writer's failure is the channel's too, and is told by whoever reads."""
    if not task.cancelled():
        task.exception()


async def ended(task: asyncio.Task[None]) -> None:
    """Cancelled if need be, more than once if it goes on to end a framing, and waited for."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_S)
    with contextlib.suppress(asyncio.CancelledError, IppUsbError):
        await task
