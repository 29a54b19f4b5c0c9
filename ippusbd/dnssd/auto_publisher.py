"""Avahi while it runs, our own multicast DNS while it does not.

Avahi serves every client on the machine and withdraws at once when we die, so it is always
preferred. When it goes it is given a moment to come back (a restart takes a second) before
python-zeroconf takes over; when it comes back, zeroconf says goodbye first, so that Avahi does
not find the printer's name taken by ourselves.

    UNDECIDED --Avahi runs--> AVAHI --gone for grace_s--> ZEROCONF --Avahi runs--> AVAHI
              --no Avahi there----------------------------> ZEROCONF

A publication outlives every switch, keeps the name it has, and belongs to one announcer at a
time. Knows the two publishers; nothing of how they announce.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Protocol

from ippusbd.dnssd.avahi_publisher import AvahiPublisher
from ippusbd.dnssd.limits import check
from ippusbd.dnssd.protocols import REGISTERING, WITHDRAWN, Publication, Publisher
from ippusbd.dnssd.zeroconf_publisher import ZeroconfPublisher
from ippusbd.model import ServiceSet

log = logging.getLogger("ippusbd.dnssd")

LOOKING = "looking for Avahi"


class Owner(Protocol):
    """Who says which announcer a publication is to be at."""

    changed: asyncio.Event  # replaced when `current` is
    publications: set[AutoPublication]

    @property
    def current(self) -> Publisher | None:
        """The announcer of now."""

    @property
    def trouble(self) -> str:
        """Why nothing can be announced now."""


class AutoPublication:
    """One set of services, at one announcer after the other."""

    def __init__(self, owner: Owner, services: ServiceSet) -> None:
        self._owner = owner
        self._services = services
        self._inner: Publication | None = None
        self._announced = asyncio.Event()  # an announcer took it, for better or worse
        self._withdrawn = False
        self._task = asyncio.create_task(self._follow(), name=f"dnssd: {services.name}")

    @property
    def name(self) -> str:
        """The instance name in use."""
        return self._inner.name if self._inner else self._services.name

    @property
    def state(self) -> str:
        """As the announcer says."""
        if self._withdrawn:
            return WITHDRAWN
        if self._inner:
            return self._inner.state
        return self._owner.trouble or REGISTERING

    async def _follow(self) -> None:
        """Be where the owner says, until cancelled."""
        try:
            while True:
                changed, publisher = self._owner.changed, self._owner.current
                if publisher is not None:
                    self._inner = await publisher.publish(self._services)
                    self._announced.set()
                await changed.wait()
                await self._leave()
        finally:
            await self._leave()

    async def _leave(self) -> None:
        if self._inner is not None:
            self._services = self._services.renamed(self._inner.name)
            await self._inner.withdraw()
            self._inner = None

    async def settled(self, patience_s: float) -> None:
        """Wait until an announcer took it, at most `patience_s`. Cancelled: withdraw."""
        try:
            async with asyncio.timeout(patience_s):
                await self._announced.wait()
        except TimeoutError:
            pass  # it goes on by itself
        except asyncio.CancelledError:
            await self.withdraw()  # nobody else knows of it
            raise

    async def withdraw(self) -> None:
        """Take the services back. Idempotent."""
        if not self._withdrawn:
            self._withdrawn = True
            self._owner.publications.discard(self)
            self._task.cancel()  # a publish that is cancelled takes everything back
        await asyncio.wait({self._task})


class AutoPublisher:
    """Announces through Avahi or, where none runs, by zeroconf."""

    def __init__(
        self,
        avahi: AvahiPublisher,
        zeroconf: ZeroconfPublisher,
        *,
        grace_s: float = 2.5,
        patience_s: float = 5.0,
    ) -> None:
        """`grace_s`: how long Avahi may be away before zeroconf takes over; `patience_s`: how
        long `publish` waits."""
        self._avahi = avahi
        self._zeroconf = zeroconf
        self._grace_s = grace_s
        self._patience_s = patience_s
        self.current: AvahiPublisher | ZeroconfPublisher | None = None
        self.changed = asyncio.Event()  # replaced when `current` is
        self.publications: set[AutoPublication] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def kind(self) -> str:
        """`avahi` or `zeroconf`; `off` while undecided."""
        return self.current.kind if self.current else "off"

    @property
    def trouble(self) -> str:
        """Why nothing can be announced now."""
        return self.current.trouble if self.current else LOOKING

    async def start(self) -> None:
        """Look for Avahi; without one, zeroconf is chosen a moment later."""
        await self._avahi.start()
        self._task = asyncio.create_task(self._choose(), name="dnssd: choose the announcer")

    async def publish(self, services: ServiceSet) -> AutoPublication:
        """See `ports.Publisher.publish`."""
        check(services)
        publication = AutoPublication(self, services)
        self.publications.add(publication)
        await publication.settled(self._patience_s)
        return publication

    async def close(self) -> None:
        """Withdraw everything, leave the bus, close the sockets."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await asyncio.gather(*(each.withdraw() for each in list(self.publications)))
        await asyncio.gather(self._avahi.close(), self._zeroconf.close())

    async def _choose(self) -> None:
        while True:
            if self._avahi.server.session is not None:
                self._use(self._avahi)
                await self._avahi.changed()
            elif self.current is self._zeroconf:
                await self._avahi.changed()
            elif not await self._comes_back():
                await self._zeroconf.start()
                self._use(self._zeroconf)

    async def _comes_back(self) -> bool:
        """Wait for Avahi, `grace_s` at most; not at all if there was none from the beginning."""
        if self.current is None and not self._avahi.server.is_there:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace_s):
                while self._avahi.server.session is None:
                    await self._avahi.changed()
                return True
        return False

    def _use(self, publisher: AvahiPublisher | ZeroconfPublisher) -> None:
        if publisher is not self.current:
            log.info("announcing by %s", publisher.kind)
            self.current = publisher
            self.changed.set()
            self.changed = asyncio.Event()
