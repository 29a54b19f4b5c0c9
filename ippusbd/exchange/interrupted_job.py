"""The job of an upload that was cut, found and cancelled.

The printer would take half a document for a whole one. Which job that became
stands in its answer; how the client spoke of the printer, in the request.

Knows IPP; neither channels nor clients.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from ippusbd.errors import BadIpp
from ippusbd.wire import ipp_requests

IPP_HEAD = 64 * 1024  # as much of an answer is kept to find the job-id in it


@dataclass(slots=True)
class InterruptedJob:
    """What is needed to cancel the job of a cut upload: the request's own IPP head."""

    target: str
    headers: tuple[tuple[str, str], ...]
    request_head: bytearray = field(default_factory=bytearray)
    sent_bytes: int = 0  # of the request, its attributes included

    def sent(self, data: bytes) -> None:
        """More of the request is on its way to the printer."""
        self.sent_bytes += len(data)
        if len(self.request_head) < IPP_HEAD:
            self.request_head += data[: IPP_HEAD - len(self.request_head)]

    @property
    def asked(self) -> ipp_requests.RequestHead | None:
        """What the request says before its document; None where that cannot be read."""
        try:
            return ipp_requests.head(bytes(self.request_head))
        except BadIpp:
            return None

    @property
    def name(self) -> str:
        """What the client called its job."""
        return self.asked.job_name if self.asked else ""

    @property
    def kilobytes(self) -> int:
        """Of the document that the printer got, as job-k-octets counts them."""
        return (self.sent_bytes - (self.asked.document_at if self.asked else 0) + 1023) // 1024


def cancellation(job: InterruptedJob, answer: bytes) -> bytes | None:
    """The Cancel-Job for the job that was being made; None: there is none."""
    asked = job.asked
    if asked is None:
        return None
    job_id = None
    with contextlib.suppress(BadIpp):  # the answer was cut too, or is none
        job_id = ipp_requests.job_id_of(answer)
    return ipp_requests.cancel_job(asked, job_id)


def question(job: InterruptedJob) -> bytes | None:
    """The Get-Jobs whose answer names the job among others; None: it cannot be told from them."""
    asked = job.asked
    if asked is None or asked.operation not in ipp_requests.CREATING:
        return None
    if not (asked.user and asked.job_name and asked.printer_uri):
        return None
    return ipp_requests.get_my_jobs(
        asked.printer_uri, ("job-id", "job-name", "job-k-octets"), user=asked.user
    )
