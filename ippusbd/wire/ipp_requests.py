"""The requests that the daemon makes itself, and what it reads in others' messages.

The proxy reads the head of a streamed Print-Job or Send-Document (`head`). When
its client disconnects in the middle of the document, the printer would print
what it got; so the job is cancelled (`job_id_of`, `cancel_job`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from ippusbd.errors import IncompleteIpp
from ippusbd.wire import ipp_codec
from ippusbd.wire import ipp_values as ipp
from ippusbd.wire.ipp_codec import Group, Message
from ippusbd.wire.ipp_codes import Operation
from ippusbd.wire.ipp_values import Attribute, Tag

USER: Final = "ippusbd"
JOB_ID_MAX: Final = (1 << 31) - 1

# Operations whose document would be printed although only half of it arrived.
CREATING: Final = frozenset({Operation.PRINT_JOB, Operation.SEND_DOCUMENT})
# Operations that may be sent a second time when no byte of an answer arrived.
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
    """The attributes before a document; None or empty: not there."""

    operation: int
    request_id: int
    version: tuple[int, int]
    printer_uri: str = ""
    job_uri: str = ""
    job_id: int | None = None
    user: str = ""
    job_name: str = ""  # or the document's, which becomes the job's
    document_at: int = 0  # offset where the document begins
    attributes: tuple[Attribute, ...] = field(default=(), compare=False, repr=False)  # operation's

    def kept(self, *names: str) -> tuple[Attribute, ...]:
        """These operation attributes, in this order, byte for byte as the client sent them."""
        group = Group(Tag.OPERATION, self.attributes)
        return tuple(found for name in names if (found := group.get(name)) is not None)


def request(
    operation: int,
    printer_uri: str,
    *attributes: Attribute,
    request_id: int = 1,
    version: tuple[int, int] = (2, 0),
    groups: tuple[Group, ...] = (),
) -> Message:
    """A request with the operation attributes that every request must begin with."""
    first = (
        ipp.attribute("attributes-charset", ipp.charset()),
        ipp.attribute("attributes-natural-language", ipp.language()),
        ipp.attribute("printer-uri", ipp.uri(printer_uri)),
    )
    return Message(
        operation, request_id, (Group(Tag.OPERATION, first + attributes), *groups), version
    )


def get_printer_attributes(
    printer_uri: str, requested: Iterable[str] = (), request_id: int = 1
) -> bytes:
    """The request for the `requested` attributes; for all if there are none."""
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


def identifying(head: RequestHead) -> bytes:
    """The request of `head` with nothing but what identifies its job: no password."""
    attributes = head.kept(
        *("attributes-charset", "attributes-natural-language", "printer-uri", "job-uri", "job-id"),
        *("requesting-user-name", "job-name", "document-name"),
    )
    group = Group(Tag.OPERATION, attributes)
    return ipp_codec.encode(Message(head.operation, head.request_id, (group,), head.version))


def cancel_job(head: RequestHead, job_id: int | None = None) -> bytes | None:
    """Cancel-Job for the job that `head` began, as its own client would send it.

    The job is named as the request named it: a Send-Document carries its own job-uri or job-id,
    which no answer overrules. A Print-Job's number is `job_id`, from its answer. None: the
    request makes no job, or its number is unknown.
    """
    if head.operation not in CREATING:
        return None
    # Never 0 (RFC 8011, 5.3.2): some printers take it for their current job.
    number = (job_id if head.operation == Operation.PRINT_JOB else head.job_id) or 0
    printer, job_uri = head.kept("printer-uri"), head.kept("job-uri")
    if printer and 0 < number <= JOB_ID_MAX:
        target = (*printer, ipp.attribute("job-id", ipp.integer(number)))
    elif job_uri and head.operation == Operation.SEND_DOCUMENT:
        target = job_uri
    else:
        return None
    first = head.kept("attributes-charset", "attributes-natural-language")
    group = Group(Tag.OPERATION, (*first, *target, *head.kept("requesting-user-name")))
    return ipp_codec.encode(Message(Operation.CANCEL_JOB, head.request_id, (group,), head.version))


def operation_of(data: bytes) -> int | None:
    """The operation-id (or status-code) of a message, from its first four bytes."""
    if len(data) < 4 or data[0] > ipp_codec.MAJOR_MAX:
        return None
    return int.from_bytes(data[2:4], "big")


def head(data: bytes) -> RequestHead | None:
    """The head at the start of a streamed request; None: more bytes are needed.

    Raises BadIpp for bytes that cannot become a request.
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
        attributes=message.group(Tag.OPERATION).attributes,
    )


def job_id_of(data: bytes) -> int | None:
    """The job-id that an answer to Print-Job or Create-Job names; None if it names none."""
    message, _ = ipp_codec.decode(data, tolerant=True)
    job_id = message.first_integer(Tag.JOB, "job-id")
    return job_id if job_id is not None else _from_uri(message.first_text(Tag.JOB, "job-uri"))


def _from_uri(job_uri: str | None) -> int | None:
    """The number that job URIs of printers end with, where job-id is missing."""
    last = (job_uri or "").rpartition("/")[2]
    return int(last) if last.isascii() and last.isdecimal() and len(last) < 11 else None
