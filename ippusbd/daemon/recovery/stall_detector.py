"""Looks at exchanges that stand still, has them judged, and does what the verdict says.

A print may stand still for hours because the paper is out, and that must not end it; a
printer that is unresponsive has to be recovered. Which of the two it is, is `verdict`'s to say;
this module collects what it needs: port status, an answer on another interface.

Knows the pool, a question and the port status; time is the event loop's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ippusbd.daemon.recovery.evidence import Evidence, EvidenceLog
from ippusbd.daemon.recovery.verdict import (
    Ask,
    Gone,
    InterfaceUnresponsive,
    Patience,
    PrinterUnresponsive,
    Wait,
    judge,
    reason_to_wait,
)
from ippusbd.errors import DeviceGone, IppUsbError, TransferTimeout
from ippusbd.usbio.pool import InterfacePool
from ippusbd.usbio.pool_types import Unfinished

log = logging.getLogger("ippusbd.daemon")

ENDED_KEPT: Final = 8
_PAPER_EMPTY: Final = 0x20  # USB printer class 1.1, 4.2.2
_NO_ERROR: Final = 0x08


@dataclass(frozen=True, slots=True)
class Ended:
    """An exchange that was ended by a verdict, for status: when, on which interface, and why."""

    at: float
    interface: int
    proof: str


class StallDetector:
    """Steps over the interfaces of `pool` until the device is gone.

    `ask` asks the printer for its state on another interface and notes the outcome in
    `evidence`; `port_status` raises where the device has none. `on_stalled_upload` hears of an
    upload that stood still for no known reason. `waits` says what is waited for now.
    """

    def __init__(
        self,
        pool: InterfacePool,
        evidence: EvidenceLog,
        ask: Callable[[], Awaitable[None]],
        port_status: Callable[[], Awaitable[int]],
        *,
        patience: Patience,
        on_stalled_upload: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._evidence = evidence
        self._ask = ask
        self._port_status = port_status
        self._patience = patience
        self._on_stalled_upload = on_stalled_upload
        self._failed: dict[int, Unfinished] = {}  # what was ended last on each interface
        self.waits, self._waits_since = "", 0.0
        self.ended: deque[Ended] = deque(maxlen=ENDED_KEPT)

    async def run(self, every_s: float) -> None:
        """Step until cancelled, or until the device is gone."""
        while not self._pool.is_gone:
            await asyncio.sleep(every_s)
            try:
                await self.step()
            except DeviceGone:
                return

    async def step(self) -> None:
        """Look, judge, and do what follows."""
        if not self._pool.is_gone and not any(slot.work for slot in self._pool.slots):
            self._say("")
            return
        if self._stands():
            await self._look_at_port()
        if self.excused():
            self._evidence.excused()
        evidence, now = self._look(), asyncio.get_running_loop().time()
        verdict = judge(evidence, now, self._patience)
        self._say(verdict.what if isinstance(verdict, Wait) else self.waits)
        match verdict:
            case Gone():
                raise DeviceGone("the printer was unplugged")
            case Ask(what):
                log.info("%s: asking the printer on another interface", what)
                await self._ask_quietly()
            case InterfaceUnresponsive(number, proof, stalled_upload):
                if self._fail(number, proof) and stalled_upload:
                    self._on_stalled_upload()
            case PrinterUnresponsive(numbers, proof):
                for number in numbers:
                    self._fail(number, f"the printer answers on no interface: {proof}")

    def excused(self) -> bool:
        """The printer reported a reason to wait since the oldest exchange stands."""
        evidence = self._look()
        stands = [one.since for one in evidence.interfaces if one.stands]
        return bool(stands) and bool(reason_to_wait(evidence, min(stands)))

    def _look(self) -> Evidence:
        return self._evidence.look(self._pool.slots, gone=self._pool.is_gone)

    def _stands(self) -> bool:
        now = asyncio.get_running_loop().time()
        return any(
            one.stands and now - one.since >= self._patience.check_s / 2
            for one in self._look().interfaces
        )

    async def _look_at_port(self) -> None:
        try:
            status = await self._port_status()
        except DeviceGone:
            raise
        except IppUsbError as exc:
            log.debug("no port status: %s", exc)
            return
        self._evidence.port_status(bool(status & _PAPER_EMPTY) or not status & _NO_ERROR)

    async def _ask_quietly(self) -> None:
        try:
            await self._ask()
        except DeviceGone:
            raise
        except IppUsbError as exc:
            log.info("asked on another interface: %s", exc)

    @property
    def waits_s(self) -> float:
        """How long `waits` has been waited for."""
        return asyncio.get_running_loop().time() - self._waits_since if self.waits else 0.0

    def _say(self, what: str) -> None:
        if what != self.waits:
            self.waits, self._waits_since = what, asyncio.get_running_loop().time()
            if what:
                log.info("waiting: %s", what)

    def _fail(self, number: int, proof: str) -> bool:
        """End the exchange on an interface; False: it was already, and is on its way out."""
        slot = next(slot for slot in self._pool.slots if slot.number == number)
        work = slot.work
        if slot.channel is None or work is None or self._failed.get(number) is work:
            return False
        self._failed[number] = work
        log.warning("interface %d is unresponsive: %s", number, proof)
        self.ended.append(Ended(asyncio.get_running_loop().time(), number, proof))
        slot.channel.fail(TransferTimeout(f"unresponsive: {proof}"))
        return True
