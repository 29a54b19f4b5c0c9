"""Jobs as IPP attributes, and the selection of Get-Jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ippusbd.virtual.services.ipp_attributes import Table, keywords
from ippusbd.virtual.services.ipp_request import IppRequest
from ippusbd.virtual.services.jobs import OVER, Job, JobStore
from ippusbd.wire import ipp
from ippusbd.wire.ipp import JobState

WHICH: Final[dict[str, Callable[[JobState], bool]]] = {
    "all": lambda state: True,
    "completed": lambda state: state in OVER,
    "not-completed": lambda state: state not in OVER,
    "aborted": lambda state: state is JobState.ABORTED,
    "canceled": lambda state: state is JobState.CANCELED,
    "pending": lambda state: state is JobState.PENDING,
    "processing": lambda state: state in (JobState.PROCESSING, JobState.PROCESSING_STOPPED),
}
REASONS: Final = {
    JobState.PENDING: "job-incoming",
    JobState.PROCESSING: "job-printing",
    JobState.PROCESSING_STOPPED: "printer-stopped",
    JobState.COMPLETED: "job-completed-successfully",
}


def selected(jobs: JobStore, which: str, *, queue: str, user: str | None) -> list[Job]:
    """Unfinished jobs oldest first, finished ones newest first (RFC 8011, 4.2.6.2)."""
    wanted = WHICH[which]
    found = [
        job
        for job in jobs.jobs()
        if wanted(jobs.state(job)) and job.queue == queue and user in (None, job.user)
    ]
    return found[::-1] if which == "completed" else found


def job_attributes(
    jobs: JobStore,
    job: Job,
    state: JobState,
    request: IppRequest,
    up_s: Callable[[float], int],
) -> Table:
    """All attributes of a job; `up_s` turns the store's clock into printer-up-time."""
    over_at = jobs.over_at(job)
    started = bool(job.documents)
    reason = job.reason or REASONS.get(state, "none")
    return {
        "job-id": (ipp.integer(job.id),),
        "job-uri": (ipp.uri(request.uri(f"{job.queue}/{job.id}")),),
        "job-printer-uri": (ipp.uri(request.uri(job.queue)),),
        "job-name": (ipp.name(job.name),),
        "job-originating-user-name": (ipp.name(job.user or "anonymous"),),
        "job-state": (ipp.enum(state),),
        "job-state-reasons": keywords((reason,)),
        "job-printer-up-time": (ipp.integer(up_s(jobs.now())),),
        "time-at-creation": (ipp.integer(up_s(job.created_at)),),
        "time-at-processing": (ipp.integer(up_s(job.created_at)) if started else ipp.no_value(),),
        "time-at-completed": (
            ipp.integer(up_s(over_at)) if over_at is not None else ipp.no_value(),
        ),
        "job-k-octets": (ipp.integer((job.size + 1023) // 1024),),
        "job-impressions-completed": (ipp.integer(int(state is JobState.COMPLETED)),),
        "job-media-sheets-completed": (ipp.integer(int(state is JobState.COMPLETED)),),
        "number-of-documents": (ipp.integer(len(job.documents)),),
        "document-format": tuple(ipp.mime(one.format) for one in job.documents[:1])
        or (ipp.no_value(),),
    }
