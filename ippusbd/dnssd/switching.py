"""Sets of services that are announced by one publisher after the other.

A publication outlives every switch and keeps the name it has. It is at one publisher at a time:
withdrawn from the old one before it is announced by the new.

Knows publishers by their protocol; which one it is to be, its subclasses decide.
"""

from __future__ import annotations

import asyncio

from ippusbd.dnssd.protocols import REGISTERING, WITHDRAWN, Publication, Publisher
from ippusbd.dnssd.publication import TaskPublication, TaskPublisher
from ippusbd.model import ServiceSet


class SwitchedPublication(TaskPublication["SwitchingPublisher"]):
    """One set of services, at the publisher that is the current one."""

    _inner: Publication | None = None

    @property
    def name(self) -> str:
        return self._inner.name if self._inner else self.services.name

    @property
    def state(self) -> str:
        """The current publisher's, or why there is none."""
        if self._state == WITHDRAWN:
            return WITHDRAWN
        return self._inner.state if self._inner else self._owner.trouble or REGISTERING

    async def announce(self) -> None:
        """Be where the owner says, until cancelled."""
        try:
            while True:
                changed, publisher = self._owner.changed, self._owner.current
                if publisher is not None:
                    self._inner = await publisher.publish(self.services)
                    self._settled.set()
                await changed.wait()
                await self._leave()
        finally:
            await self._leave()

    async def _leave(self) -> None:
        if self._inner is not None:
            self.services = self.services.renamed(self._inner.name)
            await self._inner.withdraw()
            self._inner = None


class SwitchingPublisher(TaskPublisher):
    """Announces through `current`, which subclasses set by `use`."""

    def __init__(self, nothing: str) -> None:
        """`nothing`: the trouble while there is no current publisher."""
        super().__init__()
        self.current: Publisher | None = None
        self.changed = asyncio.Event()  # replaced when `current` is
        self._nothing = nothing

    @property
    def kind(self) -> str:
        """What announces now; `off` while nothing does."""
        return self.current.kind if self.current else "off"

    @property
    def trouble(self) -> str:
        return self.current.trouble if self.current else self._nothing

    def publication(self, services: ServiceSet) -> SwitchedPublication:
        return SwitchedPublication(self, services)

    def use(self, publisher: Publisher | None) -> None:
        """Move every set to `publisher`; None: withdraw them until there is one."""
        self.current = publisher
        self.changed.set()
        self.changed = asyncio.Event()
