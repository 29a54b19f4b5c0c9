"""What a pool is made of: interfaces and their states, leases, unfinished exchanges.

Shapes only; every decision is the pool's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from ippusbd import kinds
from ippusbd.errors import NoInterface
from ippusbd.kinds import Diagnosis
from ippusbd.model import Awaits
from ippusbd.usbio.protocols import Channel

LONG_S: Final = 5.0  # an exchange that lasts longer is a long one


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


class Purpose(Enum):
    """What a request is for."""

    DOCUMENT = "document"  # to be printed or faxed
    SCAN = "scan"  # a page being scanned
    QUESTION = "question"  # changes nothing, and may be asked again
    PAGE = "page"  # of its web server: it may come late, and change something
    LONG_POLL = "long poll"  # answered when something happens, however late
    OTHER = "other"

    @property
    def is_work(self) -> bool:
        """The printer may be working on it for minutes."""
        return self in (Purpose.DOCUMENT, Purpose.SCAN, Purpose.OTHER)


@dataclass(frozen=True, slots=True)
class About:
    """An exchange, or a request that waits for an interface. Times are the loop's."""

    client: str
    request: str  # method and target
    purpose: Purpose
    size: int | None  # of its body
    began_at: float
    moved_at: float = 0.0  # a byte
    bytes_out: int = 0
    bytes_in: int = 0


class Unfinished(Protocol):
    """An exchange on a leased interface, which its client may leave unfinished."""

    @property
    def about(self) -> About:
        """What it is, for status."""

    @property
    def progress(self) -> int:
        """Another number whenever a byte moved."""

    @property
    def purpose(self) -> Purpose: ...

    @property
    def awaits(self) -> Awaits: ...

    @property
    def taken(self) -> bool:
        """The printer took the request to its end."""

    def give_up(self) -> None:
        """The device is gone and nothing can be finished: stop at once."""

    async def finish(self, quiet_s: float, excused: Callable[[], bool] = lambda: False) -> None:
        """Bring the exchange to its end without its client.

        Raises PrinterSilent when nothing moved for `quiet_s`, unless it is `excused`: the
        printer has all it needs, and has a reason to wait.
        """


class Claims(Protocol):
    """Releases interfaces to the kernel, and claims them again."""

    async def claim(self, number: int) -> Channel:
        """Raises DeviceBusy while another program holds it, DeviceGone, or another UsbError."""

    async def release(self, channel: Channel) -> None: ...


class Lease:
    """The exclusive use of one interface. Set `unfinished` as soon as a request is sent."""

    def __init__(
        self,
        channel: Channel,
        contended: Callable[[], bool],
        hinders: Callable[[], bool] = lambda: False,
        turns_long: Callable[[], None] = lambda: None,
    ) -> None:
        self.channel = channel
        self.unfinished: Unfinished | None = None
        self.turns_long = turns_long  # its exchange turned out to be a long one
        self._contended = contended
        self._hinders = hinders

    @property
    def contended(self) -> bool:
        """Others wait for an interface now."""
        return self._contended()

    @property
    def hinders(self) -> bool:
        """Others wait for an interface, or to write: some printers take nothing meanwhile."""
        return self._contended() or self._hinders()


@dataclass(slots=True, eq=False)
class PoolSlot:
    """One interface in the pool. Its channel is None while it is not claimed."""

    number: int
    channel: Channel | None
    state: SlotState = SlotState.FREE
    lane: Lane = Lane.SHORT
    leased_at: float = 0.0  # in the loop's time
    lease: Lease | None = None
    unfinished: Unfinished | None = None  # what is drained
    ready_at: float = 0.0  # in the loop's time: no request before
    claim_at: float = 0.0  # no claim before
    failures: int = 0  # claims in a row that failed
    again: bool = False  # to be tried though nobody waits for it: is the trouble over?
    trouble: Diagnosis | None = None  # why it could not be claimed
    stale: bool = False  # claimed with settings that do not hold any more

    def is_long(self, now: float) -> bool:
        """It has an exchange that was known to be long, or turned out to be."""
        busy = self.state in (SlotState.LEASED, SlotState.DRAINING)
        return busy and (self.lane is Lane.LONG or now - self.leased_at > LONG_S)

    @property
    def work(self) -> Unfinished | None:
        """The exchange on it, leased or drained."""
        return self.unfinished if self.lease is None else self.lease.unfinished


@dataclass(slots=True, eq=False)
class Waiter:
    lane: Lane
    slot: asyncio.Future[PoolSlot]
    turn: int = 0  # see `FairQueue`


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """For status and metrics."""

    total: int
    in_use: int
    draining: int
    broken: int
    released: int
    waiting: int


def none_works(slots: Iterable[PoolSlot]) -> bool:
    """Every interface is broken; recovery has not helped, and is tried again later."""
    return all(slot.state is SlotState.BROKEN for slot in slots)


def troubles(slots: Iterable[PoolSlot]) -> list[Diagnosis]:
    """Why interfaces could not be claimed again."""
    return [slot.trouble for slot in slots if slot.trouble is not None]


def none_free(slots: Sequence[PoolSlot], explained: str) -> NoInterface:
    """Why no interface came free in time; `explained`: what the printer waits for."""
    usual, held, found = kinds.Kind.BUSY, kinds.Kind.HELD, troubles(slots)
    if none_works(slots):
        usual = kinds.Kind.SILENT
    why = [*dict.fromkeys(map(str, found))] or [usual.sentence]
    kind = held if any(one.kind == held.label for one in found) else usual
    return NoInterface("; ".join(filter(None, (*why, explained))), kind=kind)
