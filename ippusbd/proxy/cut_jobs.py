"""The job of an upload that was cut, found and cancelled.

The printer would take half a document for a whole one. Which job that became
stands in its answer; how the client spoke of the printer, in the request.

Knows IPP; neither channels nor clients.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, field

from ippusbd.errors import BadIpp
from ippusbd.wire import ipp_requests

log = logging.getLogger("ippusbd.http")

IPP_HEAD = 64 * 1024  # as much of an answer is kept to find the job-id in it


@dataclass(slots=True)
class CutJob:
    """What is needed to cancel the job of a cut upload: the request's own IPP head."""

    target: str
    headers: tuple[tuple[str, str], ...]
    request_head: bytearray = field(default_factory=bytearray)


def cancellation(job: CutJob, answer: bytes) -> bytes | None:
    """The Cancel-Job for the job that was being made; None: there is none."""
    try:
        asked = ipp_requests.head(bytes(job.request_head))
    except BadIpp:
        return None
    if asked is None or asked.operation not in ipp_requests.CREATING:
        return None
    job_id = asked.job_id
    with contextlib.suppress(BadIpp):  # the answer was cut too, or is none
        job_id = ipp_requests.job_id_of(answer) or job_id
    if job_id is None:
        log.info("a cut upload left no job to cancel")
        return None
    return ipp_requests.cancel_job(asked.printer_uri, job_id, user=asked.user)
