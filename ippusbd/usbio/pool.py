"""Exclusive leases on a printer's IPP-over-USB interfaces.

USB has no 'connection closed': bytes the printer queued for a lost client
arrive as the start of the next client's answer. So a lease ends only when
its response has been read to the end; when a client leaves early, the pool,
which outlives every request, reads the rest.

    FREE --lease()--> LEASED --finished--> FREE
                        +--left early--> DRAINING --finished--> FREE
                                           +--failed--> RECOVERING --> FREE
                                                            +--> BROKEN (`on_broken` is called)

    FREE --all idle for a while--> RELEASING --> RELEASED --request waits--> CLAIMING --> FREE

With two or more interfaces, long transfers never take the last one: status
and cancel always get through. One that is being recovered counts as left to
them. A failure to claim an interface concerns that interface only: the others
keep their exchanges, and are tried in turn. Every decision is one synchronous
function, with no await between check and grant.

Knows asyncio and `Channel`; never aiohttp, never pyusb.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import insort
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Sequence
from contextlib import asynccontextmanager, suppress

from ippusbd.errors import DeviceBusy, DeviceGone, IppUsbError, NoInterface, PrinterSilent
from ippusbd.kinds import Diagnosis, Kind
from ippusbd.model import Awaits
from ippusbd.usbio.fair_queue import FairQueue
from ippusbd.usbio.idle_release import IdleRelease
from ippusbd.usbio.pool_types import (
    Claims,
    Lane,
    Lease,
    PoolSlot,
    PoolStatus,
    SlotState,
    Unfinished,
    Waiter,
    none_free,
    none_works,
    troubles,
)
from ippusbd.usbio.protocols import Channel

__all__ = ["Claims", "InterfacePool", "Lane", "Lease", "PoolStatus", "SlotState", "Unfinished"]

log = logging.getLogger("ippusbd.usb")

CLAIM_RETRY_S = 0.25  # pause after a claim that failed; doubles
BUSY_RETRY_MAX_S, CLAIM_RETRY_MAX_S = 1.0, 15.0  # held by another program; any other failure
CLAIM_TRIES = 4  # of every interface, until claiming is given up
BROKEN_WAIT_S = 5.0  # for an interface, while none works
TOTAL_DRAINS = 10  # an answer that never ends is given up after so many drain times


class InterfacePool:
    """Leases on `channels`, first come first served for each client; clients take turns.

    `drain_s`: how long a lost client's answer may make no progress before its interface is
    recovered by `recover` (default: the channel's own reset); longer while `excused`: the
    printer has a reason to let that exchange wait. `on_broken` is called for an interface that
    could not be recovered; it stays in the pool, unused. When all are, its caller ends the pool.

    With `claims`, interfaces are released after `idle_release_s` without a request (0: never)
    if `may_release` allows it, and claimed for the next request; those in `released` are not
    claimed yet. `pause_s`: after an answer.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        drain_s: float,
        recover: Callable[[Channel, IppUsbError], Awaitable[None]] | None = None,
        on_broken: Callable[[Channel, IppUsbError], None] | None = None,
        excused: Callable[[Unfinished], bool] = lambda _: False,
        claims: Claims | None = None,
        released: Sequence[int] = (),
        idle_release_s: float = 0.0,
        may_release: Callable[[], bool] = lambda: True,
        pause_s: float = 0.0,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._slots = [PoolSlot(channel.number, channel) for channel in channels]
        self._slots += [PoolSlot(number, None, SlotState.RELEASED) for number in released]
        self._claims = claims
        self._pause_s = pause_s
        self._idle = IdleRelease(idle_release_s if claims is not None else 0.0)
        self._may_release = may_release
        self._release_timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0  # in the loop's time
        self._retry_timer: asyncio.TimerHandle | None = None
        self._drain_s = drain_s
        self._excused = excused
        self._recover = recover or (lambda channel, _: channel.reset())
        self._on_broken = on_broken
        self._waiters: list[Waiter] = []  # in the order of their turns
        self._fair_queue = FairQueue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone: IppUsbError | None = None
        self._changed = asyncio.Event()
        self._asked = asyncio.Event()
        self._used = asyncio.Event()
        self.uses = 0  # leases so far
        # Wraps leased channels, for a trace.
        self.witness: Callable[[Channel], Channel] | None = None
        self.explain: Callable[[], str] = lambda: ""  # what the printer waits for, in refusals
        self.finished = 0  # exchanges the pool finished for clients that had left
        self.recovered = 0  # interfaces that worked again after a recovery

    @asynccontextmanager
    async def lease(
        self, *, wait_s: float, lane: Lane = Lane.SHORT, client: Hashable = None
    ) -> AsyncIterator[Lease]:
        """The exclusive use of an interface, for one of `client`'s requests.

        Raises NoInterface after `wait_s`, or at once if none can ever come free; DeviceGone
        after an unplug.
        """
        slot = await self._take(lane, wait_s, client)
        assert slot.channel is not None
        channel = slot.channel if self.witness is None else self.witness(slot.channel)
        lease = slot.lease = Lease(
            channel,
            lambda: bool(self._waiters),
            lambda: self._others_write(slot),
            lambda: self._turn_long(slot, lease),
        )
        try:
            yield lease
        finally:
            # No await below: a cancelled request must still pass its channel on.
            slot.lease = None
            if lease.unfinished is None:
                self._free(slot)
            else:
                self._drain_later(slot, lease.unfinished)

    @property
    def slots(self) -> Sequence[PoolSlot]:
        """All interfaces, to be looked at only."""
        return self._slots

    @property
    def troubles(self) -> list[Diagnosis]:
        """Why interfaces could not be claimed again."""
        return troubles(self._slots)

    def renew(self) -> None:
        """Release every interface as soon as it is free: settings for its next claim changed."""
        for slot in self._slots:
            slot.stale = slot.channel is not None
        self._release_now([slot for slot in self._slots if slot.state is SlotState.FREE])

    def held(self, troubles: dict[int, Diagnosis]) -> None:
        """These interfaces could not be claimed at the start."""
        for slot in self._slots:
            slot.trouble = troubles.get(slot.number, slot.trouble)

    def status(self) -> PoolStatus:
        states = [slot.state for slot in self._slots]
        return PoolStatus(
            total=len(states),
            in_use=states.count(SlotState.LEASED),
            draining=states.count(SlotState.DRAINING) + states.count(SlotState.RECOVERING),
            broken=states.count(SlotState.BROKEN),
            released=states.count(SlotState.RELEASED),
            waiting=len(self._waiters),
        )

    @property
    def idle(self) -> bool:
        """No interface is leased, draining or recovering, and nobody waits."""
        return not self._waiters and all(
            slot.state in (SlotState.FREE, SlotState.BROKEN, SlotState.RELEASED)
            for slot in self._slots
        )

    async def retry_broken(self) -> int:
        """Try again to recover the broken interfaces; how many work now."""
        broken = [slot for slot in self._slots if slot.state is SlotState.BROKEN]
        for slot in broken:
            slot.state = SlotState.RECOVERING
            await self._revive(slot, NoInterface("it was broken; trying again"))
        return sum(slot.state is not SlotState.BROKEN for slot in broken)

    @property
    def is_gone(self) -> bool:
        """Whether `abandon` was called."""
        return self._gone is not None

    async def gone(self) -> IppUsbError:
        """Wait for the end of this pool; returns its reason."""
        while self._gone is None:
            self._changed.clear()
            await self._changed.wait()
        return self._gone

    async def asked(self) -> None:
        """Wait for the first request for a lease."""
        await self._asked.wait()

    async def used(self, *, beyond: int) -> None:
        """Wait until there were more than `beyond` leases, or the device is gone."""
        while self.uses <= beyond and self._gone is None:
            self._used.clear()
            await self._used.wait()

    def abandon(self, reason: IppUsbError) -> None:
        """The device is gone: waiting and later requests for a lease raise `reason`."""
        if self._gone is not None:
            return
        self._gone = reason
        self._changed.set()
        self._used.set()
        self._stop_timers()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.slot.done():
                waiter.slot.set_exception(reason)

    async def join(self, grace_s: float) -> None:
        """Wait up to `grace_s` until nothing is leased or drained."""
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while not self.idle:
                    self._changed.clear()
                    await self._changed.wait()

    async def close(self) -> None:
        """Stop all draining. The channels belong to the device, which closes them."""
        self.abandon(DeviceGone("the printer was released"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- decisions, each in one step

    def _grantable(self, lane: Lane) -> PoolSlot | None:
        """A free interface that `lane` may take now."""
        now = self._loop.time() if self._pause_s else 0.0
        free = [p for p in self._slots if p.state is SlotState.FREE and p.ready_at <= now]
        return free[0] if free and self._open_to(lane) else None

    def _open_to(self, lane: Lane) -> bool:
        """Whether `lane` may have one more interface, should one be free."""
        usable = [slot for slot in self._slots if slot.state is not SlotState.BROKEN]
        if lane is Lane.SHORT or len(usable) < 2:
            return True
        now = self._loop.time()
        return sum(slot.is_long(now) for slot in usable) < len(usable) - 1

    def _turn_long(self, slot: PoolSlot, lease: Lease) -> None:
        if slot.lease is lease:
            slot.lane = Lane.LONG

    def _others_write(self, slot: PoolSlot) -> bool:
        works = [other.work for other in self._slots if other is not slot]
        return any(work is not None and work.awaits is Awaits.PRINTER_TAKES for work in works)

    def _grant(self) -> None:
        """Grant free interfaces to waiting requests, in their order."""
        for waiter in list(self._waiters):
            slot = self._grantable(waiter.lane)
            if slot is None:
                continue
            self._waiters.remove(waiter)
            self._fair_queue.reached(waiter.turn)
            if not waiter.slot.done():
                self._occupy(slot, waiter.lane)
                waiter.slot.set_result(slot)
        self._claim_more()

    def _occupy(self, slot: PoolSlot, lane: Lane) -> None:
        slot.state, slot.lane = SlotState.LEASED, lane
        slot.leased_at = self._loop.time()
        self.uses += 1
        self._used.set()

    def _free(self, slot: PoolSlot) -> None:
        slot.state, slot.unfinished = SlotState.FREE, None
        if self._pause_s:
            slot.ready_at = self._loop.time() + self._pause_s
            self._loop.call_at(slot.ready_at, self._grant)
        self._changed.set()
        if slot.stale and self._claims is not None:
            self._release_now([slot])
        self._grant()
        self._release_later()

    def _release_later(self) -> None:
        """Release all interfaces when the idle time is over, unless a request comes before.

        The timer stays while requests come and go; it looks at the time that is left.
        """
        self._idle_since = self._loop.time()
        if self._release_timer is None and self._idle.after_s and self.idle and self._gone is None:
            self._release_timer = self._loop.call_later(self._idle.after_s, self._release_idle)

    def _release_idle(self) -> None:
        self._release_timer = None
        if not self.idle or self._gone is not None:
            return
        if (at := self._idle_since + self._idle.after_s) > self._loop.time():
            self._release_timer = self._loop.call_at(at, self._release_idle)
        elif not self._may_release():
            self._release_later()
        else:
            self._release_now([slot for slot in self._slots if slot.state is SlotState.FREE])

    def _release_now(self, slots: list[PoolSlot]) -> None:
        for slot in slots:
            slot.state = SlotState.RELEASING
        if slots:
            self._spawn(self._release(slots), "release-interfaces")

    def _claim_more(self) -> None:
        """Claim those to be tried again, and as many as are waited for, fewest failures first."""
        released = [slot for slot in self._slots if slot.state is SlotState.RELEASED]
        if self._gone is not None or not released:
            return
        now = self._loop.time()
        wanted = sum(self._open_to(waiter.lane) for waiter in self._waiters)
        wanted -= sum(slot.state is SlotState.CLAIMING for slot in self._slots)
        wanted += sum(slot.again for slot in released)
        ready = [slot for slot in released if slot.claim_at <= now]
        ready.sort(key=lambda slot: (not slot.again, slot.failures))
        for slot in ready[: max(wanted, 0)]:
            slot.state, slot.again = SlotState.CLAIMING, False
            self._spawn(self._claim(slot), f"claim-interface-{slot.number}")
        later = [slot.claim_at for slot in released if slot.claim_at > now]
        if wanted > len(ready) and later:
            if self._retry_timer is not None:
                self._retry_timer.cancel()  # another interface may be due sooner
            self._retry_timer = self._loop.call_at(min(later), self._claim_more)

    def _claim_failed(self, slot: PoolSlot, failure: IppUsbError) -> None:
        """The interface is tried again after a pause; the others are not affected."""
        busy = isinstance(failure, DeviceBusy)
        most_s = BUSY_RETRY_MAX_S if busy else CLAIM_RETRY_MAX_S
        pause_s = min(CLAIM_RETRY_S * 2**slot.failures, most_s)
        slot.state, slot.trouble = SlotState.RELEASED, failure.diagnosis
        slot.claim_at = self._loop.time() + pause_s
        slot.failures = min(slot.failures + 1, 8)
        self._changed.set()
        if isinstance(failure, DeviceGone):
            self.abandon(failure)
        elif not busy and all(
            other.state in (SlotState.RELEASED, SlotState.BROKEN)
            and (other.failures >= CLAIM_TRIES or other.state is SlotState.BROKEN)
            for other in self._slots
        ):
            self.abandon(failure)  # no interface can be had any more
        else:
            self._claim_more()

    def _stop_timers(self) -> None:
        for timer in (self._release_timer, self._retry_timer):
            if timer is not None:
                timer.cancel()

    def _break(self, slot: PoolSlot, failure: IppUsbError) -> None:
        slot.state = SlotState.BROKEN
        self._changed.set()
        if isinstance(failure, DeviceGone):
            self.abandon(failure)
        if self._on_broken is not None and slot.channel is not None:
            self._on_broken(slot.channel, failure)
        self._release_later()

    # --- waiting

    async def _take(self, lane: Lane, wait_s: float, client: Hashable) -> PoolSlot:
        self._asked.set()
        if self._gone is not None:
            raise self._gone
        slot = None if self._waiters else self._grantable(lane)
        if slot is not None:
            self._fair_queue.served_at_once(client)
            self._occupy(slot, lane)
            return slot
        waiter = Waiter(lane, self._loop.create_future(), self._fair_queue.next_of(client))
        insort(self._waiters, waiter, key=lambda other: other.turn)
        self._grant()  # a long request at the head of the queue must not hold up a short one
        granted: PoolSlot | None = None
        try:
            broken = none_works(self._slots)
            async with asyncio.timeout(min(wait_s, BROKEN_WAIT_S) if broken else wait_s):
                granted = await waiter.slot
            return granted
        except TimeoutError:
            raise none_free(self._slots, self.explain()) from None
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            if granted is None:
                self._return_unwanted(waiter.slot)

    def _return_unwanted(self, slot: asyncio.Future[PoolSlot]) -> None:
        """Free an interface that was granted in the very step in which its waiter gave up."""
        if slot.done() and not slot.cancelled() and slot.exception() is None:
            self._free(slot.result())

    # --- exchanges whose clients have left

    def _drain_later(self, slot: PoolSlot, unfinished: Unfinished) -> None:
        if self._gone is not None:
            slot.state = SlotState.BROKEN  # nothing can be answered any more
            unfinished.give_up()
            self._changed.set()
            return
        slot.state, slot.unfinished = SlotState.DRAINING, unfinished
        self._spawn(self._finish(slot, unfinished), f"drain-interface-{slot.number}")

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that failed is a bug of ours; its interface would stay taken for ever."""
        self._tasks.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            log.error("%s failed: %r", task.get_name(), failure, exc_info=failure)
            self.abandon(NoInterface(kind=Kind.BUG, failure=repr(failure)))

    async def _finish(self, slot: PoolSlot, unfinished: Unfinished) -> None:
        total_s = TOTAL_DRAINS * self._drain_s

        def excused() -> bool:
            if not self._excused(unfinished):
                return False
            deadline.reschedule(self._loop.time() + total_s)
            return True

        try:
            async with asyncio.timeout(total_s) as deadline:
                await unfinished.finish(self._drain_s, excused)
        except TimeoutError:
            await self._revive(slot, PrinterSilent("the response does not end"))
        except IppUsbError as exc:
            await self._revive(slot, exc)
        else:
            self.finished += 1
            self._free(slot)

    async def _revive(self, slot: PoolSlot, reason: IppUsbError) -> None:
        number, slot.unfinished = slot.number, None
        assert slot.channel is not None
        if isinstance(reason, DeviceGone):
            self._break(slot, reason)
            return
        slot.state = SlotState.RECOVERING
        self._grant()  # its exchange, perhaps a long one, is over
        log.warning("interface %d: recovering: %s", number, reason)
        try:
            await self._recover(slot.channel, reason)
        except IppUsbError as exc:
            log.warning("interface %d: not recovered: %s", number, exc)
            self._break(slot, exc)
        else:
            self.recovered += 1
            self._free(slot)

    # --- releasing, and claiming again

    async def _release(self, slots: list[PoolSlot]) -> None:
        assert self._claims is not None
        for slot in slots:
            channel, slot.channel = slot.channel, None
            assert channel is not None
            await self._claims.release(channel)
            slot.state, slot.stale = SlotState.RELEASED, False
            self._idle.released(self._loop.time())
            self._changed.set()
            self._grant()  # the next one's release may take seconds
        log.debug("%d interfaces released", len(slots))

    async def _claim(self, slot: PoolSlot) -> None:
        assert self._claims is not None
        try:
            slot.channel = await self._claims.claim(slot.number)
        except IppUsbError as exc:
            self._claim_failed(slot, exc)
        else:
            slot.trouble, slot.failures = None, 0
            self._idle.claimed(self._loop.time())
            for other in self._slots:  # whatever kept them from us may be over, too
                other.again = bool(other.trouble)
            self._free(slot)
