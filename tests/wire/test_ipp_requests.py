"""What the daemon asks itself, and what it understands of others' requests."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ippusbd.errors import BadIpp, IncompleteIpp
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


def test_a_job_is_cancelled_by_number():
    request, _ = ipp.decode(ipp.cancel_job(URI, 12, user="anna", request_id=3, version=(1, 1)))

    assert (request.code, request.request_id, request.version) == (8, 3, (1, 1))
    assert request.first_text(Tag.OPERATION, "printer-uri") == URI
    assert request.first_integer(Tag.OPERATION, "job-id") == 12
    assert request.first_text(Tag.OPERATION, "requesting-user-name") == "anna"


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


# --- a client left in the middle of its document


def test_the_job_of_a_cut_document_is_cancelled_in_its_owners_name():
    request, _ = ipp.decode(ipp.cancel_cut_job(print_job() + b"%PDF-1.7 and then", JOB_12) or b"")

    assert request.code == Operation.CANCEL_JOB
    assert request.request_id == 42
    assert request.first_text(Tag.OPERATION, "printer-uri") == URI
    assert request.first_integer(Tag.OPERATION, "job-id") == 12
    assert request.first_text(Tag.OPERATION, "requesting-user-name") == "anna"


def test_a_cut_send_document_names_its_job_itself():
    cut = print_job(Operation.SEND_DOCUMENT, ipp.attribute("job-id", ipp.integer(7)))
    request, _ = ipp.decode(ipp.cancel_cut_job(cut, made()) or b"")
    assert request.first_integer(Tag.OPERATION, "job-id") == 7


def test_a_job_named_only_by_its_uri_is_cancelled_by_it():
    uri = "ipp://localhost/jobs/7"
    target = Group(Tag.OPERATION, (ipp.attribute("job-uri", ipp.uri(uri)),))
    cut = ipp.encode(Message(Operation.SEND_DOCUMENT, (1 << 31) - 1, (target,)))

    request, _ = ipp.decode(ipp.cancel_cut_job(cut, made()) or b"")

    assert request.request_id == 1
    assert request.first_text(Tag.OPERATION, "job-uri") == uri
    assert request.get(Tag.OPERATION, "printer-uri") is None
    assert request.first_text(Tag.OPERATION, "requesting-user-name") == "ippusbd"


@pytest.mark.parametrize(
    ("request_head", "answer"),
    [
        (print_job(), made(code=ipp.Status.BUSY)),
        (print_job(Operation.VALIDATE_JOB), JOB_12),
        (ipp.encode(Message(Operation.PRINT_JOB, 1)), JOB_12),
    ],
)
def test_where_no_job_was_made_none_is_cancelled(request_head, answer):
    assert ipp.cancel_cut_job(request_head, answer) is None


def test_a_request_cut_before_its_document_made_no_job():
    with pytest.raises(IncompleteIpp):
        ipp.cancel_cut_job(print_job()[:-1], JOB_12)


def test_only_operations_without_effect_are_idempotent():
    assert not ipp.IDEMPOTENT & ipp.CREATING
    assert Operation.CREATE_JOB not in ipp.IDEMPOTENT
    assert Operation.GET_JOBS in ipp.IDEMPOTENT


@given(st.binary(max_size=200), st.binary(max_size=200))
@settings(deadline=None)
def test_no_bytes_break_the_looking(request_head, answer):
    with contextlib.suppress(BadIpp):
        ipp.cancel_cut_job(print_job()[: len(request_head)] + request_head, answer)
    assert ipp.operation_of(request_head) is None or len(request_head) >= 4
