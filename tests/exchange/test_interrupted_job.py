"""The job of a cut upload is cancelled with the job-uri or job-id of its own request."""

from __future__ import annotations

import pytest

from ippusbd.exchange.interrupted_job import InterruptedJob, cancellation
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Group, Message, Operation, Tag

JOB_URI = "ipp://localhost/ipp/print/9"
ANSWER = ipp.encode(
    Message(0, 41, (Group(Tag.JOB, (ipp.attribute("job-id", ipp.integer(9)),)),), (1, 1))
)


def interrupted(operation: int, *target: ipp.Attribute) -> InterruptedJob:
    attributes = (
        ipp.attribute("attributes-charset", ipp.charset()),
        ipp.attribute("attributes-natural-language", ipp.language("fr")),
        *target,
        ipp.attribute("requesting-user-name", ipp.name("anna")),
    )
    job = InterruptedJob("/ipp/print", ())
    request = Message(operation, 41, (Group(Tag.OPERATION, attributes),), (1, 1))
    job.sent(ipp.encode(request) + b"%PDF-1.7 and th")
    return job


@pytest.mark.parametrize("answer", [ANSWER, ANSWER[:-3], b""], ids=["present", "cut", "lost"])
def test_a_send_document_by_job_uri_is_cancelled_by_that_uri_whatever_its_answer(answer: bytes):
    job = interrupted(Operation.SEND_DOCUMENT, ipp.attribute("job-uri", ipp.uri(JOB_URI)))
    request, _ = ipp.decode(cancellation(job, answer) or b"")

    assert (request.code, request.version, request.request_id) == (8, (1, 1), 41)
    assert [each.name for each in request.group(Tag.OPERATION).attributes] == [
        "attributes-charset",
        "attributes-natural-language",
        "job-uri",
        "requesting-user-name",
    ]
    assert request.first_text(Tag.OPERATION, "job-uri") == JOB_URI
    assert request.first_text(Tag.OPERATION, "attributes-natural-language") == "fr"
    assert request.first_text(Tag.OPERATION, "requesting-user-name") == "anna"


def test_a_print_job_whose_answer_is_lost_cannot_be_cancelled_by_number():
    printer = ipp.attribute("printer-uri", ipp.uri("ipp://localhost/ipp/print"))
    job = interrupted(Operation.PRINT_JOB, printer)

    assert cancellation(job, b"") is None
    request, _ = ipp.decode(cancellation(job, ANSWER) or b"")
    assert request.first_integer(Tag.OPERATION, "job-id") == 9


def test_a_request_cut_before_its_document_created_no_job():
    job = InterruptedJob("/ipp/print", ())
    job.sent(ipp.encode(Message(Operation.PRINT_JOB, 1))[:-1])
    assert cancellation(job, ANSWER) is None
