"""The few requests the daemon makes itself, and what it reads out of others' messages.

The proxy looks at the first kilobytes of a streamed Print-Job (`head`), and,
when a client left in the middle of one, cancels the job that the printer's
answer names (`job_id_of`, `cancel_job`): it would take the cut document for a
whole one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ippusbd.errors import BadIpp, IncompleteIpp
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Attribute, Group, Message, Operation, Tag

USER: Final = "ippusbd"

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
class Head:
    """What the attributes before a document say; None or empty: they do not."""

    operation: int
    request_id: int
    version: tuple[int, int]
    printer_uri: str = ""
    job_id: int | None = None
    user: str = ""
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
    first = (
        ipp.attribute("attributes-charset", ipp.charset()),
        ipp.attribute("attributes-natural-language", ipp.language()),
        ipp.attribute("printer-uri", ipp.uri(printer_uri)),
    )
    operation_group = Group(Tag.OPERATION, first + attributes)
    return Message(operation, request_id, (operation_group, *groups), version)


def get_printer_attributes(
    printer_uri: str, requested: Iterable[str] = (), request_id: int = 1
) -> bytes:
    """The request, asking for `requested` attributes only; for all when there are none."""
    keywords = tuple(ipp.keyword(name) for name in requested)
    wanted = (ipp.attribute("requested-attributes", *keywords),) if keywords else ()
    return ipp.encode(
        request(
            Operation.GET_PRINTER_ATTRIBUTES,
            printer_uri,
            ipp.attribute("requesting-user-name", ipp.name(USER)),
            *wanted,
            request_id=request_id,
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
    return ipp.encode(
        request(
            Operation.CANCEL_JOB,
            printer_uri,
            ipp.attribute("job-id", ipp.integer(job_id)),
            ipp.attribute("requesting-user-name", ipp.name(user)),
            request_id=request_id,
            version=version,
        )
    )


def operation_of(data: bytes) -> int | None:
    """The operation-id (or status-code) of a message, from its first four bytes."""
    if len(data) < 4 or data[0] > ipp.MAJOR_MAX:
        return None
    return int.from_bytes(data[2:4], "big")


def head(data: bytes) -> Head | None:
    """What the start of a streamed request says; None: more bytes are needed.

    Raises BadIpp for what cannot become a request.
    """
    try:
        message, document_at = ipp.decode(data, tolerant=True)
    except IncompleteIpp:
        return None
    return Head(
        operation=message.code,
        request_id=message.request_id,
        version=message.version,
        printer_uri=message.first_text(Tag.OPERATION, "printer-uri") or "",
        job_id=_job_id_asked(message),
        user=message.first_text(Tag.OPERATION, "requesting-user-name") or "",
        document_at=document_at,
    )


def job_id_of(data: bytes) -> int | None:
    """The job-id that an answer to Print-Job or Create-Job names; None if there is none."""
    try:
        message, _ = ipp.decode(data, tolerant=True)
    except BadIpp:
        return None
    job_id = message.first_integer(Tag.JOB, "job-id")
    return job_id if job_id is not None else _from_uri(message.first_text(Tag.JOB, "job-uri"))


def _job_id_asked(message: Message) -> int | None:
    """A request names its job by job-id or, instead of printer-uri, by job-uri."""
    job_id = message.first_integer(Tag.OPERATION, "job-id")
    if job_id is not None:
        return job_id
    return _from_uri(message.first_text(Tag.OPERATION, "job-uri"))


def _from_uri(job_uri: str | None) -> int | None:
    last = (job_uri or "").rpartition("/")[2]
    return int(last) if last.isascii() and last.isdecimal() and len(last) < 11 else None
