"""The eSCL scanner of the virtual device: platen and document feeder.

    ScanJobs (201 + Location) --> NextDocument ... NextDocument --> 404: no more pages
                                        +--DELETE--> cancelled

One scan at a time, because there is one glass: a second client gets 503 until the first has fetched
its pages, deleted its job, or has sent no request for `patience_s`.

Knows eSCL and `pictures`; HTTP only as `Request` and `Response`.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ippusbd.virtual.http.messages import HttpRequest, HttpResponse, plain
from ippusbd.virtual.personalities.base import ActivePersonalities
from ippusbd.virtual.services import escl_xml as xml
from ippusbd.virtual.services.captured import CapturedScanner
from ippusbd.virtual.services.pictures import MODES, PictureSpec, picture

JOBS_PATH: Final = "/eSCL/ScanJobs"
PIECE: Final = 64 * 1024
KEPT: Final = 20
BITS: Final = {"1": 1, "L": 8, "RGB": 24}
JOB_TARGET: Final = re.compile(r"/eSCL/ScanJobs/([^/]+)(?:/(NextDocument|ScanImageInfo))?/?")


@dataclass(slots=True)
class ScanJob:
    id: str
    settings: xml.ScanSettings
    pages: int
    created_at: float
    used_at: float
    sent: int = 0
    state: str = "Processing"
    spec: PictureSpec | None = None  # of the page sent last
    attempts: int = field(default=0)  # NextDocument requests

    @property
    def reason(self) -> str:
        return {
            "Processing": "JobScanning",
            "Completed": "JobCompletedSuccessfully",
            "Canceled": "JobCanceledByUser",
            "Aborted": "JobTimedOut",
        }[self.state]


class EsclScanner:
    """The scanner behind `/eSCL`."""

    def __init__(
        self,
        make_and_model: str,
        serial: str,
        identity: str,
        personalities: ActivePersonalities,
        *,
        captured: CapturedScanner | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.make_and_model = make_and_model
        self.serial = serial
        self.identity = identity
        self.personalities = personalities
        self.adf_pages = 2  # sheets in the feeder, at the start of every job
        self.has_adf = captured.has_adf if captured else True
        self.patience_s = 10.0  # without a request; then the job is aborted
        self._captured = captured
        self._can = captured.abilities() if captured else xml.Abilities()
        self.jobs: dict[str, ScanJob] = {}
        self._clock = clock
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """One eSCL exchange."""
        path = request.path.rstrip("/")
        method = "GET" if request.method == "HEAD" else request.method
        handler = self._FIXED.get((method, path))
        if handler is not None:
            return await handler(self, request)
        target = JOB_TARGET.fullmatch(path)
        if target is None:
            return plain(404, "no such resource\n")
        job = self.jobs.get(target[1])
        on_job = self._ON_JOB.get((method, target[2]))
        if job is None:
            return plain(404, "no such job\n")
        if on_job is None:
            return plain(405, "not with this method\n")
        job.used_at = self._clock()
        return await on_job(self, request, job)

    def _xml(self, request: HttpRequest, text: str) -> HttpResponse:
        text = self.personalities.xml(request.path.rstrip("/"), text)
        body = text.encode("utf-8", "surrogateescape")
        return HttpResponse(200, [("Content-Type", "text/xml")], body)

    # --- capabilities and status

    async def _capabilities(self, request: HttpRequest) -> HttpResponse:
        if self._captured:
            return self._xml(request, self._captured.text)
        text = xml.capabilities(
            self.make_and_model, self.serial, self.identity, request.base_url, self.has_adf
        )
        return self._xml(request, text)

    async def _status(self, request: HttpRequest) -> HttpResponse:
        busy = self._active() is not None
        loaded = "ScannerAdfLoaded" if self.adf_pages else "ScannerAdfEmpty"
        lines = [self._line(job) for job in reversed(self.jobs.values())]
        state = "Processing" if busy else "Idle"
        return self._xml(request, xml.status(state, loaded if self.has_adf else "", lines))

    def _line(self, job: ScanJob) -> xml.JobLine:
        age_s = int(self._clock() - job.created_at)
        uri = f"{JOBS_PATH}/{job.id}"
        left = job.pages - job.sent if job.state == "Processing" else 0
        return xml.JobLine(uri, job.id, age_s, job.sent, left, job.state, job.reason)

    # --- jobs

    def _active(self) -> ScanJob | None:
        """The job that uses the glass now; one whose client sends nothing any more is aborted."""
        with self._lock:
            for job in self.jobs.values():
                if job.state != "Processing":
                    continue
                if self._clock() - job.used_at < self.patience_s:
                    return job
                job.state = "Aborted"
            return None

    async def _create(self, request: HttpRequest) -> HttpResponse:
        try:
            settings = xml.parse_settings(await request.read(xml.BEYOND_LIMITS), self._can)
        except xml.BadSettings as exc:
            return plain(400, f"{exc}\n")
        feeder = settings.source == "Feeder"
        if feeder and not self.adf_pages:
            return plain(409, "the document feeder is empty\n")
        with self._lock:
            if self._active() is not None:
                return plain(503, "busy with another scan\n").with_header("Retry-After", "1")
            pages = self.adf_pages * (1 + settings.duplex) if feeder else 1
            now = self._clock()
            name = f"{self.identity}:{next(self._numbers)}"
            job = ScanJob(str(uuid.uuid5(uuid.NAMESPACE_URL, name)), settings, pages, now, now)
            self.jobs[job.id] = job
            for old in list(self.jobs)[:-KEPT]:
                del self.jobs[old]
        location = f"{request.base_url}{JOBS_PATH}/{job.id}"
        return HttpResponse(201, [("Location", location)])

    async def _next_document(self, request: HttpRequest, job: ScanJob) -> HttpResponse:
        job.attempts += 1
        if job.state != "Processing" or job.sent >= job.pages:
            if job.state == "Processing":
                job.state = "Completed"
            return plain(404, "no more pages\n")
        settings = job.settings
        job.sent += 1
        job.spec = PictureSpec(
            job.sent,
            settings.region,
            settings.x_dpi,
            settings.y_dpi,
            settings.color_mode,
            settings.format,
        )
        data = picture(job.spec)
        if settings.source == "Platen":
            job.state = "Completed"
        headers = [
            ("Content-Type", settings.format),
            ("Content-Location", f"{JOBS_PATH}/{job.id}/NextDocument/{job.sent}"),
        ]
        return HttpResponse(200, headers, _in_pieces(data))  # chunked, as scanners do

    async def _image_info(self, request: HttpRequest, job: ScanJob) -> HttpResponse:
        if job.spec is None:
            return plain(404, "no page was sent yet\n")
        width, height = job.spec.size
        line_bytes = (width * BITS[MODES[job.spec.color_mode]] + 7) // 8
        uri = f"{JOBS_PATH}/{job.id}"
        return self._xml(request, xml.image_info(uri, job.id, width, height, line_bytes))

    async def _delete(self, request: HttpRequest, job: ScanJob) -> HttpResponse:
        if job.state == "Processing":
            job.state = "Canceled"
        return HttpResponse(200)

    _FIXED: Final[
        dict[tuple[str, str], Callable[[EsclScanner, HttpRequest], Awaitable[HttpResponse]]]
    ] = {
        ("GET", "/eSCL/ScannerCapabilities"): _capabilities,
        ("GET", "/eSCL/ScannerStatus"): _status,
        ("POST", JOBS_PATH): _create,
    }
    _ON_JOB: Final[
        dict[
            tuple[str, str | None],
            Callable[[EsclScanner, HttpRequest, ScanJob], Awaitable[HttpResponse]],
        ]
    ] = {
        ("GET", "NextDocument"): _next_document,
        ("GET", "ScanImageInfo"): _image_info,
        ("DELETE", None): _delete,
    }


def _in_pieces(data: bytes) -> Iterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(view), PIECE):
        yield view[start : start + PIECE]
