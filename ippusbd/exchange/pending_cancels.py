"""Cancellations of cut uploads that the printer has not accepted yet.

A cut upload was terminated properly, so the printer takes half a document for
a complete one; then its answer, or the Cancel-Job, was lost: the interface
failed, or the printer was unplugged. The cancellation is kept over sessions,
and delivered when the printer can be asked.

Within the session of the upload the job-id names that job. After it, or where
the answer with the job-id was lost, the job is looked up again first
(`interrupted_job`); in doubt nothing is cancelled. "Could not be asked" is no
try; an IPP error is a refusal; a cancellation expires.

Knows IPP; how to ask is its caller's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ippusbd.errors import BadIpp, DeviceGone, IppUsbError, NotAsked, PrinterError
from ippusbd.exchange.interrupted_job import (
    InterruptedJob,
    Upload,
    cancellation,
    found,
    is_cancelled,
    job_id_of,
    search,
)
from ippusbd.wire import ipp, ipp_requests

log = logging.getLogger("ippusbd.http")

KEPT: Final = 32
TRIES: Final = 20
PAUSE_S: Final = 0.5  # grows with every try
PAUSE_MAX_S: Final = 10.0
EXPIRES_S: Final = 3600.0

Ask = Callable[[str, bytes], Awaitable[bytes]]  # (target, request) -> answer


def _boottime() -> float:
    """Runs while the machine is suspended, as the printer's clock does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True, eq=False)
class PendingCancel:
    """`answer`: the part that arrived of the answer to the cut upload."""

    job: InterruptedJob
    answer: bytes
    began_at: float
    cut_at: float
    session: int
    tries: int = 0


class PendingCancels:
    """Those of one printer, plugged in or not."""

    def __init__(self, *, pause_s: float = PAUSE_S, clock: Callable[[], float] = _boottime) -> None:
        self._due: list[PendingCancel] = []
        self._some = asyncio.Event()
        self._pause_s = pause_s
        self._clock = clock
        self._session = 0

    def __len__(self) -> int:
        return len(self._due)

    def add(
        self, job: InterruptedJob, answer: bytes, *, began_s: float = 0.0, cut_s: float = 0.0
    ) -> None:
        """The job's cancellation was lost; its upload began and was cut this many seconds ago."""
        now = self._clock()
        self._due.append(PendingCancel(job, answer, now - began_s, now - cut_s, self._session))
        if len(self._due) > KEPT:
            log.warning("too many pending cancellations; the oldest is dropped")
            del self._due[0]
        self._some.set()

    async def deliver(self, ask: Ask) -> None:
        """Cancel what is due, whenever something is; until cancelled, or the device is gone.

        For one session with the printer.
        """
        self._session += 1
        while True:
            await self._some.wait()
            pending = self._due[0]
            try:
                over = await self._deliver_one(pending, ask)
            except DeviceGone:
                return
            except NotAsked:
                over = False
            except IppUsbError as exc:
                pending.tries += 1
                over = pending.tries >= TRIES
                level = logging.WARNING if over else logging.INFO
                log.log(level, "the job of a cut upload could not be cancelled: %s", exc)
            if not over:
                await asyncio.sleep(min(self._pause_s * (pending.tries + 1), PAUSE_MAX_S))
                continue
            if pending in self._due:
                self._due.remove(pending)
            if not self._due:
                self._some.clear()

    async def _deliver_one(self, pending: PendingCancel, ask: Ask) -> bool:
        """Whether nothing is left to do; raises the reason why it was not cancelled."""
        if self._clock() - pending.cut_at > EXPIRES_S:
            log.warning("the cancellation of a cut upload expired")
            return True
        job = pending.job
        request = cancellation(job, pending.answer)
        number = job_id_of(job, pending.answer)
        if request is None or pending.session != self._session:
            request = await self._looked_up(pending, number, ask)
        if request is None:
            log.info("the job of a cut upload cannot be identified; nothing is cancelled")
            return True
        answer = await ask(job.target, request)
        if not is_cancelled(200, answer):
            code = ipp_requests.operation_of(answer)
            raise PrinterError(f"Cancel-Job answered IPP status {code or 0:#06x}")
        log.info("the job of a cut upload was cancelled late")
        return True

    async def _looked_up(
        self, pending: PendingCancel, number: int | None, ask: Ask
    ) -> bytes | None:
        """The Cancel-Job, if the printer still has exactly that job."""
        job, question = pending.job, search(pending.job, number)
        if question is None or job.asked is None:
            return None
        answer = await ask(job.target, question)
        now = self._clock()
        try:
            message, _ = ipp.decode(answer, tolerant=True)
        except BadIpp:
            return None
        if not message.ok:
            raise PrinterError(f"Get-Jobs answered IPP status {message.code:#06x}")
        when = Upload(now - pending.began_at, now - pending.cut_at)
        exactly = found(message, job, number, when)
        return None if exactly is None else ipp_requests.cancel_job(job.asked, exactly)
