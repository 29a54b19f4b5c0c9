"""Keeps a printer's reported condition up to date without disturbing the printer.

It is asked when its session begins, and after that only around clients' requests:
while they keep it busy, and until it has printed what they sent. An interface must be free
and claimed: a released one may be in use by a vendor's driver, an unused printer may sleep,
and a toner level is not worth a disturbance. What clients' answers report costs nothing.

Knows the pool and a query; time is injected.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ippusbd.aio import now
from ippusbd.daemon.observe.status import ConditionStatus
from ippusbd.errors import DeviceGone, IppUsbError, PrinterError, PrinterSilent, ProbeFailed
from ippusbd.exchange.query import PRINT_PATH, Query
from ippusbd.model import Condition
from ippusbd.usbio.pool import InterfacePool
from ippusbd.wire import printer_status
from ippusbd.wire.state_reasons import all_advice, state_name

log = logging.getLogger("ippusbd.daemon")

STEP_S: Final = 1.0  # between looks while clients use it
ANSWER_S: Final = 5.0
WHILE_PRINTING_S: Final = 1.0  # its pages come out after the last byte went in
PRINTING_S: Final = 600.0  # after the last client; what prints later came another way


class StatusPoll:
    """One printer's condition, and since when it is known."""

    def __init__(self, *, clock: Callable[[], float] = now) -> None:
        self._clock = clock
        self.updated_at = self._since = 0.0  # of the whole; of its reasons
        self.condition: Condition | None = None

    def update(self, condition: Condition) -> None:
        self.updated_at = self._clock()
        if self.condition is None or self.condition.reasons != condition.reasons:
            self._since = self.updated_at
        self.condition = condition

    def overhear(self, state: int, reasons: tuple[str, ...]) -> None:
        """What an answer to a client reported."""
        known = self.condition or Condition()
        if (known.state, known.reasons) != (state, reasons):
            known = replace(known, state=state, reasons=reasons)
        self.update(known)

    def status(self) -> ConditionStatus | None:
        """None: the printer was not asked yet, or has no IPP."""
        now = self.condition
        if now is None:
            return None
        return ConditionStatus(
            state=state_name(now.state),
            message=now.message,
            asks=tuple(all_advice(now.reasons)),
            supplies=now.supplies,
            pages=now.pages,
            sheets=now.sheets,
            jobs=now.jobs,
            since_s=round(self._clock() - self._since, 1),
            age_s=round(self._clock() - self.updated_at, 1),
        )


async def ask_condition(query: Query, port: int) -> Condition:
    """The printer's condition. Raises what the exchange raises, PrinterError without IPP."""
    message = printer_status.question(f"ipp://localhost:{port}{PRINT_PATH}")
    answer = await query.ipp(PRINT_PATH, message, answer_s=ANSWER_S, counted=False)
    return printer_status.read(answer)


async def poll_status(
    status_poll: StatusPoll,
    pool: InterfacePool,
    query: Query,
    port: int,
    *,
    every_s: float,
    is_printing: Callable[[], bool],
) -> None:
    """Ask now, and around clients' requests, until cancelled or the printer has no answer."""
    asked_at, used_at, seen = -math.inf, now(), pool.uses

    def prints() -> bool:
        """It still prints what clients sent."""
        return is_printing() and now() - used_at < PRINTING_S

    while not pool.is_gone:
        uses = pool.uses
        if uses != seen or _busy(pool):  # a drain may take a document hours later
            used_at = now()
        is_quiet = uses == seen and not _busy(pool) and not prints()
        often = prints() and status_poll.updated_at >= asked_at  # it answered the last time
        pause_s = 0.0 if is_quiet else min(every_s, WHILE_PRINTING_S) if often else every_s
        if now() - asked_at >= pause_s and _may_ask(pool):
            asked_at = now()
            if not await _asked(status_poll, query, port):
                return
            uses += 1  # our own
        if is_quiet and not prints():
            await pool.used(beyond=uses)
        seen = uses
        await asyncio.sleep(STEP_S)


async def _asked(status_poll: StatusPoll, query: Query, port: int) -> bool:
    """False: asking again is useless, it never reported a status; one error does not count."""
    try:
        status_poll.update(await ask_condition(query, port))
    except DeviceGone:
        return False
    except (PrinterSilent, ProbeFailed) as exc:
        log.debug("no status: %s", exc)
    except PrinterError as exc:
        log.debug("the printer reports no status: %s", exc)
        return status_poll.condition is not None
    except IppUsbError as exc:
        log.debug("no status: %s", exc)
    return True


def _busy(pool: InterfacePool) -> bool:
    now = pool.status()
    return bool(now.in_use or now.draining or now.waiting)


def _may_ask(pool: InterfacePool) -> bool:
    """An interface is free and claimed, and nobody waits for it."""
    now = pool.status()
    taken = now.in_use + now.draining + now.broken + now.released
    return not now.waiting and taken < now.total
