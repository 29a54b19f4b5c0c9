"""Exclusive leases on a printer's IPP-over-USB interfaces.

USB has no 'connection closed': bytes the printer queued for a lost client
arrive as the start of the next client's answer. So a lease ends only when
its response has been read to the end; whoever leaves early leaves the
reading to the pool, which outlives every request.

    FREE --lease()--> LEASED --nothing owed--> FREE
                        +--left early--> DRAINING --settled--> FREE
                                           +--failed--> RECOVERING --> FREE
                                                            +--> BROKEN (told to `on_broken`)

Where there are two or more interfaces, long transfers never take the last
one: status and cancel always get through. Every decision is one synchronous
function; no await stands between looking and taking.

Knows asyncio and `Channel`; never aiohttp, never pyusb.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ippusbd.errors import DeviceGone, IppUsbError, NoInterface, PrinterSilent
from ippusbd.usbio.ports import Channel

log = logging.getLogger("ippusbd.usb")

TOTAL_DRAINS = 10  # an answer that never ends is given up after so many drain times


class State(Enum):
    FREE = "free"
    LEASED = "leased"
    DRAINING = "draining"
    RECOVERING = "recovering"
    BROKEN = "broken"


class Lane(Enum):
    """How long a request may keep its interface."""

    SHORT = "short"  # status, cancel, small pages
    LONG = "long"  # documents and pictures


class Owed(Protocol):
    """What stands on an interface, and what a client may leave there unfinished."""

    @property
    def progress(self) -> int:
        """Another number whenever a byte moved."""

    @property
    def awaits_printer(self) -> bool:
        """It is the printer's turn, not the client's."""

    @property
    def repeatable(self) -> bool:
        """Asked twice it does nothing twice."""

    async def settle(self, quiet_s: float) -> None:
        """Bring the exchange to its end; raises when nothing moves for `quiet_s`."""


class Lease:
    """The exclusive use of one interface. Set `owed` as soon as the printer was asked something."""

    def __init__(self, channel: Channel, contended: Callable[[], bool]) -> None:
        self.channel = channel
        self.owed: Owed | None = None
        self._contended = contended

    @property
    def contended(self) -> bool:
        """Others wait for an interface now."""
        return self._contended()


@dataclass(slots=True, eq=False)
class _Place:
    """One interface in the pool."""

    channel: Channel
    state: State = State.FREE
    lane: Lane = Lane.SHORT
    lease: Lease | None = None


@dataclass(slots=True, eq=False)
class _Waiter:
    lane: Lane
    place: asyncio.Future[_Place]


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """For status and metrics."""

    total: int
    in_use: int
    draining: int
    broken: int
    waiting: int


class InterfacePool:
    """Leases on `channels`, first come first served.

    `drain_s`: how long a lost client's answer may stand still before its interface is recovered
    by `recover` (default: the channel's own reset). `on_broken` hears of an interface that could
    not be recovered; it stays in the pool, unused.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        drain_s: float,
        recover: Callable[[Channel, IppUsbError], Awaitable[None]] | None = None,
        on_broken: Callable[[Channel, IppUsbError], None] | None = None,
    ) -> None:
        self._places = [_Place(channel) for channel in channels]
        self._drain_s = drain_s
        self._recover = recover or (lambda channel, _: channel.reset())
        self._on_broken = on_broken
        self._waiters: list[_Waiter] = []  # in the order of their coming
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone: IppUsbError | None = None
        self._changed = asyncio.Event()
        self.settled = 0  # exchanges the pool finished for clients that had left
        self.recovered = 0

    @asynccontextmanager
    async def lease(self, *, wait_s: float, lane: Lane = Lane.SHORT) -> AsyncIterator[Lease]:
        """The exclusive use of an interface.

        Raises NoInterface after `wait_s`, or at once if none can ever come free; DeviceGone
        after an unplug.
        """
        place = await self._take(lane, wait_s)
        lease = place.lease = Lease(place.channel, lambda: bool(self._waiters))
        try:
            yield lease
        finally:
            # No await below: a cancelled request must still pass its channel on.
            place.lease = None
            if lease.owed is None:
                self._free(place)
            else:
                self._drain_later(place, lease.owed)

    def leases(self) -> list[Lease]:
        """What is leased now."""
        return [place.lease for place in self._places if place.lease is not None]

    @property
    def usable(self) -> int:
        """How many interfaces are not broken."""
        return sum(place.state is not State.BROKEN for place in self._places)

    def status(self) -> PoolStatus:
        states = [place.state for place in self._places]
        return PoolStatus(
            total=len(states),
            in_use=states.count(State.LEASED),
            draining=states.count(State.DRAINING) + states.count(State.RECOVERING),
            broken=states.count(State.BROKEN),
            waiting=len(self._waiters),
        )

    @property
    def idle(self) -> bool:
        """No interface is leased, draining or recovering, and nobody waits."""
        return not self._waiters and all(
            place.state in (State.FREE, State.BROKEN) for place in self._places
        )

    async def mend(self) -> int:
        """Try to recover the broken interfaces again; how many work now."""
        broken = [place for place in self._places if place.state is State.BROKEN]
        for place in broken:
            place.state = State.RECOVERING
            await self._revive(place, NoInterface("it was broken; another try"))
        return sum(place.state is not State.BROKEN for place in broken)

    @property
    def is_gone(self) -> bool:
        """Whether `abandon` was called, by an unplug or by the last broken interface."""
        return self._gone is not None

    async def gone(self) -> IppUsbError:
        """Wait for the end of this pool; why it came."""
        while self._gone is None:
            self._changed.clear()
            await self._changed.wait()
        return self._gone

    def abandon(self, reason: IppUsbError) -> None:
        """The device is gone: everybody who waits, or comes, hears `reason`."""
        if self._gone is not None:
            return
        self._gone = reason
        self._changed.set()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.place.done():
                waiter.place.set_exception(reason)

    async def join(self, grace_s: float) -> None:
        """Wait up to `grace_s` until nothing is leased or owed."""
        try:
            async with asyncio.timeout(grace_s):
                while not self.idle:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            log.warning("exchanges were cut off: not over after %.0f s", grace_s)

    async def close(self) -> None:
        """Stop all draining. The channels belong to the device, which closes them."""
        self.abandon(DeviceGone("the printer was let go"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- decisions, each in one step

    def _grantable(self, lane: Lane) -> _Place | None:
        """A free interface that `lane` may take now."""
        free = [place for place in self._places if place.state is State.FREE]
        if not free:
            return None
        usable = [place for place in self._places if place.state is not State.BROKEN]
        long = sum(p.lane is Lane.LONG for p in usable if p.state is not State.FREE)
        if lane is Lane.LONG and len(usable) > 1 and long >= len(usable) - 1:
            return None
        return free[0]

    def _grant(self) -> None:
        """Give free interfaces to those who wait, in their order."""
        for waiter in list(self._waiters):
            place = self._grantable(waiter.lane)
            if place is None:
                continue
            self._waiters.remove(waiter)
            if not waiter.place.done():
                self._occupy(place, waiter.lane)
                waiter.place.set_result(place)

    def _occupy(self, place: _Place, lane: Lane) -> None:
        place.state, place.lane = State.LEASED, lane

    def _free(self, place: _Place) -> None:
        place.state, place.lane = State.FREE, Lane.SHORT
        self._changed.set()
        self._grant()

    def _break(self, place: _Place, failure: IppUsbError) -> None:
        place.state = State.BROKEN
        self._changed.set()
        if isinstance(failure, DeviceGone):
            self.abandon(failure)
        elif all(p.state is State.BROKEN for p in self._places):
            self.abandon(NoInterface(f"no interface works any more: {failure}"))
        if self._on_broken is not None:
            self._on_broken(place.channel, failure)

    # --- waiting

    async def _take(self, lane: Lane, wait_s: float) -> _Place:
        if self._gone is not None:
            raise self._gone
        place = None if self._waiters else self._grantable(lane)
        if place is not None:
            self._occupy(place, lane)
            return place
        waiter = _Waiter(lane, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._grant()  # a long request at the head of the queue must not hold up a short one
        granted: _Place | None = None
        try:
            async with asyncio.timeout(wait_s):
                granted = await waiter.place
            return granted
        except TimeoutError:
            raise NoInterface(f"all interfaces were busy for {wait_s:.0f} s") from None
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            if granted is None:
                self._return_unwanted(waiter.place)

    def _return_unwanted(self, place: asyncio.Future[_Place]) -> None:
        """An interface granted in the very step in which its waiter gave up goes on."""
        if place.done() and not place.cancelled() and place.exception() is None:
            self._free(place.result())

    # --- what clients left behind

    def _drain_later(self, place: _Place, owed: Owed) -> None:
        if self._gone is not None:
            place.state = State.BROKEN  # nobody is left to answer
            self._changed.set()
            return
        place.state = State.DRAINING
        task = asyncio.get_running_loop().create_task(
            self._settle(place, owed), name=f"drain-interface-{place.channel.number}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, place: _Place, owed: Owed) -> None:
        try:
            async with asyncio.timeout(TOTAL_DRAINS * self._drain_s):
                await owed.settle(self._drain_s)
            self.settled += 1
            self._free(place)
        except TimeoutError:
            await self._revive(place, PrinterSilent("its answer did not end"))
        except IppUsbError as exc:
            await self._revive(place, exc)

    async def _revive(self, place: _Place, reason: IppUsbError) -> None:
        number = place.channel.number
        if isinstance(reason, DeviceGone):
            self._break(place, reason)
            return
        place.state = State.RECOVERING
        log.warning("interface %d: recovering it, because: %s", number, reason)
        try:
            await self._recover(place.channel, reason)
        except IppUsbError as exc:
            log.warning("interface %d: not recovered: %s", number, exc)
            self._break(place, exc)
        else:
            self.recovered += 1
            self._free(place)
