"""What the publishers share: sets of services, each announced by a task of its own.

The task belongs to the publication from the first moment to `withdraw`, and its own exit
withdraws everything it has registered: cancelling it is how a set is withdrawn, and it is
cancelled exactly once, because goodbyes are sent while it ends.

Knows states and waiting; how services are announced is its subclasses' business.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import Any, Final, Generic, TypeVar

from ippusbd.dnssd.limits import check
from ippusbd.dnssd.protocols import ESTABLISHED, REGISTERING, WITHDRAWN
from ippusbd.model import ServiceSet

log = logging.getLogger("ippusbd.dnssd")

WITHDRAW_S: Final = 3.5  # zeroconf's goodbyes take up to 3 s

Owner = TypeVar("Owner", bound="TaskPublisher")


class TaskPublication(ABC, Generic[Owner]):
    """A `protocols.Publication`; subclasses say in `announce` how it is kept announced."""

    def __init__(self, owner: Owner, services: ServiceSet) -> None:
        self._owner = owner
        self.services = services
        self._name = services.name
        self._state: str = REGISTERING
        self._settled = asyncio.Event()
        self._task = asyncio.create_task(self.announce(), name=f"dnssd: {services.name}")

    @property
    def name(self) -> str:
        return self._name

    @property
    def state(self) -> str:
        return self._state

    @abstractmethod
    async def announce(self) -> None:
        """Announce the set, again and again if need be, until cancelled; then withdraw it."""

    def set_state(self, state: str) -> None:
        """Change `state`; any but `registering` is what `publish` waits for."""
        if state != self._state:
            log.info("%r: %s", self.name, state)
            self._state = state
        if state != REGISTERING:
            self._settled.set()

    async def settled(self, patience_s: float) -> None:
        """Wait until established or known why not, at most `patience_s`. Cancelled: withdraw."""
        try:
            async with asyncio.timeout(patience_s):
                await self._settled.wait()
        except TimeoutError:
            pass  # the task goes on
        except asyncio.CancelledError:
            await self.withdraw()  # nobody else has the publication
            raise

    async def withdraw(self) -> None:
        if self._state != WITHDRAWN:
            was, self._state = self._state, WITHDRAWN
            self._owner.publications.discard(self)
            self._task.cancel()
            if was == ESTABLISHED:
                log.info("%r: withdrawn", self.name)
        # Leaving the bus withdraws what an announcer that hangs does not.
        await asyncio.wait({self._task}, timeout=WITHDRAW_S)


class TaskPublisher(ABC):
    """The part of a `protocols.Publisher` that is the same for all."""

    patience_s = 5.0  # how long `publish` waits

    def __init__(self) -> None:
        self.publications: set[TaskPublication[Any]] = set()

    @abstractmethod
    def publication(self, services: ServiceSet) -> TaskPublication[Any]:
        """A new publication, whose task runs already."""

    async def publish(self, services: ServiceSet) -> TaskPublication[Any]:
        check(services)
        publication = self.publication(services)
        self.publications.add(publication)
        await publication.settled(self.patience_s)
        return publication

    async def close(self) -> None:
        """Withdraw every set that is still announced."""
        await asyncio.gather(*(each.withdraw() for each in list(self.publications)))
