"""A daemon that lives on demand takes turns with its predecessor.

Its clients start the next one as soon as the last one's sockets are gone,
while that one still gives back what it holds; the lock says when it has.

Knows the lock and the configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack
from typing import Final

from ippusbd.config import Config
from ippusbd.errors import StateError

TURN_PAUSE_S: Final = 0.05
LEAVING_S: Final = 5.0  # beyond the grace time


async def our_turn(
    stack: AsyncExitStack, lock: Callable[[], AbstractContextManager[None]], config: Config
) -> None:
    """Enter `lock`; a daemon that lives on demand waits until its predecessor has left."""
    loop = asyncio.get_running_loop()
    patience_s = config.grace_s + LEAVING_S if config.idle_exit_s else 0.0
    deadline_s = loop.time() + patience_s
    while True:
        try:
            stack.enter_context(lock())
            return
        except StateError:
            if loop.time() >= deadline_s:
                raise
        await asyncio.sleep(TURN_PAUSE_S)
