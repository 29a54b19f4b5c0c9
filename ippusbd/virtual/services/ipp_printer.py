"""The IPP printer of the virtual device: operations on its print and fax queues.

Each operation is one method of the table at the end. Documents pass to the `JobStore` as they
arrive. While one of `reasons` ends in `-error` (paper out), the printer is stopped and reads no
more of a document than the USB pipe already holds.

Knows IPP and the job store; HTTP only as `Request` and `Response`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from ippusbd.errors import BadIpp, IncompleteIpp
from ippusbd.virtual.http.messages import HttpRequest, HttpResponse, Reader, plain
from ippusbd.virtual.http.server import BrokenBody
from ippusbd.virtual.personalities.base import ActivePersonalities
from ippusbd.virtual.services import ipp_attributes as known
from ippusbd.virtual.services.captured import PRESENT, CapturedPrinter
from ippusbd.virtual.services.ipp_jobs import WHICH, job_attributes, selected
from ippusbd.virtual.services.ipp_request import IppFailure, IppRequest, answer, check, read_request
from ippusbd.virtual.services.jobs import OVER, BadCompression, Job, JobStore
from ippusbd.virtual.stats import Stats
from ippusbd.virtual.usb.pipes import SessionEnded
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Attribute, Group, JobState, Message, Operation, PrinterState, Status
from ippusbd.wire.ipp import Tag as T

PRINT_PATH: Final = "/ipp/print"
FAX_PATH: Final = "/ipp/faxout"
ANSWERS_KEPT: Final = 64


class IppPrinter:
    """The printer behind `/ipp/print` and `/ipp/faxout`."""

    def __init__(
        self,
        model: known.PrinterModel,
        jobs: JobStore,
        personalities: ActivePersonalities,
        stats: Stats,
        captured: CapturedPrinter | None = None,
    ) -> None:
        self.model = model
        self.jobs = jobs
        self.personalities = personalities
        self.stats = stats
        self.state_reasons: tuple[str, ...] = ()  # settable; "media-empty-error" stops it
        self.accepting = True
        self.stall_poll_s = 0.02  # how often a stopped printer looks whether it may go on
        self.identified: list[str] = []  # actions of Identify-Printer
        self.operations: deque[int] = deque(maxlen=10_000)  # of the last requests, in order
        self._captured = captured
        self._fixed = captured.attributes if captured else known.fixed_attributes(model)
        self._started = jobs.now()
        self._answers: tuple[tuple[object, ...], dict[tuple[object, ...], bytes]] = ((), {})
        self._queues = (PRINT_PATH, FAX_PATH) if model.fax else (PRINT_PATH,)

    # --- HTTP

    async def handle(self, http: HttpRequest) -> HttpResponse:
        """One IPP exchange."""
        if http.path.rstrip("/") not in self._queues:
            return plain(404, "no such printer\n")
        if http.method != "POST":
            return plain(405, "send IPP requests with POST\n").with_header("Allow", "POST")
        if http.header("Content-Type").split(";")[0].strip().lower() != "application/ipp":
            return plain(415, "the Content-Type must be application/ipp\n")
        try:
            request = await read_request(http)
        except BadIpp as exc:
            self.stats.add("bad_ipp")
            kind = "is incomplete" if isinstance(exc, IncompleteIpp) else "cannot be decoded"
            return plain(400, f"the IPP message {kind}: {exc}\n")
        return HttpResponse(200, [("Content-Type", "application/ipp")], await self._answer(request))

    async def _answer(self, request: IppRequest) -> bytes:
        """Encoded; printer attributes are cached for equal requests within one second."""
        asks = request.message.code == Operation.GET_PRINTER_ATTRIBUTES
        if asks and self._captured:
            replayed = self._replayed(request, self._captured)
            return self.personalities.ipp_bytes(request.message, replayed)
        if not asks or any(self.personalities):
            message = self.personalities.ipp(request.message, await self._perform(request))
            return self.personalities.ipp_bytes(request.message, ipp.encode(message))
        if (moment := self._moment()) != self._answers[0]:
            self._answers = (moment, {})
        kept = self._answers[1]  # another thread may replace it meanwhile
        key = (request.raw[:4], request.raw[8:], request.http.header("Host"), request.queue)
        answer = kept.get(key) if request.message.request_id else None
        if answer is None:
            message = await self._perform(request)
            answer = ipp.encode(message)
            if message.code == Status.OK and len(kept) < ANSWERS_KEPT:
                kept[key] = answer
        else:
            self.operations.append(request.message.code)
        return answer[:4] + request.raw[4:8] + answer[8:]  # the request-id

    def _replayed(self, request: IppRequest, captured: CapturedPrinter) -> bytes:
        """The captured attributes, with the present state."""
        self.operations.append(request.message.code)
        wanted = set(request.texts("requested-attributes")) or {"all"}
        current = self._current(request)
        present = {name: current[name] for name in PRESENT}
        return captured.answer(request.message, lambda name: _is_wanted(name, wanted), present)

    def _moment(self) -> tuple[object, ...]:
        """Everything but the request that the printer's attributes depend on."""
        up_s = self._up_s(self.jobs.now())
        return up_s, self.jobs.active_count(), self.reasons, self.accepting

    async def _perform(self, request: IppRequest) -> Message:
        self.operations.append(request.message.code)
        try:
            check(request.message)
            operation = OPERATIONS.get(request.message.code)
            if operation is None:
                raise IppFailure(
                    Status.OPERATION_NOT_SUPPORTED, f"operation {request.message.code:#06x}"
                )
            groups = tuple(await operation(self, request))
        except IppFailure as failure:
            unsupported = Group(T.UNSUPPORTED, failure.unsupported)
            groups = (unsupported,) if failure.unsupported else ()
            return answer(request.message, failure.status, groups, str(failure))
        return answer(request.message, Status.OK, groups)

    # --- the printer itself

    @property
    def reasons(self) -> tuple[str, ...]:
        """The current printer-state-reasons: those set, and those of personalities."""
        return (*self.state_reasons, *self.personalities.reasons())

    @property
    def stopped(self) -> bool:
        return any(reason.endswith("-error") for reason in self.reasons)

    async def get_printer_attributes(self, request: IppRequest) -> Iterable[Group]:
        wanted = set(request.texts("requested-attributes")) or {"all"}
        table = {**self._fixed, **self._current(request)}
        chosen = (
            ipp.attribute(name, *values)
            for name, values in table.items()
            if _is_wanted(name, wanted)
        )
        return (Group(T.PRINTER, tuple(chosen)),)

    def _current(self, request: IppRequest) -> known.Table:
        """The attributes that depend on the time and on the client's Host."""
        up_s = self._up_s(self.jobs.now())
        active = self.jobs.active_count()
        state = PrinterState.PROCESSING if active else PrinterState.IDLE
        if self.stopped:
            state = PrinterState.STOPPED
        table: known.Table = {
            "printer-uri-supported": (ipp.uri(request.uri()),),
            "printer-more-info": (ipp.uri(request.web("/")),),
            "printer-supply-info-uri": (ipp.uri(request.web("/#supplies")),),
            "printer-icons": (
                ipp.uri(request.web("/icon-128.png")),
                ipp.uri(request.web("/icon-512.png")),
            ),
            "printer-state": (ipp.enum(state),),
            "printer-state-reasons": known.keywords(self.reasons or ("none",)),
            "printer-is-accepting-jobs": (ipp.boolean(self.accepting),),
            "queued-job-count": (ipp.integer(active),),
            "printer-impressions-completed": (ipp.integer(self.jobs.over_count(active)),),
            "printer-up-time": (ipp.integer(up_s),),
            "printer-current-time": (ipp.datetime(date_and_time(0.0)),),
            "printer-state-change-time": (ipp.integer(1),),
            "printer-state-change-date-time": (ipp.datetime(date_and_time(up_s)),),
            "printer-config-change-time": (ipp.integer(1),),
            "printer-config-change-date-time": (ipp.datetime(date_and_time(up_s)),),
        }
        return table | (_fax_attributes() if request.queue == FAX_PATH else {})

    def _up_s(self, moment: float) -> int:
        """A time of the clock as printer-up-time, which begins at 1."""
        return max(1, round(moment - self._started) + 1)

    async def identify_printer(self, request: IppRequest) -> Iterable[Group]:
        self.identified.extend(request.texts("identify-actions") or ("display",))
        return ()

    # --- new jobs

    async def validate_job(self, request: IppRequest) -> Iterable[Group]:
        self._check_new_job(request)
        return ()

    async def print_job(self, request: IppRequest) -> Iterable[Group]:
        self._check_new_job(request)
        job = self._new_job(request)
        await self._receive(request, job)
        self.jobs.close(job)
        return self._job_group(request, job)

    async def create_job(self, request: IppRequest) -> Iterable[Group]:
        self._check_new_job(request)
        return self._job_group(request, self._new_job(request))

    async def send_document(self, request: IppRequest) -> Iterable[Group]:
        last = request.boolean("last-document")
        if last is None:
            raise IppFailure(Status.BAD_REQUEST, "no last-document")
        job = self._job(request)
        if job.closed_at is not None or self.jobs.state(job) in OVER:
            raise IppFailure(Status.NOT_POSSIBLE, "the job takes no more documents")
        self._check_document(request)
        first = await request.document()
        if first is not None:
            if job.documents:
                raise IppFailure(Status.MULTIPLE_DOCUMENT_JOBS_NOT_SUPPORTED, "one document a job")
            await self._receive(request, job, first)
        elif not last:
            raise IppFailure(Status.BAD_REQUEST, "no document data")
        if last:
            self.jobs.close(job)
        return self._job_group(request, job)

    async def close_job(self, request: IppRequest) -> Iterable[Group]:
        self.jobs.close(self._job(request))
        return ()

    def _new_job(self, request: IppRequest) -> Job:
        name = request.text("job-name") or request.text("document-name") or "Untitled"
        return self.jobs.create(name, request.text("requesting-user-name"), request.queue)

    async def _receive(self, request: IppRequest, job: Job, first: bytes = b"") -> None:
        doc_format = request.text("document-format") or "application/octet-stream"
        compression = request.text("compression") or "none"
        piece = self._paced(request, job, first)
        try:
            job.interface = request.http.interface.number
            await self.jobs.receive(job, doc_format, piece, compression)
        except BadCompression as exc:
            self.jobs.abort(job, "compression-error")
            raise IppFailure(Status.COMPRESSION_ERROR, str(exc)) from exc
        except (SessionEnded, BrokenBody):
            self.jobs.abort(job, "submission-interrupted")
            raise
        if job.ended is not None:
            raise IppFailure(Status.JOB_CANCELED, "the job was cancelled")

    def _paced(self, request: IppRequest, job: Job, first: bytes) -> Reader:
        """The document, halted while the printer is stopped. A cancelled job is read to its end."""
        pending = [first] if first else []

        async def piece() -> bytes | None:
            if pending:
                return pending.pop()
            while self.stopped and job.ended is None:
                await request.http.pause(self.stall_poll_s)
            return await request.document()

        return piece

    def _check_new_job(self, request: IppRequest) -> None:
        if not self.accepting:
            raise IppFailure(Status.NOT_ACCEPTING_JOBS, "not accepting jobs")
        self._check_document(request)
        unsupported = [one for one in self._job_template(request) if not self._supports(one)]
        if unsupported and request.boolean("ipp-attribute-fidelity"):
            raise IppFailure(
                Status.ATTRIBUTES_OR_VALUES_NOT_SUPPORTED, "values not supported", unsupported
            )

    def _check_document(self, request: IppRequest) -> None:
        for name, supported, status in (
            (
                "document-format",
                "document-format-supported",
                Status.DOCUMENT_FORMAT_NOT_SUPPORTED,
            ),
            ("compression", "compression-supported", Status.COMPRESSION_NOT_SUPPORTED),
        ):
            found = request.message.get(T.OPERATION, name)
            texts = {value.text for value in self._fixed.get(supported, ())}
            if found is not None and texts and not set(found.texts) <= texts:
                raise IppFailure(status, f"{name} {', '.join(found.texts)}", (found,))

    @staticmethod
    def _job_template(request: IppRequest) -> tuple[Attribute, ...]:
        return request.message.group(T.JOB).attributes

    def _supports(self, attr: Attribute) -> bool:
        supported = self._fixed.get(f"{attr.name}-supported")
        if supported is None:
            return attr.name in known.CREATION
        if attr.texts:
            return set(attr.texts) <= {value.text for value in supported}
        return True

    # --- jobs that exist

    async def get_job_attributes(self, request: IppRequest) -> Iterable[Group]:
        wanted = set(request.texts("requested-attributes")) or {"all"}
        return self._job_group(request, self._job(request), wanted)

    async def get_jobs(self, request: IppRequest) -> Iterable[Group]:
        wanted = set(request.texts("requested-attributes")) or {"job-id", "job-uri"}
        which = request.text("which-jobs") or "not-completed"
        if which not in WHICH:
            found = request.message.get(T.OPERATION, "which-jobs")
            raise IppFailure(
                Status.ATTRIBUTES_OR_VALUES_NOT_SUPPORTED, which, (found,) if found else ()
            )
        user = request.text("requesting-user-name") if request.boolean("my-jobs") else None
        jobs = selected(self.jobs, which, queue=request.queue, user=user)
        limit = request.integer("limit")
        return [
            group
            for job in jobs[: limit if limit is not None else len(jobs)]
            for group in self._job_group(request, job, wanted)
        ]

    async def cancel_job(self, request: IppRequest) -> Iterable[Group]:
        job = self._job(request)
        if not self.jobs.cancel(job):
            raise IppFailure(Status.NOT_POSSIBLE, "the job is finished")
        return ()

    async def cancel_my_jobs(self, request: IppRequest) -> Iterable[Group]:
        user = request.text("requesting-user-name")
        found = request.message.get(T.OPERATION, "job-ids")
        mine = selected(self.jobs, "not-completed", queue=request.queue, user=user)
        for job in mine:
            if found is None or job.id in found.integers:
                self.jobs.cancel(job)
        return ()

    def _job(self, request: IppRequest) -> Job:
        number = request.integer("job-id")
        if number is None:
            tail = request.text("job-uri").rpartition("/")[2]
            number = int(tail) if tail.isascii() and tail.isdigit() else None
        if number is None:
            raise IppFailure(Status.BAD_REQUEST, "neither job-id nor job-uri")
        job = self.jobs.get(number)
        if job is None or job.queue != request.queue:
            raise IppFailure(Status.NOT_FOUND, f"no job {number}")
        return job

    def _job_group(
        self,
        request: IppRequest,
        job: Job,
        wanted: set[str] | None = None,
    ) -> Iterable[Group]:
        wanted = wanted or {"job-id", "job-uri", "job-state", "job-state-reasons"}
        state = self.jobs.state(job)
        if state is JobState.PROCESSING and self.stopped:
            state = JobState.PROCESSING_STOPPED
        table = job_attributes(self.jobs, job, state, request, self._up_s)
        chosen = (
            ipp.attribute(name, *values)
            for name, values in table.items()
            if name in wanted or wanted & {"all", "job-description"}
        )
        return (Group(T.JOB, tuple(chosen)),)


def _is_wanted(name: str, wanted: set[str]) -> bool:
    """PWG 5100.7: media-col-database only when requested by name."""
    if name in wanted:
        return True
    if name == "media-col-database":
        return False
    if "all" in wanted:
        return True
    return ("job-template" if known.is_job_template(name) else "printer-description") in wanted


def _fax_attributes() -> known.Table:
    return {
        "ipp-features-supported": known.keywords(("faxout",)),
        "destination-uri-schemes-supported": (ipp.uri_scheme("tel"),),
        "destination-uris-supported": known.keywords(("destination-uri", "pre-dial-string")),
        "number-of-retries-supported": (ipp.range_(0, 9),),
        "number-of-retries-default": (ipp.integer(3),),
        "confirmation-sheet-print-supported": (ipp.boolean(False),),
    }


def date_and_time(ago_s: float) -> bytes:
    """RFC 2579's DateAndTime, in UTC, `ago_s` seconds ago."""
    moment = datetime.now(UTC) - timedelta(seconds=ago_s)
    head = moment.year.to_bytes(2, "big")
    fields = (moment.month, moment.day, moment.hour, moment.minute, moment.second)
    return head + bytes((*fields, moment.microsecond // 100_000)) + b"+\x00\x00"


Operate = Callable[[IppPrinter, IppRequest], Awaitable[Iterable[Group]]]
OPERATIONS: Final[dict[int, Operate]] = {
    Operation.PRINT_JOB: IppPrinter.print_job,
    Operation.VALIDATE_JOB: IppPrinter.validate_job,
    Operation.CREATE_JOB: IppPrinter.create_job,
    Operation.SEND_DOCUMENT: IppPrinter.send_document,
    Operation.CANCEL_JOB: IppPrinter.cancel_job,
    Operation.GET_JOB_ATTRIBUTES: IppPrinter.get_job_attributes,
    Operation.GET_JOBS: IppPrinter.get_jobs,
    Operation.GET_PRINTER_ATTRIBUTES: IppPrinter.get_printer_attributes,
    Operation.CANCEL_MY_JOBS: IppPrinter.cancel_my_jobs,
    Operation.CLOSE_JOB: IppPrinter.close_job,
    Operation.IDENTIFY_PRINTER: IppPrinter.identify_printer,
}
