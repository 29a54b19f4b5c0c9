"""The few requests the daemon makes itself, and what it reads out of others' messages.

The proxy looks at the first kilobytes of a streamed Print-Job (`head`), and,
when a client left in the middle of one, cancels the job that the printer's
answer names (`job_id_of`, `cancel_cut_job`): it would take the cut document for a
whole one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ippusbd.errors import IncompleteIpp
from ippusbd.wire import ipp_codec
from ippusbd.wire import ipp_values as ipp
from ippusbd.wire.ipp_codec import Group, Message
from ippusbd.wire.ipp_codes import Operation
from ippusbd.wire.ipp_values import Attribute, Tag

USER: Final = "ippusbd"
REQUEST_ID_MAX: Final = (1 << 31) - 1

# Operations whose document would print although only half of it came.
CREATING: Final = frozenset({Operation.PRINT_JOB, Operation.SEND_DOCUMENT})
# Operations that may be sent a second time when no byte of an answer came.
IDEMPOTENT: Final = frozenset(
    {
        Operation.VALIDATE_JOB,
        Operation.GET_JOB_ATTRIBUTES,
        Operation.GET_JOBS,
        Operation.GET_PRINTER_ATTRIBUTES,
        Operation.GET_PRINTER_SUPPORTED_VALUES,
        Operation.GET_SUBSCRIPTION_ATTRIBUTES,
        Operation.GET_SUBSCRIPTIONS,
        Operation.GET_NOTIFICATIONS,
        Operation.GET_DOCUMENT_ATTRIBUTES,
        Operation.GET_DOCUMENTS,
    }
)


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What the attributes before a document say; None or empty: they do not."""

    operation: int
    request_id: int
    version: tuple[int, int]
    printer_uri: str = ""
    job_uri: str = ""
    job_id: int | None = None
    user: str = ""
    job_name: str = ""  # or the document's, which becomes the job's
    document_at: int = 0  # offset where the document begins


def request(
    operation: int,
    printer_uri: str,
    *attributes: Attribute,
    request_id: int = 1,
    version: tuple[int, int] = (2, 0),
    groups: tuple[Group, ...] = (),
) -> Message:
    """A request with the operation attributes that every request must begin with."""
    target = ipp.attribute("printer-uri", ipp.uri(printer_uri))
    return _request(operation, (target, *attributes), request_id, version, groups)


def _request(
    operation: int,
    attributes: tuple[Attribute, ...],
    request_id: int,
    version: tuple[int, int],
    groups: tuple[Group, ...] = (),
) -> Message:
    first = (
        ipp.attribute("attributes-charset", ipp.charset()),
        ipp.attribute("attributes-natural-language", ipp.language()),
    )
    return Message(
        operation, request_id, (Group(Tag.OPERATION, first + attributes), *groups), version
    )


def get_printer_attributes(
    printer_uri: str, requested: Iterable[str] = (), request_id: int = 1
) -> bytes:
    """The request, asking for `requested` attributes only; for all when there are none."""
    keywords = tuple(ipp.keyword(name) for name in requested)
    wanted = (ipp.attribute("requested-attributes", *keywords),) if keywords else ()
    return ipp_codec.encode(
        request(
            Operation.GET_PRINTER_ATTRIBUTES,
            printer_uri,
            ipp.attribute("requesting-user-name", ipp.name(USER)),
            *wanted,
            request_id=request_id,
        )
    )


def get_my_jobs(printer_uri: str, requested: Iterable[str], *, user: str) -> bytes:
    """The request for the jobs of `user` that are not over yet."""
    return ipp_codec.encode(
        request(
            Operation.GET_JOBS,
            printer_uri,
            ipp.attribute("requesting-user-name", ipp.name(user)),
            ipp.attribute("requested-attributes", *(ipp.keyword(name) for name in requested)),
            ipp.attribute("which-jobs", ipp.keyword("not-completed")),
            ipp.attribute("my-jobs", ipp.boolean(True)),
        )
    )


def cancel_job(
    printer_uri: str,
    job_id: int,
    *,
    user: str = USER,
    request_id: int = 1,
    version: tuple[int, int] = (2, 0),
) -> bytes:
    """The request; `user` should be the one who made the job, printers may insist."""
    target = (
        ipp.attribute("printer-uri", ipp.uri(printer_uri)),
        ipp.attribute("job-id", ipp.integer(job_id)),
    )
    return _cancel(target, user, request_id, version)


def _cancel(
    target: tuple[Attribute, ...], user: str, request_id: int, version: tuple[int, int]
) -> bytes:
    who = ipp.attribute("requesting-user-name", ipp.name(user))
    return ipp_codec.encode(_request(Operation.CANCEL_JOB, (*target, who), request_id, version))


def cancel_cut_job(request_head: bytes, answer: bytes) -> bytes | None:
    """Cancel-Job for the job that a cut upload left at the printer; None: it left none.

    `request_head` is the request from its start, at least up to its document; `answer` is what
    the printer said to it. Raises BadIpp when either cannot be read.
    """
    asked = head(request_head)
    if asked is None:
        raise IncompleteIpp("the request ends before its document begins")
    if asked.operation not in CREATING:
        return None
    target = _cut_job(asked, answer)
    if not target:
        return None
    request_id = asked.request_id % REQUEST_ID_MAX + 1
    return _cancel(target, asked.user or USER, request_id, asked.version)


def _cut_job(asked: RequestHead, answer: bytes) -> tuple[Attribute, ...]:
    """How to name the job: as the request named its target; empty if there is no job."""
    made = job_id_of(answer)
    job_id = asked.job_id if made is None else made
    if job_id is not None and asked.printer_uri:
        return (
            ipp.attribute("printer-uri", ipp.uri(asked.printer_uri)),
            ipp.attribute("job-id", ipp.integer(job_id)),
        )
    return (ipp.attribute("job-uri", ipp.uri(asked.job_uri)),) if asked.job_uri else ()


def operation_of(data: bytes) -> int | None:
    """The operation-id (or status-code) of a message, from its first four bytes."""
    if len(data) < 4 or data[0] > ipp_codec.MAJOR_MAX:
        return None
    return int.from_bytes(data[2:4], "big")


def head(data: bytes) -> RequestHead | None:
    """What the start of a streamed request says; None: more bytes are needed.

    Raises BadIpp for what cannot become a request.
    """
    try:
        message, document_at = ipp_codec.decode(data, tolerant=True)
    except IncompleteIpp:
        return None
    return RequestHead(
        operation=message.code,
        request_id=message.request_id,
        version=message.version,
        printer_uri=message.first_text(Tag.OPERATION, "printer-uri") or "",
        job_uri=message.first_text(Tag.OPERATION, "job-uri") or "",
        job_id=message.first_integer(Tag.OPERATION, "job-id"),
        user=message.first_text(Tag.OPERATION, "requesting-user-name") or "",
        job_name=message.first_text(Tag.OPERATION, "job-name")
        or message.first_text(Tag.OPERATION, "document-name")
        or "",
        document_at=document_at,
    )


def job_id_of(data: bytes) -> int | None:
    """The job-id that an answer to Print-Job or Create-Job names; None if it names none."""
    message, _ = ipp_codec.decode(data, tolerant=True)
    job_id = message.first_integer(Tag.JOB, "job-id")
    return job_id if job_id is not None else _from_uri(message.first_text(Tag.JOB, "job-uri"))


def _from_uri(job_uri: str | None) -> int | None:
    """The number that job URIs of printers end with, should job-id be missing."""
    last = (job_uri or "").rpartition("/")[2]
    return int(last) if last.isascii() and last.isdecimal() and len(last) < 11 else None
