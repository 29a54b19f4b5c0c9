"""A set of services that a task of its own keeps announced.

The task belongs to the publication from the first moment to `withdraw`, and everything it has
registered is given back in its own exit: cancelling it is how a set is withdrawn, and it is
cancelled exactly once, because goodbyes are sent while it ends.

Knows states and waiting; how services are announced is its subclasses' business.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable

from ippusbd.dnssd.protocols import ESTABLISHED, REGISTERING, WITHDRAWN
from ippusbd.model import ServiceSet

log = logging.getLogger("ippusbd.dnssd")


class KeptPublication(ABC):
    """A `ports.Publication`; subclasses say in `keep` how it is kept announced."""

    def __init__(self, services: ServiceSet, forget: Callable[[KeptPublication], None]) -> None:
        """`forget` is called once, when the set is withdrawn."""
        self.name = services.name
        self.state: str = REGISTERING
        self.services = services
        self._forget = forget
        self._settled = asyncio.Event()  # established, or it is known why not
        self._task = asyncio.create_task(self.keep(), name=f"dnssd: {services.name}")

    @abstractmethod
    async def keep(self) -> None:
        """Announce the set, again and again if need be, until cancelled; then give it back."""

    def say(self, state: str) -> None:
        """Change `state`."""
        if state != self.state:
            log.info("%r: %s", self.name, state)
            self.state = state
        if state != REGISTERING:
            self._settled.set()

    async def settled(self, patience_s: float) -> None:
        """Wait until established or known why not, at most `patience_s`. Cancelled: withdraw."""
        try:
            async with asyncio.timeout(patience_s):
                await self._settled.wait()
        except TimeoutError:
            pass  # it goes on by itself
        except asyncio.CancelledError:
            await self.withdraw()  # nobody else knows of it
            raise

    async def withdraw(self) -> None:
        """Take the services back, with goodbyes; done when they are gone. Idempotent."""
        if self.state != WITHDRAWN:
            was, self.state = self.state, WITHDRAWN
            self._forget(self)
            self._task.cancel()
            if was == ESTABLISHED:
                log.info("%r: withdrawn", self.name)
        await asyncio.wait({self._task})
