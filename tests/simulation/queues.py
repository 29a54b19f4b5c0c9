"""Print queues as CUPS runs them: one document at a time, again when it was told that it failed.

A document goes out by Print-Job, or by Create-Job and Send-Document (by job-id, or by job-uri),
and is followed until it is printed. Some clients die in the middle, some after the last byte,
some cancel what they printed.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from typing import Final

from simulation.laws import Laws
from simulation.ledger import Attempt, Fate
from simulation.office import CONFIG
from simulation.talk import PIECE, Caller, Left, Upload, answer_of
from support.http_client import Reply

from ippusbd.wire import ipp
from ippusbd.wire.ipp import Attribute, JobState, Message, Operation, Tag

SIZES: Final = (200, 3_000, 40_000, 150_000, 600_000, 2_000_000)
WEIGHTS: Final = (5, 10, 30, 30, 15, 3)
TRIES: Final = 200
RETRY_S: Final = 10.0
FOLLOWED_S: Final = 600.0
BEYOND: Final = JobState.CANCELED  # states from here on are final


@dataclass(frozen=True, slots=True)
class Manners:
    """How often a client does what costs the others something."""

    dies_in_the_middle: float = 0.04
    dies_at_the_end: float = 0.02
    cancels: float = 0.02
    is_slow: float = 0.06
    does_not_look: float = 0.02  # how the printer is, before it prints


class Queue:
    """One queue of one printer; documents are made one after the other."""

    def __init__(self, caller: Caller, laws: Laws, name: str, manners: Manners) -> None:
        self._caller = caller
        self._laws = laws
        self._name = name
        self._manners = manners
        self._count = 0

    async def prints(self) -> None:
        """One document, however long it takes."""
        self._count += 1
        chance = self._caller.chance
        document = self._document()
        for number in range(1, TRIES):
            if chance.random() >= self._manners.does_not_look:
                await self._caller.look()
            attempt = self._caller.ledger.attempt(
                f"{self._name}-{self._count}.{number}",
                self._caller.serial,
                hashlib.sha256(document).hexdigest(),
                len(document),
            )
            how = chance.choice((self._print_job, self._by_id, self._by_uri))
            job_id = await how(attempt, self._upload(document))
            if attempt.fate in (Fate.CUT, Fate.LEFT):
                return
            if attempt.fate is Fate.ACCEPTED:
                await self._follow(attempt, job_id)
                return
            await asyncio.sleep(RETRY_S)

    def _document(self) -> bytes:
        chance = self._caller.chance
        size = chance.choices(SIZES, WEIGHTS)[0] + chance.randrange(600)
        return (chance.randbytes(32) * (1 + size // 32))[:size]

    def _upload(self, document: bytes) -> Upload:
        chance, manners = self._caller.chance, self._manners
        upload = Upload(b"", document)
        if chance.random() < manners.is_slow:  # its filter needs time for a page
            pieces = 1 + len(document) // PIECE
            slow = {chance.randrange(pieces): chance.expovariate(1 / 40) for _ in range(3)}
            upload = replace(upload, pauses=slow)
        if chance.random() < manners.dies_in_the_middle:
            return replace(upload, dies_after=chance.randrange(len(document)))
        if chance.random() < manners.dies_at_the_end:
            return replace(upload, dies_after=len(document))
        return upload

    # --- ways to print

    async def _print_job(self, attempt: Attempt, upload: Upload) -> int | None:
        start = self._caller.request(Operation.PRINT_JOB, *_named(attempt))
        return await self._send(attempt, replace(upload, start=start))

    async def _by_id(self, attempt: Attempt, upload: Upload) -> int | None:
        return await self._in_two_steps(attempt, upload, by_uri=False)

    async def _by_uri(self, attempt: Attempt, upload: Upload) -> int | None:
        return await self._in_two_steps(attempt, upload, by_uri=True)

    async def _in_two_steps(self, attempt: Attempt, upload: Upload, *, by_uri: bool) -> int | None:
        created = await self._caller.ask_ipp(Operation.CREATE_JOB, *_named(attempt))
        if created is None or not created.ok:
            attempt.fate = Fate.REFUSED  # of a document nobody has spoken yet
            self._laws.told(attempt)
            return None
        job_id = created.first_integer(Tag.JOB, "job-id") or 0
        which = ipp.attribute("job-id", ipp.integer(job_id))
        if by_uri:
            uri = created.first_text(Tag.JOB, "job-uri") or ""
            which = ipp.attribute("job-uri", ipp.uri(uri))
        last = ipp.attribute("last-document", ipp.boolean(True))
        start = self._caller.request(Operation.SEND_DOCUMENT, which, last)
        found = await self._send(attempt, replace(upload, start=start))
        if attempt.fate in (Fate.REFUSED, Fate.BROKEN):
            await self._cancel(attempt, job_id)  # it will begin afresh
        return found

    async def _send(self, attempt: Attempt, upload: Upload) -> int | None:
        """The job's id when the document was accepted."""
        dies = upload.dies_after
        attempt.dawdles = max(upload.pauses.values(), default=0.0) >= CONFIG.upload_stall_s
        if dies is not None:
            attempt.fate = Fate.LEFT if dies >= len(upload.document) else Fate.CUT
        answer = None
        try:
            reply = await self._caller.upload(upload)
            answer = answer_of(reply)
            attempt.fate = _fate(reply, answer)
        except Left:
            if dies is None:
                attempt.fate = Fate.LEFT
        self._laws.told(attempt)
        return answer.first_integer(Tag.JOB, "job-id") if answer is not None else None

    # --- afterwards

    async def _follow(self, attempt: Attempt, job_id: int | None) -> None:
        """As the backend does: look after the job, less and less often, until it is over."""
        if job_id is None:
            return
        if self._caller.chance.random() < self._manners.cancels:
            await self._cancel(attempt, job_id)
        pause_s, since = 1.0, self._caller.office.loop.time()
        while self._caller.office.loop.time() - since < FOLLOWED_S:
            which = ipp.attribute("job-id", ipp.integer(job_id))
            answer = await self._caller.ask_ipp(Operation.GET_JOB_ATTRIBUTES, which)
            state = answer.first_integer(Tag.JOB, "job-state") if answer is not None else None
            if answer is not None and (not answer.ok or (state or 0) >= BEYOND):
                return
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s + 1.0, 10.0)

    async def _cancel(self, attempt: Attempt, job_id: int) -> None:
        attempt.cancelled = True
        which = ipp.attribute("job-id", ipp.integer(job_id))
        await self._caller.ask_ipp(Operation.CANCEL_JOB, which)


def _named(attempt: Attempt) -> tuple[Attribute, ...]:
    return (ipp.attribute("job-name", ipp.name(attempt.tag)),)


def _fate(reply: Reply | None, answer: Message | None) -> Fate:
    if answer is not None:
        return Fate.ACCEPTED if answer.ok else Fate.REFUSED
    if reply is not None and reply.status == 503:
        return Fate.REFUSED
    return Fate.BROKEN
