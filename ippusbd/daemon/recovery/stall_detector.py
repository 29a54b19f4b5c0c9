"""Watches for stalled exchanges, has them judged, and acts on the verdict.

A print may stall for hours because the paper is out, and that must not end it; an unresponsive
printer has to be recovered. `verdict` decides which of the two it is; this module collects
what it needs: port status, an answer on another interface.

Knows the pool, a question and the port status; time is the event loop's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from ippusbd.daemon.observe.status import EndedExchange
from ippusbd.daemon.recovery.evidence import Evidence, EvidenceLog
from ippusbd.daemon.recovery.verdict import (
    Ask,
    Gone,
    InterfaceUnresponsive,
    Patience,
    PrinterUnresponsive,
    Wait,
    judge,
    may_print,
    reason_to_wait,
    waits_in_vain,
)
from ippusbd.errors import DeviceGone, IppUsbError, TransferTimeout
from ippusbd.kinds import Kind
from ippusbd.usbio.pool import InterfacePool
from ippusbd.usbio.pool_types import Purpose, SlotState, Unfinished, none_works

log = logging.getLogger("ippusbd.daemon")

ENDED_KEPT: Final = 8
_PAPER_EMPTY: Final = 0x20  # USB printer class 1.1, 4.2.2
_NO_ERROR: Final = 0x08


class StallDetector:
    """Steps over the interfaces of `pool` until the device is gone.

    `ask` asks the printer for its state on another interface and notes the outcome in
    `evidence`; `port_status` raises where the device has none. `on_stalled_upload` is called for an

    upload that stalled for no known reason. `waits`: what is waited for now.
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
        self._ended: deque[tuple[float, EndedExchange]] = deque(maxlen=ENDED_KEPT)

    async def run(self, every_s: float) -> None:
        """Step until cancelled, or until the device is gone."""
        while not self._pool.is_gone:
            await asyncio.sleep(every_s)
            try:
                await self.step()
            except DeviceGone:
                return

    async def step(self) -> None:
        """Look, judge, and act."""
        if not self._pool.is_gone and not any(slot.work for slot in self._pool.slots):
            self._set_waits(self._recovery_waits_for())
            return
        if self._is_stalling():
            await self._look_at_port()
        if self.excused():
            self._evidence.excused()
        evidence, now = self._look(), asyncio.get_running_loop().time()
        verdict = judge(evidence, now, self._patience)
        self._set_waits(verdict.what if isinstance(verdict, Wait) else self.waits)
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

    def _recovery_waits_for(self) -> str:
        """Why a printer that answers on no interface is left alone; empty: it is not."""
        slots = self._pool.slots
        tried = all(slot.state in (SlotState.BROKEN, SlotState.RECOVERING) for slot in slots)
        if not none_works(slots) and not (self.waits and tried):
            return ""
        page = may_print(self._look(), asyncio.get_running_loop().time())
        return f"it answers on no interface, and is not reset, because {page}" if page else ""

    def excuses(self, work: Unfinished) -> bool:
        """That the client of `work` left is no reason to end it now: it waits, or is printed."""
        evidence, now = self._look(), asyncio.get_running_loop().time()
        if waits_in_vain(work.purpose, evidence):
            return False
        printed = work.purpose is Purpose.DOCUMENT
        return self.excused() or (printed and bool(may_print(evidence, now)))

    def excused(self) -> bool:
        """The printer reported a reason to wait since the oldest exchange stalls."""
        evidence = self._look()
        since = [one.since for one in evidence.interfaces if one.awaits_printer]
        return bool(since) and bool(reason_to_wait(evidence, min(since)))

    def _look(self) -> Evidence:
        pool = self._pool
        wanted = bool(pool.status().waiting)
        return self._evidence.look(pool.slots, wanted=wanted, gone=pool.is_gone)

    def _is_stalling(self) -> bool:
        now = asyncio.get_running_loop().time()
        return any(
            one.awaits_printer and now - one.since >= self._patience.check_s / 2
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

    def status(self) -> tuple[EndedExchange, ...]:
        """Exchanges that were ended by a verdict."""
        now = asyncio.get_running_loop().time()
        return tuple(replace(one, age_s=round(now - at, 1)) for at, one in self._ended)

    def _set_waits(self, what: str) -> None:
        if what != self.waits:
            self.waits, self._waits_since = what, asyncio.get_running_loop().time()
            if what:
                log.info("waiting: %s", what)

    def _fail(self, number: int, proof: str) -> bool:
        """End the exchange on an interface; False: it was ended before, and is being finished."""
        slot = next(slot for slot in self._pool.slots if slot.number == number)
        work = slot.work
        if slot.channel is None or work is None or self._failed.get(number) is work:
            return False
        self._failed[number] = work
        log.warning("interface %d is unresponsive: %s", number, proof)
        ended = EndedExchange(interface=number, proof=proof)
        self._ended.append((asyncio.get_running_loop().time(), ended))
        slot.channel.fail(TransferTimeout(f"unresponsive: {proof}", kind=Kind.SILENT))
        return True
