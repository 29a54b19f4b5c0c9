"""The job of an upload or a scan whose client left: how to identify and to end it.

The printer would print half a document. Its answer has the job-id; the request has
the printer-uri and user.

A late cancellation is dangerous: it must hit exactly that job or none. So the job is looked
up again first: same user, same name, same size, and created during the upload by the
printer's own clock, which was not restarted since. In any doubt nothing is cancelled.

Knows IPP and eSCL paths; neither channels nor clients.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from ippusbd.errors import BadIpp
from ippusbd.wire import ipp, ipp_requests
from ippusbd.wire.ipp import Tag

IPP_HEAD: Final = 64 * 1024  # as much of an answer is kept to find the job-id in it
SLACK_S: Final = 2  # a printer counts whole seconds

_OVER: Final = frozenset((ipp.Status.NOT_POSSIBLE, ipp.Status.NOT_FOUND, ipp.Status.GONE))
_JOB: Final = (
    "job-id",
    "job-name",
    "job-originating-user-name",
    "job-k-octets",
    "time-at-creation",
    "job-printer-up-time",
)
_SCAN_JOB: Final = re.compile(r"(/.*/ScanJobs/[^/?]+)(?:/.*)?", re.IGNORECASE)


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
        """The request before its document; None where it creates no job."""
        try:
            asked = ipp_requests.head(bytes(self.request_head))
        except BadIpp:
            return None
        return asked if asked and asked.operation in ipp_requests.CREATING else None

    @property
    def kilobytes(self) -> int:
        """Of the document that the printer got, as job-k-octets counts them."""
        return (self.sent_bytes - (self.asked.document_at if self.asked else 0) + 1023) // 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """When a cut upload was: seconds before now."""

    began_s: float
    cut_s: float


def cancellation(job: InterruptedJob, answer: bytes) -> bytes | None:
    """The Cancel-Job for the job that was being created; None: it has no job-id."""
    asked = job.asked
    return None if asked is None else ipp_requests.cancel_job(asked, job_id_of(job, answer))


def job_id_of(job: InterruptedJob, answer: bytes) -> int | None:
    """The job-id: the answer's, else the request's own."""
    with contextlib.suppress(BadIpp):  # the answer was cut too, or is none
        number = ipp_requests.job_id_of(answer)
        if number is not None:
            return number
    return job.asked.job_id if job.asked else None


def is_cancelled(status: int, answer: bytes) -> bool:
    """Whether the printer reports that the job is over; anything else is a refusal."""
    if status >= 400:
        return False
    try:
        code = ipp.decode(answer, tolerant=True)[0].code
    except BadIpp:
        return False
    return code < 0x100 or code in _OVER


def is_refusal(answer: bytes) -> bool:
    """Whether an IPP response, or its start, reports an error (RFC 8011, 4.1.6)."""
    return len(answer) >= 4 and answer[0] in (1, 2) and int.from_bytes(answer[2:4], "big") >= 0x400


def search(job: InterruptedJob, number: int | None) -> bytes | None:
    """The Get-Jobs whose answer shows the job; None: it cannot be identified."""
    asked = job.asked
    if asked is None or not (asked.user and asked.printer_uri):
        return None
    if number is None and not asked.job_name:
        return None
    return ipp_requests.get_my_jobs(asked.printer_uri, _JOB, user=asked.user)


def found(answer: ipp.Message, job: InterruptedJob, number: int | None, when: Upload) -> int | None:
    """The job-id of the one job in the answer to `search` that is the cut one; None: in doubt."""
    matching = [n for n, one in _jobs(answer) if _is_it(one, n, job, number, when)]
    return matching[0] if len(matching) == 1 else None


def _is_it(one: ipp.Message, n: int, job: InterruptedJob, number: int | None, when: Upload) -> bool:
    asked = job.asked
    if asked is None or number not in (None, n):
        return False
    name = one.first_text(Tag.JOB, "job-name")
    user = one.first_text(Tag.JOB, "job-originating-user-name")
    size = one.first_integer(Tag.JOB, "job-k-octets")
    named = asked.operation == ipp.Operation.PRINT_JOB and asked.job_name
    if user not in (None, asked.user) or (named and name != asked.job_name):
        return False
    if size != job.kilobytes and (number is None or size is not None):
        return False
    up = one.first_integer(Tag.JOB, "job-printer-up-time")
    created = one.first_integer(Tag.JOB, "time-at-creation")
    if up is None or created is None or up <= when.cut_s:  # it was switched on since
        return False
    made_s = up - created
    return when.cut_s - SLACK_S <= made_s <= when.began_s + SLACK_S


def _jobs(answer: ipp.Message) -> Iterator[tuple[int, ipp.Message]]:
    for group in answer.groups:
        one = ipp.Message(0, 0, (group,))
        number = one.first_integer(Tag.JOB, "job-id")
        if number is not None:
            yield number, one


def created_scan_job(method: str, target: str, location: str) -> str:
    """The path of the scan job that a request created; empty: none."""
    creates = method == "POST" and target.rstrip("/").lower().endswith("/scanjobs")
    return _scan_job(urlsplit(location).path) if creates else ""


def used_scan_job(method: str, target: str) -> str:
    """The path of the scan job whose page a request fetches; empty: none."""
    path = target.partition("?")[0].rstrip("/")
    fetches = method == "GET" and path.lower().endswith("/nextdocument")
    return _scan_job(path) if fetches else ""


def _scan_job(path: str) -> str:
    match = _SCAN_JOB.fullmatch(path)
    return match[1] if match else ""
