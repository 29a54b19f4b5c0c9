"""What the daemon asks itself, and what it understands of others' requests."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.errors import BadIpp
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Group, Message, Operation, Tag

URI = "ipp://localhost:60000/ipp/print"


def print_job(operation: int = Operation.PRINT_JOB, *more: ipp.Attribute) -> bytes:
    who = ipp.attribute("requesting-user-name", ipp.name("anna"))
    job = Group(Tag.JOB, (ipp.attribute("copies", ipp.integer(2)),))
    return ipp.encode(ipp.request(operation, URI, who, *more, request_id=41, groups=(job,)))


def made(*attributes: ipp.Attribute, code: int = 0) -> bytes:
    return ipp.encode(Message(code, 41, (Group(Tag.JOB, attributes),)))


JOB_12 = made(ipp.attribute("job-id", ipp.integer(12)))


# --- asking


def test_a_request_begins_with_charset_language_and_target():
    # RFC 8011, 4.1.4: these first, in this order, or the printer may refuse
    request, _ = ipp.decode(ipp.get_printer_attributes(URI, ("printer-uuid", "media"), 9))

    assert request.code == Operation.GET_PRINTER_ATTRIBUTES
    assert request.request_id == 9
    assert [a.name for a in request.groups[0].attributes] == [
        "attributes-charset",
        "attributes-natural-language",
        "printer-uri",
        "requesting-user-name",
        "requested-attributes",
    ]
    assert request.groups[0].attributes[4].texts == ("printer-uuid", "media")


def test_asking_for_nothing_in_particular_asks_for_all():
    request, _ = ipp.decode(ipp.get_printer_attributes(URI))
    assert request.get(Tag.OPERATION, "requested-attributes") is None


# --- looking at what passes


def test_four_bytes_tell_the_operation():
    assert ipp.operation_of(b"\x02\x00\x00\x0b") == Operation.GET_PRINTER_ATTRIBUTES
    assert ipp.operation_of(b"\x02\x00\x00") is None
    assert ipp.operation_of(b"<html>") is None


def test_the_head_is_known_as_soon_as_the_attributes_are_there():
    data = print_job(Operation.SEND_DOCUMENT, ipp.attribute("job-id", ipp.integer(7)))

    assert all(ipp.head(data[:end]) is None for end in range(len(data)))
    assert ipp.head(data + b"%PDF-1.7") == ipp.RequestHead(
        operation=Operation.SEND_DOCUMENT,
        request_id=41,
        version=(2, 0),
        printer_uri=URI,
        job_id=7,
        user="anna",
        document_at=len(data),
    )


def test_what_can_never_become_a_request_is_refused_at_once():
    with pytest.raises(BadIpp):
        ipp.head(b"GET / HTTP/1.1")


@pytest.mark.parametrize(
    ("answer", "job_id"),
    [
        (JOB_12, 12),
        (made(ipp.attribute("job-uri", ipp.uri("ipp://localhost/jobs/34"))), 34),
        (made(ipp.attribute("job-uri", ipp.uri("ipp://localhost/jobs/next"))), None),
        (made(ipp.attribute("job-uri", ipp.uri("ipp://localhost/jobs/\u0663"))), None),
        (made(ipp.attribute("job-uri", ipp.uri("ipp://localhost/" + "9" * 5000))), None),
        (made(code=ipp.Status.BUSY), None),
    ],
)
def test_an_answer_names_the_job_it_made(answer, job_id):
    assert ipp.job_id_of(answer) == job_id


# --- a client disconnected in the middle of its document


def cancellation(request: bytes, job_id: int | None = None) -> Message:
    """What `cancel_job` makes of a request."""
    head = ipp.head(request)
    assert head is not None
    cancel, document_at = ipp.decode(ipp.cancel_job(head, job_id) or b"")
    assert cancel.code == Operation.CANCEL_JOB
    assert document_at > 0
    return cancel


def names_and_values(message: Message) -> list[tuple[str, tuple[ipp.Plain, ...]]]:
    return [(each.name, each.plain) for each in message.group(Tag.OPERATION).attributes]


def test_the_job_of_a_print_job_is_cancelled_by_the_number_in_its_answer():
    assert names_and_values(cancellation(print_job() + b"%PDF-1.7 and then", 12)) == [
        ("attributes-charset", ("utf-8",)),
        ("attributes-natural-language", ("en",)),
        ("printer-uri", (URI,)),
        ("job-id", (12,)),
        ("requesting-user-name", ("anna",)),
    ]


def test_a_cancellation_keeps_version_number_and_language_of_the_clients_request():
    operation = (
        ipp.attribute("attributes-charset", ipp.charset("iso-8859-1")),
        ipp.attribute("attributes-natural-language", ipp.language("de-at")),
        ipp.attribute("printer-uri", ipp.uri(URI)),
        ipp.attribute("requesting-user-name", ipp.Value(Tag.NAME, b"J\xf6rg")),
    )
    group = Group(Tag.OPERATION, operation)
    cancel = cancellation(ipp.encode(Message(Operation.PRINT_JOB, 77, (group,), (1, 1))), 3)

    assert (cancel.version, cancel.request_id) == ((1, 1), 77)
    kept = cancel.group(Tag.OPERATION).attributes
    assert kept[:3] == operation[:3]
    assert kept[-1] == operation[-1]  # byte for byte: the printer compares it with the job's owner


def test_a_client_without_a_name_gets_none_in_its_cancellation():
    target = (ipp.attribute("printer-uri", ipp.uri(URI)),)
    anonymous = ipp.encode(Message(Operation.PRINT_JOB, 1, (Group(Tag.OPERATION, target),)))
    assert cancellation(anonymous, 3).get(Tag.OPERATION, "requesting-user-name") is None


@pytest.mark.parametrize("answered", [None, 7, 8], ids=["lost", "the same", "another"])
def test_the_job_of_a_send_document_is_the_one_that_the_request_names(answered):
    request = print_job(Operation.SEND_DOCUMENT, ipp.attribute("job-id", ipp.integer(7)))
    assert cancellation(request, answered).first_integer(Tag.OPERATION, "job-id") == 7


@pytest.mark.parametrize("answered", [None, 7], ids=["lost", "present"])
def test_a_job_named_by_its_uri_is_cancelled_by_its_uri(answered):
    uri = "ipp://localhost/jobs/7"
    target = Group(Tag.OPERATION, (ipp.attribute("job-uri", ipp.uri(uri)),))
    cancel = cancellation(ipp.encode(Message(Operation.SEND_DOCUMENT, 5, (target,))), answered)

    assert names_and_values(cancel) == [("job-uri", (uri,))]


@pytest.mark.parametrize(
    ("request_head", "job_id"),
    [
        (print_job(), None),
        (print_job(), 0),
        (print_job(), -1),
        (print_job(), 1 << 31),
        (print_job(Operation.PRINT_JOB, ipp.attribute("job-id", ipp.integer(7))), None),
        (print_job(Operation.SEND_DOCUMENT), 12),
        (print_job(Operation.VALIDATE_JOB), 12),
        (ipp.encode(Message(Operation.PRINT_JOB, 1)), 12),
    ],
    ids=[
        "no number",
        "the current job",
        "negative",
        "too large",
        "a number of no meaning",
        "Send-Document to no job",
        "no document",
        "no printer",
    ],
)
def test_nothing_is_cancelled_while_the_job_is_not_known(request_head, job_id):
    head = ipp.head(request_head)
    assert head is not None
    assert ipp.cancel_job(head, job_id) is None


def test_only_operations_without_effect_are_idempotent():
    assert not ipp.IDEMPOTENT & ipp.CREATING
    assert Operation.CREATE_JOB not in ipp.IDEMPOTENT
    assert Operation.GET_JOBS in ipp.IDEMPOTENT


@given(st.binary(max_size=200), st.one_of(st.none(), st.integers()))
def test_no_bytes_break_the_looking(data, job_id):
    with contextlib.suppress(BadIpp):
        head = ipp.head(print_job(Operation.SEND_DOCUMENT)[: len(data)] + data)
        if head is not None:
            ipp.cancel_job(head, job_id)
    assert ipp.operation_of(data) is None or len(data) >= 4
