"""Jobs and documents of the virtual printer: what arrived, with its sha256.

Documents are hashed (and written, where there is a directory) as they arrive; none is held in
memory. A job whose data is complete is processing for `print_s` more, so that it can still be
cancelled, and completed after that; states follow from the clock, no thread prints.

    open --last document--> processing --print_s--> completed
      +--cancel--> canceled         +--cancel--> canceled
      +--data cut, or no document in time--> aborted

Thread safe. Knows files and clocks; nothing of IPP's encoding.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ippusbd.virtual.http.messages import Reader
from ippusbd.wire.ipp import JobState

OPERATION_S: Final = 120.0  # multiple-operation-time-out: between two documents of a job
KEPT_JOBS: Final = 10_000  # the history; the oldest finished ones are dropped first
OVER: Final = (JobState.CANCELED, JobState.ABORTED, JobState.COMPLETED)
INFLATE_STEP: Final = 256 * 1024
WINDOW_BITS: Final = {"gzip": 31, "deflate": -15}


class BadCompression(Exception):
    """The document is not compressed the way its attribute says."""


@dataclass(slots=True)
class StoredDocument:
    """A document as it arrived, decompressed. `completed`: whole, its job not cancelled."""

    job_id: int
    format: str
    size: int = 0
    sha256: str = ""
    path: Path | None = None
    completed: bool = False

    def as_dict(self) -> dict[str, object]:
        return {
            "job": self.job_id,
            "format": self.format,
            "size": self.size,
            "sha256": self.sha256,
            "path": str(self.path) if self.path else None,
            "completed": self.completed,
        }


@dataclass(slots=True)
class Job:
    """`ended` and `ended_at` are set when it ends otherwise than by being printed."""

    id: int
    name: str
    user: str
    queue: str  # path of the print or fax queue
    created_at: float
    documents: list[StoredDocument] = field(default_factory=list)
    touched_at: float = 0.0  # when it was created, or its last document arrived
    receiving: bool = False
    interface: int | None = None  # on which its document comes, or came
    closed_at: float | None = None  # when the last document was complete
    ended: JobState | None = None
    ended_at: float | None = None
    reason: str = ""  # of the end

    @property
    def size(self) -> int:
        return sum(one.size for one in self.documents)


class JobStore:
    """All jobs of one printer, of both queues."""

    def __init__(
        self,
        *,
        store_dir: Path | None = None,
        print_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store_dir = store_dir
        self.print_s = print_s
        self.documents: list[StoredDocument] = []
        self.raw_documents: list[StoredDocument] = []  # through the legacy setting
        self.observers: list[Callable[[Job], None]] = []  # of whole documents and of ends
        self._clock = clock
        self._jobs: dict[int, Job] = {}
        self._active: list[Job] = []
        self._next = 1
        self._lock = threading.RLock()

    def now(self) -> float:
        return self._clock()

    def create(self, name: str, user: str, queue: str) -> Job:
        with self._lock:
            now = self._clock()
            job = Job(self._next, name, user, queue, now, touched_at=now)
            self._next += 1
            self._jobs[job.id] = job
            self._active.append(job)
            if len(self._jobs) > KEPT_JOBS:
                over = next((one for one in self._jobs.values() if self.state(one) in OVER), job)
                del self._jobs[over.id]
            return job

    def get(self, job_id: int) -> Job | None:
        return self._jobs.get(job_id)

    def active(self) -> list[Job]:
        """Those that are not finished; does not look at those that are."""
        with self._lock:
            self._active = [job for job in self._active if self.state(job) not in OVER]
            return self._active

    def over_count(self, active: int) -> int:
        """How many jobs are finished, one page each, when `active` are not."""
        with self._lock:
            return max(0, self._next - 1 - active)

    def active_count(self) -> int:
        return len(self.active())

    def jobs(self) -> list[Job]:
        with self._lock:
            return list(self._jobs.values())

    def state(self, job: Job) -> JobState:
        """Where the job is now."""
        if job.ended is not None:
            return job.ended
        if job.closed_at is None:
            if not job.receiving and self._clock() - job.touched_at > OPERATION_S:
                self.abort(job, "aborted-by-system")
                return JobState.ABORTED
            return JobState.PROCESSING if job.documents else JobState.PENDING
        if self._clock() < job.closed_at + self.print_s:
            return JobState.PROCESSING
        return JobState.COMPLETED

    def over_at(self, job: Job) -> float | None:
        """When the job finished, if it has."""
        if self.state(job) is JobState.COMPLETED and job.closed_at is not None:
            return job.closed_at + self.print_s
        return job.ended_at

    def close(self, job: Job) -> None:
        """There will be no more documents."""
        with self._lock:
            if job.closed_at is None:
                job.closed_at = self._clock()

    def cancel(self, job: Job) -> bool:
        """False: it was finished already."""
        return self._end(job, JobState.CANCELED, "job-canceled-by-user")

    def abort(self, job: Job, reason: str) -> None:
        self._end(job, JobState.ABORTED, reason)

    def _end(self, job: Job, state: JobState, reason: str) -> bool:
        with self._lock:
            if job.ended is not None or (job.closed_at is not None and self.state(job) in OVER):
                return False
            job.ended, job.ended_at, job.reason = state, self._clock(), reason
            for document in job.documents:
                document.completed = False
        self._tell(job)
        return True

    def _tell(self, job: Job) -> None:
        for observer in self.observers:
            observer(job)

    def forget(self) -> None:
        """A power cycle: no jobs, and numbers from 1 again. Documents stay, they are paper."""
        with self._lock:
            self._jobs.clear()
            self._active.clear()
            self._next = 1

    # --- documents

    async def receive(
        self, job: Job, doc_format: str, piece: Reader, compression: str = "none"
    ) -> StoredDocument:
        """Read a document to its end. Whatever `piece` raises leaves it incomplete.

        Raises BadCompression.
        """
        document = StoredDocument(job.id, doc_format)
        with self._lock:
            job.documents.append(document)
            self.documents.append(document)
            number = len(job.documents)
        if self.store_dir is not None:
            name = f"job-{job.id}-{number}"
            document.path = _unused(self.store_dir, name, _suffix(doc_format))
        inflate = Inflater(WINDOW_BITS[compression]) if compression in WINDOW_BITS else None
        job.receiving = True
        try:
            await self._keep(document, piece, inflate)
        finally:
            job.receiving, job.touched_at = False, self._clock()
        with self._lock:
            document.completed = job.ended is None
        self._tell(job)
        return document

    @staticmethod
    async def _keep(document: StoredDocument, piece: Reader, inflate: Inflater | None) -> None:
        digest = hashlib.sha256()
        path = document.path
        file = path.open("wb") if path is not None else None
        try:
            while (data := await piece()) is not None:
                for part in inflate.feed(data) if inflate is not None else (data,):
                    digest.update(part)
                    document.size += len(part)
                    if file is not None:
                        file.write(part)
            if inflate is not None:
                inflate.check_end()
        finally:
            document.sha256 = digest.hexdigest()
            if file is not None:
                file.close()

    def keep_raw(self, data: bytes) -> None:
        """A whole job of the legacy setting, where there is neither format nor job."""
        digest = hashlib.sha256(data).hexdigest()
        self.raw_documents.append(
            StoredDocument(0, "application/octet-stream", len(data), digest, None, True)
        )


def _unused(folder: Path, name: str, suffix: str) -> Path:
    """A file that is not there yet: printers of earlier runs numbered their jobs alike."""
    names = (f"{name}.{n}" if n > 1 else name for n in itertools.count(1))
    return next(path for each in names if not (path := folder / f"{each}{suffix}").exists())


def _suffix(doc_format: str) -> str:
    known = {"application/pdf": ".pdf", "image/jpeg": ".jpg", "image/urf": ".urf"}
    return known.get(doc_format, ".pwg" if doc_format == "image/pwg-raster" else ".bin")


class Inflater:
    """Decompresses in bounded steps; raises BadCompression."""

    def __init__(self, window_bits: int) -> None:
        self._inflater = zlib.decompressobj(window_bits)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        rest = piece
        while rest:
            try:
                yield self._inflater.decompress(rest, INFLATE_STEP)
            except zlib.error as exc:
                raise BadCompression(str(exc)) from exc
            rest = self._inflater.unconsumed_tail

    def check_end(self) -> None:
        if not self._inflater.eof:
            raise BadCompression("the compressed data ends too early")
