"""What must hold in the office, whatever happens: each law is a check, run all the time.

Some are looked at when a client is told something or a job changes at its printer, the others
every `LOOK_S`. A law that is broken ends the simulation.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

from simulation.ledger import Attempt, Fate, Ledger, Question
from simulation.office import CONFIG, Office

from ippusbd.daemon.printer.states import State
from ippusbd.virtual.personalities.http import SilentWhilePrinting
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.services.jobs import Job
from ippusbd.wire.ipp import JobState

LOOK_S: Final = 60.0
FREED_S: Final = 120.0
HALF_S: Final = 3.0  # in which a job is cancelled that its client cut; printing takes longer
ANSWER_S: Final = CONFIG.lease_wait_s + 30.0  # for a short request, whatever the printer waits for
DISTURBED_S: Final = CONFIG.stall_s + 120.0  # while recovery has to find out
REST_S: Final = CONFIG.drain_s + 30.0
IDLE_S: Final = 180.0  # then other drivers have the interfaces
SHUTTLES: Final = 90  # an hour
STREAM_S: Final = 4 * 3600.0  # the longest wait of a document that the world makes
DAY_S: Final = 86400.0
DESCRIPTORS: Final = Path("/proc/self/fd")


class LawBroken(Exception):
    """The text says which, and by what."""


class Laws:
    """All of them, over one office."""

    def __init__(self, office: Office, ledger: Ledger, without: Collection[str] = ()) -> None:
        self._office = office
        self._without = without  # laws that are known to be broken
        self._ledger = ledger
        self._broken: asyncio.Future[None] = office.loop.create_future()
        self._baseline: dict[str, int] = {}
        self._shuttled: Counter[str] = Counter()
        self._printing: defaultdict[str, float] = defaultdict(float)  # when it was last seen to
        self._partial: defaultdict[str, float] = defaultdict(float)  # likewise
        self._waited: defaultdict[str, float] = defaultdict(float)  # for a person, likewise
        self._checks = {
            "answered": self._answers,
            "at rest": self._rest,
            "resets": self._resets,
            "undisturbed": self._undisturbed,
            "drivers": self._drivers,
            "shuttled": self._shuttles,
            "lessons": self._lessons,
            "scanner free": self._scanners,
            "announced": self._announced,
            "kept": self._state_is_kept,
        }
        self._active: set[str] = set()  # printers that looked so, though nobody asked anything
        self._misannounced: set[str] = set()  # printers that looked so
        self._kept: dict[str, int] = {}  # ports
        self._kept_since: dict[str, float] = {}  # interfaces, from other drivers
        self._left: list[tuple[float, VirtualPrinter, str]] = []  # scans without a program
        self.held: Counter[str] = Counter()  # interfaces that other programs have
        self.allowed_lessons: set[str] = set()  # serial numbers of printers that need one

    def watch(self, printer: VirtualPrinter) -> None:
        """Hear of its jobs."""
        serial = printer.device.model.serial
        printer.jobs.observers.append(lambda job: self._job_changed(serial, job))

    async def keep(self) -> None:
        """Look at everything again and again; raises LawBroken."""
        looks = 0
        while True:
            await asyncio.wait([self._broken], timeout=LOOK_S)
            if self._broken.done():
                self._broken.result()
            looks += 1
            for law, check in self._checks.items():
                for fault in check():
                    self.broken(law, fault)
            if looks % (DAY_S // LOOK_S) == 0:
                self._day()

    def broken(self, law: str, fault: str) -> None:
        """Ends `keep`; the first fault counts."""
        self._office.trace.note("law broken", f"{law}: {fault}")
        if law not in self._without and not self._broken.done():
            self._broken.set_exception(LawBroken(f"{law}: {fault}"))

    def _now(self) -> float:
        return self._office.loop.time()

    # --- documents

    def _job_changed(self, serial: str, job: Job) -> None:
        """A document is whole at the printer, or a job was ended there."""
        attempt = self._ledger.attempt_of(job)
        if attempt is None or attempt.printer != serial:
            self.broken("sent", f"{serial} has a job that nobody sent: {job.name!r}")
            return
        what = job.ended.name.lower() if job.ended is not None else "complete"
        self._office.trace.note("job", f"{serial} {attempt}: {what}")
        # Its client does not wait for an answer, or has been sent away for its pauses.
        lost = attempt.fate in (Fate.CUT, Fate.LEFT) or attempt.dawdles
        whole = bool(job.documents) and job.documents[-1].sha256 == attempt.sha256
        if job.ended is None:
            self._document_is_complete(attempt, whole=whole, lost=lost)
        elif job.ended is JobState.CANCELED:
            attempt.copies = 0
            if not attempt.cancelled and (whole or not lost):
                self.broken(
                    "cancelled", f"a job that its client did not cut is cancelled: {attempt}"
                )
        elif not job.documents:  # its document did not come within the printer's own time-out
            pass
        elif not lost and attempt.fate is Fate.OPEN and not self._excuse(attempt, job):
            self.broken("interrupted", f"an upload was interrupted for no reason: {attempt}")

    def _document_is_complete(self, attempt: Attempt, *, whole: bool, lost: bool) -> None:
        attempt.copies += 1
        if attempt.copies > 1:
            self.broken("once", f"one try brought a document twice: {attempt}")
        elif not whole and lost:
            self._office.loop.call_later(HALF_S, self._half, attempt)
        elif not whole:
            self.broken("whole", f"a document arrived changed: {attempt}")

    def _half(self, attempt: Attempt) -> None:
        """A cut document is cancelled, before it is printed."""
        if attempt.copies and not self._excuse(attempt):
            self.broken("half", f"half a document is printed: {attempt}")

    def told(self, attempt: Attempt) -> None:
        """The client of a try knows its fate."""
        attempt.ended = self._now()
        self._office.trace.note("told", str(attempt))
        if attempt.fate is Fate.ACCEPTED and attempt.copies != 1:
            self.broken("once", f"{attempt.copies} copies of an accepted document: {attempt}")
        job = self._job_of(attempt)
        if self._excuse(attempt, job):
            return
        # Its printer has begun to receive the document, and waits for more.
        begun = attempt.fate is Fate.REFUSED and job is not None and job.receiving
        if (begun or attempt.fate is Fate.BROKEN) and not attempt.dawdles:
            self.broken("ended", f"work was ended that its printer may still have done: {attempt}")
        if attempt.fate is Fate.REFUSED and attempt.copies:
            self.broken(
                "told", f"a client was told that its document failed, and it is printed: {attempt}"
            )

    def _job_of(self, attempt: Attempt) -> Job | None:
        """As its printer knows it."""
        for printer in self._office.printers:
            if printer.device.model.serial == attempt.printer:
                jobs = reversed(printer.jobs.jobs())
                return next((job for job in jobs if job.name == attempt.tag), None)
        return None

    def _excuse(self, attempt: Attempt, job: Job | None = None) -> str:
        """What disturbed its printer; with the job: or only the interface of its document."""
        interface = job.interface if job is not None else None
        return self._ledger.excuse(attempt.printer, attempt.began, interface)

    # --- answers

    def _answers(self) -> Iterator[str]:
        for question in self._ledger.open:
            waits_s = self._now() - question.began
            if waits_s > self._bound(question):
                yield f"{question.what} to {question.printer} is not answered after {waits_s:.0f} s"

    def _bound(self, question: Question) -> float:
        if question.streams:
            return STREAM_S
        disturbed = self._ledger.excuse(question.printer, question.began)
        return DISTURBED_S if disturbed else ANSWER_S

    # --- interfaces

    def _calm(self, printer: VirtualPrinter, for_s: float) -> bool:
        """Nobody asked anything, it waited for nobody, and nothing disturbed it, for so long.

        A whole document whose client left may wait for paper.
        """
        serial, moment = printer.device.model.serial, self._now() - for_s
        if printer.printer.stopped:
            self._waited[serial] = self._now()
        asked = max(self._ledger.last_question.get(serial, 0.0), self._waited[serial])
        return asked < moment and not self._ledger.excuse(serial, moment)

    def _rest(self) -> Iterator[str]:
        """After an exchange every interface is free, released, or under recovery."""
        for printer in self._office.printers:
            served, serial = self._office.served(printer), printer.device.model.serial
            calm = self._calm(printer, REST_S)
            status = served.pool.status() if served is not None and served.pool else None
            active = status and (status.in_use or status.draining or status.waiting)
            if not calm or status is None or not (active or status.broken):
                self._active.discard(serial)
            elif serial in self._active:
                yield f"{serial} is at rest, and its interfaces: {status}"
            else:  # perhaps a question of the daemon, which is over or recovered from soon
                self._active.add(serial)

    def _drivers(self) -> Iterator[str]:
        """Other drivers get the interfaces when nobody prints, and keep them for a while."""
        for printer, port in zip(self._office.printers, self._office.host.ports, strict=True):
            serial = printer.device.model.serial
            served = self._office.served(printer)
            if served is not None and served.state is State.PARTIAL:
                self._partial[serial] = self._now()
            if printer.jobs.active_count():
                self._printing[serial] = self._now()
            wanted = self._now() - self._printing[serial] < IDLE_S or self.held[serial]
            missing = {f.number for f in printer.device.interfaces} - port.drivers.keys()
            calm = printer.device.plugged and not wanted and self._calm(printer, IDLE_S)
            if not calm or not missing:
                self._kept_since.pop(serial, None)
                continue
            kept_s = self._now() - self._kept_since.setdefault(serial, self._now())
            asked = self._now() - self._partial[serial] < IDLE_S  # by the daemon, again and again
            if kept_s > (CONFIG.warm_up_s if asked else 0.0):
                yield f"{serial}: interfaces {sorted(missing)} are kept from other drivers"

    def _shuttles(self) -> Iterator[str]:
        """Interfaces are not handed to and fro."""
        for printer, port in zip(self._office.printers, self._office.host.ports, strict=True):
            serial = printer.device.model.serial
            self._shuttled[serial] += len(port.driver_log)
            port.driver_log.clear()
            if not self._now() % 3600 // LOOK_S:
                hour, self._shuttled[serial] = self._shuttled[serial], 0
                if hour > SHUTTLES * 2 * len(printer.device.interfaces):
                    yield f"{serial}: its interfaces changed hands {hour} times in an hour"

    def _resets(self) -> Iterator[str]:
        """Resets of a device stay within the budget."""
        resets = self._office.host.resets
        since = self._now() - CONFIG.resets_window_s
        while resets and resets[0][0] < since:
            resets.popleft()
        for serial, count in Counter(serial for _, serial in resets).items():
            if count > CONFIG.resets_max:
                yield f"{serial} was reset {count} times in {CONFIG.resets_window_s:.0f} s"

    def _undisturbed(self) -> Iterator[str]:
        """A printer is not reset while it prints, though it answers nothing."""
        for printer in self._office.printers:
            serial = printer.device.model.serial
            for one in printer.personalities:
                if not isinstance(one, SilentWhilePrinting) or not one.spoiled:
                    continue
                one.spoiled = 0
                if not self._ledger.excuse(serial, self._now() - LOOK_S):
                    yield f"{serial} was reset while it printed"

    def _lessons(self) -> Iterator[str]:
        for key, record in self._office.state.printers().items():
            if record.learned and not key.endswith(tuple(self.allowed_lessons) or ("\0",)):
                yield f"{key} is healthy, and {record.learned} was learned of it"

    # --- scanners, and what the network sees

    def scan_left(self, printer: VirtualPrinter, job: str) -> None:
        """The program of a scan job died while the daemon had a request of it."""
        self._office.trace.note("scan", f"{printer.device.model.serial} {job}: its program died")
        self._left.append((self._now(), printer, job.rpartition("/")[2]))

    def _scanners(self) -> Iterator[str]:
        """A scanner whose program died is free for the next one."""
        waiting = []
        for left_at, printer, number in self._left:
            job, serial = printer.scanner.jobs.get(number), printer.device.model.serial
            if job is None or job.state != "Processing" or self._ledger.excuse(serial, left_at):
                continue
            if self._now() - left_at > FREED_S:
                yield f"the scanner of {serial} is not free {FREED_S:.0f} s after its program died"
            else:
                waiting.append((left_at, printer, number))
        self._left = waiting

    def _announced(self) -> Iterator[str]:
        """The network sees the printers that are there."""
        for printer in self._office.printers:
            served, serial = self._office.served(printer), printer.device.model.serial
            if served is None or self._ledger.excuse(serial, self._now() - ANSWER_S):
                continue
            if self._office.config.passive and not served.answers:  # nobody used it yet
                continue
            seen = served.name in self._office.avahi.announced
            if seen == (printer.device.plugged and self._office.avahi.up):
                self._misannounced.discard(serial)
            elif serial in self._misannounced:
                yield f"{serial} is {'' if printer.device.plugged else 'not '}there, and {seen=}"
            else:  # perhaps a recovery of its last interface, which is over soon
                self._misannounced.add(serial)

    def _state_is_kept(self) -> Iterator[str]:
        """A printer keeps its port and its name."""
        for key, record in self._office.state.printers().items():
            if self._kept.setdefault(key, record.port) != record.port:
                yield f"{key} has port {record.port}, and had {self._kept[key]}"

    # --- the process

    def _day(self) -> None:
        """Once a day, at night: nothing grows."""
        self._ledger.forget_before(self._now() - DAY_S)
        counts = {
            "tasks": len(asyncio.all_tasks()),
            "descriptors": sum(1 for _ in DESCRIPTORS.iterdir()),
        }
        for what, count in counts.items():
            usual = self._baseline.setdefault(what, count)
            if count > usual + GROWTH[what](self._office):
                self.broken("flat", f"{count} {what}, on the first night {usual}")


GROWTH: Final[dict[str, Callable[[Office], int]]] = {
    "tasks": lambda office: 10 * len(office.printers),
    "descriptors": lambda office: 0,
}
