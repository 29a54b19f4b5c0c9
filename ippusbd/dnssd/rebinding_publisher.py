"""A publisher whose reach changes: interfaces come and go, and addresses with them.

For every reach there is a publisher of its own; publications outlive it, and go from the old one
to the new with the name that they have. While there is no network they wait.

Knows `select`'s publishers by their protocol only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ippusbd.dnssd.auto_publisher import AutoPublication
from ippusbd.dnssd.limits import check
from ippusbd.dnssd.protocols import Publisher
from ippusbd.dnssd.scope import Scope
from ippusbd.model import ServiceSet

NOWHERE = "there is no network to announce it on"


class RebindingPublisher:
    """Announces where `move` says, by publishers that `make` makes."""

    def __init__(self, make: Callable[[Scope], Publisher]) -> None:
        self._make = make
        self.reach: Scope | None = None
        self.current: Publisher | None = None
        self.changed = asyncio.Event()  # replaced when `current` is
        self.publications: set[AutoPublication] = set()

    @property
    def kind(self) -> str:
        """What announces now."""
        return self.current.kind if self.current else "off"

    @property
    def trouble(self) -> str:
        """Why nothing can be announced now."""
        return self.current.trouble if self.current else NOWHERE

    async def start(self) -> None:
        """Nothing is announced before `move`."""

    async def move(self, reach: Scope | None) -> None:
        """Announce there from now on; None: nowhere."""
        if reach == self.reach:
            return
        self.reach, old = reach, self.current
        self._use(None)
        if old is not None:
            await old.close()
        if reach is not None:
            new = self._make(reach)
            await new.start()
            self._use(new)

    async def publish(self, services: ServiceSet) -> AutoPublication:
        """See `ports.Publisher.publish`; waits for nothing."""
        check(services)
        publication = AutoPublication(self, services)
        self.publications.add(publication)
        return publication

    async def close(self) -> None:
        """Withdraw everything."""
        await asyncio.gather(*(each.withdraw() for each in list(self.publications)))
        await self.move(None)

    def _use(self, publisher: Publisher | None) -> None:
        self.current = publisher
        self.changed.set()
        self.changed = asyncio.Event()
