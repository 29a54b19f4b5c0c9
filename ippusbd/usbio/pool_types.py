"""What a pool is made of: interfaces and their states, leases, and what is owed on them.

Shapes only; every decision is the pool's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ippusbd.usbio.protocols import Channel


class SlotState(Enum):
    FREE = "free"
    LEASED = "leased"
    DRAINING = "draining"
    RECOVERING = "recovering"
    BROKEN = "broken"
    RELEASED = "released"  # to the kernel; claimed for the next request
    CLAIMING = "claiming"
    RELEASING = "releasing"


class Lane(Enum):
    """How long a request may keep its interface."""

    SHORT = "short"  # status, cancel, small pages
    LONG = "long"  # documents and pictures


class Unfinished(Protocol):
    """What stands on an interface, and what a client may leave there unfinished."""

    @property
    def progress(self) -> int:
        """Another number whenever a byte moved."""

    @property
    def awaits_printer(self) -> bool:
        """It is the printer's turn, not the client's."""

    @property
    def taken(self) -> bool:
        """The printer took the request to its end."""

    @property
    def repeatable(self) -> bool:
        """Asked twice it does nothing twice."""

    def give_up(self) -> None:
        """The device is gone and nothing can be settled: stop at once."""

    async def finish(self, quiet_s: float) -> None:
        """Bring the exchange to its end; raises when nothing moves for `quiet_s`."""


class Claims(Protocol):
    """Gives interfaces back to the kernel, and takes them again."""

    async def claim(self, number: int) -> Channel:
        """Raises DeviceBusy while somebody else holds it, DeviceGone, or another UsbError."""

    async def release(self, channel: Channel) -> None: ...


class Lease:
    """The exclusive use of one interface. Set `owed` as soon as the printer was asked something."""

    def __init__(self, channel: Channel, contended: Callable[[], bool]) -> None:
        self.channel = channel
        self.unfinished: Unfinished | None = None
        self._contended = contended

    @property
    def contended(self) -> bool:
        """Others wait for an interface now."""
        return self._contended()


@dataclass(slots=True, eq=False)
class PoolSlot:
    """One interface in the pool. Its channel is None while it is not claimed."""

    number: int
    channel: Channel | None
    state: SlotState = SlotState.FREE
    lane: Lane = Lane.SHORT
    lease: Lease | None = None
    ready_at: float = 0.0  # in the loop's time: its printer wants a pause between requests


@dataclass(slots=True, eq=False)
class Waiter:
    lane: Lane
    slot: asyncio.Future[PoolSlot]
    turn: int = 0  # see `turns`


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """For status and metrics."""

    total: int
    in_use: int
    draining: int
    broken: int
    released: int
    waiting: int
