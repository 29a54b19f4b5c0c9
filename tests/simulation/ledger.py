"""What clients sent and were told, and what became of it at the printers.

Every try to print a document is an `Attempt` with a tag of its own, which is its job's name:
so a job at the printer tells whose it is, and a document that came twice by two tries is known
from one that one try brought twice.

Also kept here: who waits for an answer now, and what disturbs which printer, so that a law can
tell work that was ended from work that its printer lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import inf

from ippusbd.virtual.services.jobs import Job


class Fate(Enum):
    """What the client knows of a try."""

    OPEN = "not answered yet"
    ACCEPTED = "accepted"
    REFUSED = "refused"  # told so: 503, or an IPP error
    BROKEN = "broken off"  # its connection ended without an answer, or with 502, 504
    CUT = "cut"  # its client left in the middle of the document
    LEFT = "left"  # its client left after the last byte, without an answer


@dataclass(eq=False, slots=True)
class Attempt:
    tag: str
    printer: str  # serial number
    sha256: str
    size: int
    began: float
    ended: float = inf
    fate: Fate = Fate.OPEN
    copies: int = 0  # whole at the printer, not cancelled
    cancelled: bool = False  # its client asked for that
    dawdles: bool = False  # its client lets others wait longer than it may

    def __str__(self) -> str:
        return f"{self.tag} ({self.size} bytes, {self.fate.value})"


@dataclass(eq=False, slots=True)
class Question:
    """A request that waits for its answer."""

    printer: str
    what: str
    began: float
    streams: bool  # it carries a document: it may wait as long as the printer does


@dataclass(eq=False, slots=True)
class Disturbance:
    """Something that costs exchanges, whatever the daemon does."""

    printer: str
    what: str
    began: float
    after_s: float  # how long it has consequences
    interface: Callable[[], int | None]  # the only one that it concerns; None: all
    ended: float = inf

    def spares(self, interface: int | None) -> bool:
        only = self.interface()
        return None not in (only, interface) and only != interface


class Ledger:
    """One for the whole office."""

    def __init__(self, clock: Callable[[], float], after_s: float) -> None:
        self._clock = clock
        self._after_s = after_s  # how long a disturbance usually has consequences
        self.attempts: dict[str, Attempt] = {}
        self.open: dict[Question, None] = {}
        self.last_question: dict[str, float] = {}  # by printer: when one was asked or answered
        self.disturbances: deque[Disturbance] = deque(maxlen=1000)

    # --- clients

    def attempt(self, tag: str, printer: str, sha256: str, size: int) -> Attempt:
        one = Attempt(tag, printer, sha256, size, self._clock())
        self.attempts[tag] = one
        return one

    def ask(self, printer: str, what: str, *, streams: bool) -> Question:
        question = Question(printer, what, self._clock(), streams)
        self.open[question] = None
        self.last_question[printer] = inf
        return question

    def answered(self, question: Question) -> None:
        del self.open[question]
        if not any(one.printer == question.printer for one in self.open):
            self.last_question[question.printer] = self._clock()

    def forget_before(self, moment: float) -> None:
        """Drop attempts that ended before."""
        for tag in [tag for tag, one in self.attempts.items() if one.ended < moment]:
            del self.attempts[tag]

    # --- the world

    def disturb(
        self,
        printer: str,
        what: str,
        after_s: float | None = None,
        interface: Callable[[], int | None] = lambda: None,
    ) -> Disturbance:
        after_s = self._after_s if after_s is None else after_s
        one = Disturbance(printer, what, self._clock(), after_s, interface)
        self.disturbances.append(one)
        return one

    def over(self, one: Disturbance) -> None:
        one.ended = self._clock()

    def excuse(self, printer: str, since: float, interface: int | None = None) -> str:
        """What disturbed the printer since then, or shortly before; "": nothing did.

        With `interface`: what disturbed that one.
        """
        for one in reversed(self.disturbances):
            late = one.ended + one.after_s >= since
            if one.printer == printer and late and not one.spares(interface):
                return one.what
        return ""

    def attempt_of(self, job: Job) -> Attempt | None:
        return self.attempts.get(job.name)
