"""Cancellations of cut uploads that the printer did not take, until it does.

An upload that was cut was ended in good order, so the printer has half a
document for a whole one; and then its answer, or the Cancel-Job, was lost: the
interface went deaf, or the plug was pulled. What is owed is kept over lives
and paid as soon as the printer can be asked.

Where the answer was lost nobody knows the job's number. It is the one job of
that user and name, not over yet, with as many kilobytes as were sent; a job
whose printer does not tell its size is left alone, for it may be a second try.

Knows IPP; how to ask is its caller's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from ippusbd.errors import DeviceGone, IppUsbError
from ippusbd.exchange.interrupted_job import InterruptedJob, cancellation, question
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Tag

log = logging.getLogger("ippusbd.http")

DEBTS_KEPT: Final = 32
TRIES: Final = 20
PAUSE_S: Final = 0.5  # grows with every try

Ask = Callable[[str, bytes], Awaitable[bytes]]  # (target, request) -> answer


@dataclass(slots=True)
class PendingCancel:
    """`answer`: as much as came of the answer to the cut upload."""

    job: InterruptedJob
    answer: bytes
    tries: int = 0


class PendingCancels:
    """What is owed to one printer, plugged in or not."""

    def __init__(self, *, pause_s: float = PAUSE_S) -> None:
        self._due: deque[PendingCancel] = deque(maxlen=DEBTS_KEPT)
        self._some = asyncio.Event()
        self._pause_s = pause_s

    def __len__(self) -> int:
        return len(self._due)

    def add(self, job: InterruptedJob, answer: bytes) -> None:
        """The job's cancellation was lost."""
        self._due.append(PendingCancel(job, answer))
        self._some.set()

    async def deliver(self, ask: Ask) -> None:
        """Cancel what is due, whenever something is; until cancelled, or the device is gone."""
        while True:
            await self._some.wait()
            pending = self._due[0]
            try:
                await _deliver_one(pending, ask)
            except DeviceGone:
                return
            except IppUsbError as exc:
                pending.tries += 1
                if pending.tries < TRIES:
                    await asyncio.sleep(self._pause_s * pending.tries)
                    continue
                log.warning("the job of a cut upload could not be cancelled: %s", exc)
            self._due.remove(pending)
            if not self._due:
                self._some.clear()


async def _deliver_one(pending: PendingCancel, ask: Ask) -> None:
    request = cancellation(pending.job, pending.answer)
    if request is None:
        request = await _searched(pending.job, ask)
    if request is None:
        log.info("a cut upload left no job to cancel")
        return
    answer, _ = ipp.decode(await ask(pending.job.target, request), tolerant=True)
    log.info("the job of a cut upload was cancelled late; the printer says 0x%04x", answer.code)


async def _searched(job: InterruptedJob, ask: Ask) -> bytes | None:
    """The Cancel-Job for the job that nobody knows the number of; None: it is not there."""
    asked = question(job)
    if asked is None:
        return None
    answer, _ = ipp.decode(await ask(job.target, asked), tolerant=True)
    found = [number for number, size in _jobs(answer, job) if size == job.kilobytes]
    if len(found) != 1:
        return None
    return cancellation(job, _naming(found[0]))


def _jobs(answer: ipp.Message, job: InterruptedJob) -> Iterator[tuple[int, int | None]]:
    """Number and kilobytes of the jobs with this job's name."""
    for group in answer.groups:
        one = ipp.Message(0, 0, (group,))
        number = one.first_integer(Tag.JOB, "job-id")
        if number is not None and one.first_text(Tag.JOB, "job-name") == job.name:
            yield number, one.first_integer(Tag.JOB, "job-k-octets")


def _naming(number: int) -> bytes:
    """An answer that names the job, as the lost one did."""
    group = ipp.Group(Tag.JOB, (ipp.attribute("job-id", ipp.integer(number)),))
    return ipp.encode(ipp.Message(0, 1, (group,)))
