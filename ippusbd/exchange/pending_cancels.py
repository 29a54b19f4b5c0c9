"""Jobs of lost clients that are still to be ended at the printer: cut uploads, and scans.

A cut upload was terminated properly, so the printer takes half a document for
a complete one; then its answer, or the Cancel-Job, was lost: the interface
failed, or the printer was unplugged; or its answer names no job. The cancellation
is kept over sessions, and delivered when the printer can be asked.

Within the session of the upload the job-id names that job. After it, or where
no answer with the job-id came, the job is looked up again first
(`interrupted_job`); in doubt nothing is cancelled. "Could not be asked" is no
try; an IPP error is a refusal; a cancellation expires.

A scan job whose client left locks the scanner until the scanner's own time-out
(eSCL, 8.4), so it is deleted. Its path names it only until the printer is plugged
in anew.

Knows IPP; how to ask is its caller's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

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
EARLIER: Final = -1  # than every session of this daemon

Ask = Callable[[str, bytes], Awaitable[bytes]]  # (target, request) -> answer
Delete = Callable[[str], Awaitable[int]]  # path -> HTTP status


def boottime() -> float:
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


@dataclass(slots=True, eq=False)
class LeftScan:
    """A scan job, by its path, whose client left."""

    path: str
    cut_at: float
    tries: int = 0


class PendingCancels:
    """Those of one printer, plugged in or not."""

    def __init__(self, *, pause_s: float = PAUSE_S, clock: Callable[[], float] = boottime) -> None:
        self._due: list[PendingCancel | LeftScan] = []
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
        self._add(PendingCancel(job, answer, now - began_s, now - cut_s, self._session))

    def kept(self) -> list[dict[str, Any]]:
        """Cut uploads in a form that JSON has, without documents and passwords; see `restore`."""
        return [
            {
                "target": pending.job.target,
                "request": b64encode(request := ipp_requests.identifying(asked)).decode(),
                "sent_bytes": pending.job.sent_bytes - asked.document_at + len(request),
                "answer": b64encode(pending.answer).decode(),
                "began_at": pending.began_at,
                "cut_at": pending.cut_at,
            }
            for pending in self._due
            if isinstance(pending, PendingCancel) and (asked := pending.job.asked)
        ]

    def restore(self, kept: list[dict[str, Any]]) -> None:
        """Take over what another daemon has kept on the same clock: an older session's."""
        for each in kept[:KEPT]:
            try:
                job = InterruptedJob(str(each["target"]), ())
                job.request_head += b64decode(each["request"])
                job.sent_bytes = int(each["sent_bytes"])
                times = float(each["began_at"]), float(each["cut_at"])
                pending = PendingCancel(job, b64decode(each["answer"]), *times, EARLIER)
            except (LookupError, ValueError, TypeError, OverflowError) as exc:
                log.warning("a kept cancellation cannot be read: %s", type(exc).__name__)
                continue
            self._add(pending)

    def scan_left(self, path: str) -> None:
        """The client of the scan job at `path` left; empty: there is none."""
        if path and not any(isinstance(p, LeftScan) and p.path == path for p in self._due):
            self._add(LeftScan(path, self._clock()))

    def _add(self, pending: PendingCancel | LeftScan) -> None:
        self._due.append(pending)
        if len(self._due) > KEPT:
            log.warning("too many pending cancellations; the oldest is dropped")
            del self._due[0]
        self._some.set()

    def plugged(self) -> None:
        """The printer is plugged in anew: its scan jobs are over, and their paths may be reused."""
        self._due = [pending for pending in self._due if isinstance(pending, PendingCancel)]
        if not self._due:
            self._some.clear()

    async def deliver(self, ask: Ask, delete: Delete) -> None:
        """Cancel and delete what is due, whenever something is.

        Until it is cancelled, or the device is gone; for one session with the printer.
        """
        self._session += 1
        while True:
            await self._some.wait()
            pending = self._due[0]
            try:
                over = await self._end(pending, ask, delete)
            except DeviceGone:
                return
            except NotAsked:
                over = False
            except IppUsbError as exc:
                pending.tries += 1
                over = pending.tries >= TRIES
                level = logging.WARNING if over else logging.INFO
                log.log(level, "the job of a lost client could not be ended: %s", exc)
            if not over:
                await asyncio.sleep(min(self._pause_s * (pending.tries + 1), PAUSE_MAX_S))
                continue
            if pending in self._due:
                self._due.remove(pending)
            if not self._due:
                self._some.clear()

    async def _end(self, pending: PendingCancel | LeftScan, ask: Ask, delete: Delete) -> bool:
        """Whether nothing is left to do; raises the reason why the job was not ended."""
        if self._clock() - pending.cut_at > EXPIRES_S:
            log.warning("the job of a lost client could not be ended in %g s", EXPIRES_S)
            return True
        if isinstance(pending, PendingCancel):
            return await self._cancel(pending, ask)
        status = await delete(pending.path)
        if status >= 500:
            raise PrinterError(f"DELETE {pending.path} answered {status}")
        if status < 400:
            log.info("deleted the scan job of a lost client")
        else:
            log.info("the scan job of a lost client is over: DELETE answered %d", status)
        return True

    async def _cancel(self, pending: PendingCancel, ask: Ask) -> bool:
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
