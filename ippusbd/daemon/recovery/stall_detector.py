"""Deaf, or just busy? A print may stand still for hours: paper out, a warm-up, a long page.

    no byte moved for `busy_check_s`, and it is the printer that is waited for
      several interfaces: ask on another one   answer -> wait on     silence -> deaf
      one interface:      ask the port status  error  -> wait on     else after `single_wait_s`
        no port status:   what it said last    error, stopped -> wait on     idle -> as above

A printer that answers and is stopped, or reports paper or an error, is waited for
for ever. One that is idle has no reason to let a job stand still: it is deaf on that
interface after `single_wait_s`, one that says that it works, after BUSY_FACTOR times
as long. A question that does no harm and is not answered while the printer answers
others has met a deaf interface at once. Only that interface is given up: what is under
way on it fails, and the pool recovers it.

Knows leases; time and questions are injected.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ippusbd.errors import DeviceGone, IppUsbError, NoInterface, PrinterSilent, TransferTimeout
from ippusbd.model import Condition
from ippusbd.usbio.pool import InterfacePool, Lease
from ippusbd.usbio.protocols import UsbDevice
from ippusbd.wire.ipp import PrinterState
from ippusbd.wire.state_reasons import Severity, advice

log = logging.getLogger("ippusbd.daemon")

DEAF_AFTER: Final = 2  # checks that others answered while a harmless question got no answer
BUSY_FACTOR: Final = 4.0
NOWHERE: Final = "silent on all interfaces"

_PAPER_EMPTY: Final = 0x20  # USB printer class 1.1, 4.2.2
_NO_ERROR: Final = 0x08


@dataclass(slots=True)
class _Standing:
    """Where an exchange stood when it last moved."""

    progress: int
    since: float
    checks: int = 0  # passed meanwhile, each of them answered
    last_check: float = 0.0


class StallDetector:
    """Looks at the leases of `pool` whenever `step` is called.

    `ask` asks the printer over the pool for its state, None when that cannot be understood, and
    raises when it does not answer; `needs_attention`: does it report paper out or an error, None
    where it reports nothing; `known`: how it was when it was last asked. `on_choked` hears of an
    upload that stood still for no reason.
    """

    def __init__(
        self,
        pool: InterfacePool,
        ask: Callable[[], Awaitable[PrinterState | None]],
        needs_attention: Callable[[], Awaitable[bool | None]],
        *,
        known: Callable[[], Condition | None] = lambda: None,
        busy_check_s: float,
        single_wait_s: float,
        on_choked: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._ask = ask
        self._needs_attention = needs_attention
        self._known = known
        self._on_choked = on_choked
        self._busy_check_s = busy_check_s
        self._single_wait_s = single_wait_s
        self._clock = clock
        self._stands: dict[Lease, _Standing] = {}

    async def step(self) -> None:
        """Check what stands still for too long; call it a few times in `busy_check_s`."""
        still = self._standing()
        if not still:
            return
        if self._pool.usable < 2:
            await self._check_single(*still[0])
            return
        patience_s = await self._patience_s(len(still))
        for lease, stand in still:
            if patience_s:
                self._wait_on(lease, stand, patience_s)
            else:
                self._give_up(lease, stand, NOWHERE)

    def _standing(self) -> list[tuple[Lease, _Standing]]:
        """What waits for the printer and did not move, nor was checked, for `busy_check_s`."""
        now = self._clock()
        stands: dict[Lease, _Standing] = {}
        for lease in self._pool.leases():
            unfinished = lease.unfinished
            if unfinished is None:
                continue
            stand = self._stands.get(lease)
            if (
                stand is None
                or stand.progress != unfinished.progress
                or not unfinished.awaits_printer
            ):
                stand = _Standing(unfinished.progress, now, last_check=now)
            stands[lease] = stand
        self._stands = stands
        return [
            (lease, stand)
            for lease, stand in stands.items()
            if now - stand.last_check >= self._busy_check_s
        ]

    async def _patience_s(self, standing: int) -> float:
        """How long an exchange may stand still; 0: the printer answers on no other interface."""
        state = None
        try:
            state = await self._ask()
        except DeviceGone:
            raise
        except NoInterface:  # all are in use; does anything move?
            return math.inf if len(self._pool.leases()) > standing else 0.0
        except (PrinterSilent, TransferTimeout) as exc:
            log.warning("the printer does not answer on another interface either: %s", exc)
            return 0.0
        except IppUsbError as exc:
            log.info("the printer answers, though not well: %s", exc)
        if state is PrinterState.STOPPED or await self._needs_attention():
            return math.inf
        return self._single_wait_s * (1.0 if state is PrinterState.IDLE else BUSY_FACTOR)

    def _wait_on(self, lease: Lease, stand: _Standing, patience_s: float) -> None:
        now, unfinished = self._clock(), lease.unfinished
        stand.last_check = now
        stand.checks += 1
        if math.isinf(patience_s):
            stand.since = now  # it counts from when the printer could go on
        asks = unfinished is not None and unfinished.repeatable and stand.checks >= DEAF_AFTER
        if asks or now - stand.since >= patience_s:
            self._give_up(lease, stand, "deaf: the printer answers on others")
        else:
            log.info("interface %d stands still, the printer lives", lease.channel.number)

    async def _check_single(self, lease: Lease, stand: _Standing) -> None:
        known = self._known()
        reported = await self._needs_attention()
        if reported is None and known is not None:
            reported = known.state == PrinterState.STOPPED or any(
                advice(reason).severity is Severity.ERROR for reason in known.reasons
            )
        if reported:
            log.info("interface %d stands still: paper or an error", lease.channel.number)
            stand.since = stand.last_check = self._clock()
            return
        printing = known is not None and known.state == PrinterState.PROCESSING
        patience_s = self._single_wait_s * (BUSY_FACTOR if printing else 1.0)
        if self._clock() - stand.since >= patience_s:
            self._give_up(lease, stand, "silent")

    def _give_up(self, lease: Lease, stand: _Standing, why: str) -> None:
        unfinished = lease.unfinished
        if unfinished is None or unfinished.progress != stand.progress:
            return  # it moved, or ended, while we asked
        number, silent_s = lease.channel.number, self._clock() - stand.since
        log.warning("interface %d: %s, %.0f s without a byte", number, why, silent_s)
        if not unfinished.taken and why != NOWHERE:
            self._on_choked()
        lease.channel.fail(TransferTimeout(f"the printer was silent for {silent_s:.0f} s"))


async def detect_stalls(detector: StallDetector, every_s: float) -> None:
    """Step until cancelled, or until the device is gone."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await detector.step()
        except DeviceGone:
            return


async def needs_attention(device: UsbDevice) -> bool | None:
    """Whether the printer reports paper out or an error; None where it reports nothing."""
    try:
        status = await device.port_status()
    except DeviceGone:
        raise
    except IppUsbError as exc:
        log.debug("no port status: %s", exc)
        return None
    return bool(status & _PAPER_EMPTY) or not status & _NO_ERROR
