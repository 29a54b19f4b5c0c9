"""The IPP printer: documents are stored unchanged, jobs have the right states."""

from __future__ import annotations

import gzip
import hashlib
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from support.usb_client import UsbClient, request

from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.wire import ipp
from ippusbd.wire.ipp import JobState, Operation, PrinterState, Status, Tag

Maker = Callable[..., VirtualPrinter]
Connect = Callable[..., UsbClient]
DOCUMENT = b"%PDF-1.7\n" + bytes(range(256)) * 10_000


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def printer(make_printer: Maker, clock: Clock) -> VirtualPrinter:
    return make_printer(clock=clock, print_s=5.0)


def attr(name: str, *values: ipp.Value) -> ipp.Attribute:
    return ipp.attribute(name, *values)


def job_id(message: ipp.Message) -> int:
    number = message.first_integer(Tag.JOB, "job-id")
    assert number is not None
    return number


def job_state(client: UsbClient, number: int) -> int | None:
    message, _ = client.ipp(Operation.GET_JOB_ATTRIBUTES, attr("job-id", ipp.integer(number)))
    return message.first_integer(Tag.JOB, "job-state")


def print_job(client: UsbClient, document: bytes = DOCUMENT, **options: object) -> ipp.Message:
    return client.ipp(
        Operation.PRINT_JOB,
        attr("document-format", ipp.mime("application/pdf")),
        document=document,
        **options,
    )[0]


# --- the printer


def test_all_attributes_but_the_media_database_are_returned_by_default(client: UsbClient) -> None:
    message, _ = client.ipp(Operation.GET_PRINTER_ATTRIBUTES)
    group = message.group(Tag.PRINTER)

    assert message.code == Status.OK
    assert len(group.attributes) > 100
    assert group.get("media-col-database") is None
    assert message.first_integer(Tag.PRINTER, "printer-state") == PrinterState.IDLE


def test_only_requested_attributes_are_returned(client: UsbClient) -> None:
    wanted = attr(
        "requested-attributes",
        *map(ipp.keyword, ("printer-name", "media-col-database", "nonsense")),
    )
    message, _ = client.ipp(Operation.GET_PRINTER_ATTRIBUTES, wanted)

    assert {one.name for one in message.group(Tag.PRINTER).attributes} == {
        "printer-name",
        "media-col-database",
    }


def test_groups_of_attributes_can_be_requested(client: UsbClient) -> None:
    def names(group: str) -> set[str]:
        wanted = attr("requested-attributes", ipp.keyword(group))
        message, _ = client.ipp(Operation.GET_PRINTER_ATTRIBUTES, wanted)
        return {one.name for one in message.group(Tag.PRINTER).attributes}

    template, description = names("job-template"), names("printer-description")

    assert {"copies-default", "media-supported", "sides-supported"} <= template
    assert {"printer-uuid", "document-format-supported"} <= description
    assert not template & description


def test_uris_contain_the_host_that_the_client_used(client: UsbClient) -> None:
    message, _ = client.ipp(Operation.GET_PRINTER_ATTRIBUTES, host="localhost:61234")

    uri = message.first_text(Tag.PRINTER, "printer-uri-supported")
    assert uri == "ipp://localhost:61234/ipp/print"
    assert message.first_text(Tag.PRINTER, "printer-more-info") == "http://localhost:61234/"


def test_the_fax_queue_has_fax_attributes(client: UsbClient) -> None:
    message, _ = client.ipp(Operation.GET_PRINTER_ATTRIBUTES, path="/ipp/faxout")

    features = message.get(Tag.PRINTER, "ipp-features-supported")
    assert features is not None
    assert features.texts == ("faxout",)


def test_a_printer_without_fax_has_no_fax_queue(make_printer: Maker, connect: Connect) -> None:
    client = connect(make_printer(fax=False))
    headers = (("Content-Type", "application/ipp"),)

    assert client.ask("POST", "/ipp/faxout", request(0x0B), headers=headers).status == 404


def test_settable_reasons_stop_the_printer(client: UsbClient, printer: VirtualPrinter) -> None:
    printer.printer.state_reasons = ("cover-open-error",)
    message, _ = client.ipp(Operation.GET_PRINTER_ATTRIBUTES)

    assert message.first_integer(Tag.PRINTER, "printer-state") == PrinterState.STOPPED
    assert message.first_text(Tag.PRINTER, "printer-state-reasons") == "cover-open-error"


def test_a_repeated_request_gets_the_current_state(
    client: UsbClient, printer: VirtualPrinter, clock: Clock
) -> None:
    def answer() -> tuple[int | None, int | None]:
        message, _ = client.ipp(Operation.GET_PRINTER_ATTRIBUTES)
        state = message.first_integer(Tag.PRINTER, "printer-state")
        return state, message.first_integer(Tag.PRINTER, "queued-job-count")

    assert answer() == answer() == (PrinterState.IDLE, 0)
    print_job(client)
    assert answer() == (PrinterState.PROCESSING, 1)
    printer.printer.state_reasons = ("cover-open-error",)
    assert answer() == (PrinterState.STOPPED, 1)
    printer.printer.state_reasons = ()
    clock.now += 6

    assert answer() == (PrinterState.IDLE, 0)


def test_the_request_id_is_returned_and_zero_is_refused(client: UsbClient) -> None:
    good = request(Operation.GET_PRINTER_ATTRIBUTES)
    headers = (("Content-Type", "application/ipp"),)
    for number, status in ((1, 0), (77, 0), (0, Status.BAD_REQUEST), (78, 0)):
        data = good[:4] + number.to_bytes(4, "big") + good[8:]
        answer = client.ask("POST", "/ipp/print", data, headers=headers)
        message, _ = ipp.decode(answer.body)
        assert (message.request_id, message.code) == (number, status)


def test_identify_printer_is_recorded(client: UsbClient, printer: VirtualPrinter) -> None:
    client.ipp(Operation.IDENTIFY_PRINTER, attr("identify-actions", ipp.keyword("sound")))

    assert printer.printer.identified == ["sound"]


# --- jobs


def test_a_printed_document_is_stored_with_its_sha256(
    client: UsbClient, printer: VirtualPrinter
) -> None:
    message = print_job(client)

    assert message.code == Status.OK
    (document,) = printer.documents
    assert document.job_id == job_id(message)
    assert document.format == "application/pdf"
    assert document.size == len(DOCUMENT)
    assert document.sha256 == hashlib.sha256(DOCUMENT).hexdigest()
    assert document.completed


def test_documents_are_written_where_there_is_a_directory(
    make_printer: Maker, connect: Connect, tmp_path: Path
) -> None:
    printer = make_printer(store_dir=tmp_path)
    print_job(connect(printer))

    path = printer.documents[0].path
    assert path == tmp_path / "job-1-1.pdf"
    assert path is not None
    assert path.read_bytes() == DOCUMENT


def test_documents_of_an_earlier_run_are_not_overwritten(
    make_printer: Maker, connect: Connect, tmp_path: Path
) -> None:
    for content in (DOCUMENT, b"%PDF another"):
        print_job(connect(make_printer(store_dir=tmp_path)), content)

    assert (tmp_path / "job-1-1.pdf").read_bytes() == DOCUMENT
    assert (tmp_path / "job-1-1.2.pdf").read_bytes() == b"%PDF another"


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_compressed_documents_are_stored_decompressed(
    client: UsbClient, printer: VirtualPrinter, compression: str
) -> None:
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "none": DOCUMENT,
        "gzip": gzip.compress(DOCUMENT),
        "deflate": raw.compress(DOCUMENT) + raw.flush(),
    }
    message, _ = client.ipp(
        Operation.PRINT_JOB,
        attr("compression", ipp.keyword(compression)),
        document=packed[compression],
    )

    assert message.code == Status.OK
    assert printer.documents[0].sha256 == hashlib.sha256(DOCUMENT).hexdigest()


@pytest.mark.parametrize("data", [b"no gzip at all", gzip.compress(DOCUMENT)[:-9]])
def test_a_document_that_is_not_compressed_as_declared_is_aborted(
    client: UsbClient, printer: VirtualPrinter, data: bytes
) -> None:
    gzipped = attr("compression", ipp.keyword("gzip"))
    message, _ = client.ipp(Operation.PRINT_JOB, gzipped, document=data)

    assert message.code == Status.COMPRESSION_ERROR
    assert not printer.documents[0].completed
    assert job_state(client, 1) == JobState.ABORTED


def test_a_job_prints_for_a_while_and_is_then_completed(client: UsbClient, clock: Clock) -> None:
    number = job_id(print_job(client))
    assert job_state(client, number) == JobState.PROCESSING
    clock.now += 6

    assert job_state(client, number) == JobState.COMPLETED


def test_a_job_can_be_cancelled_while_it_prints_and_not_after(
    client: UsbClient, printer: VirtualPrinter, clock: Clock
) -> None:
    first, second = job_id(print_job(client)), job_id(print_job(client))
    message, _ = client.ipp(Operation.CANCEL_JOB, attr("job-id", ipp.integer(first)))
    assert message.code == Status.OK
    assert job_state(client, first) == JobState.CANCELED
    assert [one.completed for one in printer.documents] == [False, True]
    clock.now += 6
    message, _ = client.ipp(Operation.CANCEL_JOB, attr("job-id", ipp.integer(second)))

    assert message.code == Status.NOT_POSSIBLE
    assert printer.documents[1].completed


def test_create_job_and_send_document_print(client: UsbClient, printer: VirtualPrinter) -> None:
    created, _ = client.ipp(Operation.CREATE_JOB, attr("job-name", ipp.name("two steps")))
    number = job_id(created)
    assert job_state(client, number) == JobState.PENDING
    sent, _ = client.ipp(
        Operation.SEND_DOCUMENT,
        attr("job-id", ipp.integer(number)),
        attr("last-document", ipp.boolean(True)),
        document=DOCUMENT,
    )

    assert sent.code == Status.OK
    assert job_state(client, number) == JobState.PROCESSING
    assert printer.documents[0].sha256 == hashlib.sha256(DOCUMENT).hexdigest()


def test_send_document_needs_last_document_and_an_open_job(client: UsbClient) -> None:
    number = job_id(print_job(client))
    target = attr("job-id", ipp.integer(number))
    last = attr("last-document", ipp.boolean(True))

    assert client.ipp(Operation.SEND_DOCUMENT, target)[0].code == Status.BAD_REQUEST
    assert client.ipp(Operation.SEND_DOCUMENT, target, last)[0].code == Status.NOT_POSSIBLE
    missing = attr("job-id", ipp.integer(99))
    assert client.ipp(Operation.SEND_DOCUMENT, missing, last)[0].code == Status.NOT_FOUND


def test_a_job_without_a_document_is_aborted_after_the_time_out_it_declares(
    client: UsbClient, clock: Clock
) -> None:
    number = job_id(client.ipp(Operation.CREATE_JOB)[0])
    clock.now += 119
    assert job_state(client, number) == JobState.PENDING
    clock.now += 2
    assert job_state(client, number) == JobState.ABORTED


def test_jobs_are_listed_by_state_limit_and_owner(client: UsbClient, clock: Clock) -> None:
    numbers = [job_id(print_job(client)) for _ in range(2)]
    clock.now += 6
    numbers += [job_id(print_job(client)) for _ in range(2)]

    def listed(*attributes: ipp.Attribute) -> list[int | None]:
        message, _ = client.ipp(Operation.GET_JOBS, *attributes)
        groups = [one for one in message.groups if one.tag == Tag.JOB]
        found = [one.get("job-id") for one in groups]
        return [one.integers[0] for one in found if one is not None]

    def which(name: str) -> ipp.Attribute:
        return attr("which-jobs", ipp.keyword(name))

    assert listed() == numbers[2:]
    assert listed(which("completed")) == numbers[:2][::-1]
    assert listed(which("all"), attr("limit", ipp.integer(3))) == numbers[:3]
    assert listed(which("all"), attr("my-jobs", ipp.boolean(True))) == numbers
    assert client.ipp(Operation.GET_JOBS, which("nonsense"))[0].code == (
        Status.ATTRIBUTES_OR_VALUES_NOT_SUPPORTED
    )


def test_cancel_my_jobs_cancels_those_of_the_user(client: UsbClient) -> None:
    number = job_id(print_job(client))
    client.ipp(Operation.CANCEL_MY_JOBS)

    assert job_state(client, number) == JobState.CANCELED


def test_jobs_of_the_fax_queue_are_not_listed_by_the_print_queue(client: UsbClient) -> None:
    number = job_id(print_job(client, path="/ipp/faxout"))
    message, _ = client.ipp(Operation.GET_JOB_ATTRIBUTES, attr("job-id", ipp.integer(number)))

    assert message.code == Status.NOT_FOUND


def test_formats_and_values_that_are_not_supported_are_refused(client: UsbClient) -> None:
    odd = attr("document-format", ipp.mime("text/x-tex"))
    message, _ = client.ipp(Operation.VALIDATE_JOB, odd)
    assert message.code == Status.DOCUMENT_FORMAT_NOT_SUPPORTED
    assert message.get(Tag.UNSUPPORTED, "document-format") is not None
    message, _ = client.ipp(Operation.PRINT_JOB, odd, document=DOCUMENT)

    assert message.code == Status.DOCUMENT_FORMAT_NOT_SUPPORTED


def test_a_document_cut_by_a_reset_is_never_complete(
    client: UsbClient, printer: VirtualPrinter
) -> None:
    data = request(Operation.PRINT_JOB)
    client.send(
        b"POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
        b"Content-Length: %d\r\n\r\n" % (len(data) + 1000)
    )
    client.send(data + b"half of it")
    while not (printer.documents and printer.documents[0].size):
        time.sleep(0.001)
    client.dev.set_interface_altsetting(0, 1)

    assert job_state(client, 1) == JobState.ABORTED
    assert not any(one.completed for one in printer.documents)


def test_a_stopped_printer_reads_no_more_of_a_document_until_it_resumes(
    client: UsbClient, printer: VirtualPrinter, connect: Connect
) -> None:
    printer.switch("paper-out", on=True)
    data = request(Operation.PRINT_JOB)
    client.send(
        b"POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
        b"Content-Length: %d\r\n\r\n" % (len(data) + len(DOCUMENT))
    )
    client.timeout_ms = 100
    sent = client.send(data + DOCUMENT)
    other = UsbClient(client.dev, 1)

    assert sent < len(DOCUMENT)
    assert job_state(other, 1) == JobState.PROCESSING_STOPPED
    message, _ = other.ipp(Operation.GET_PRINTER_ATTRIBUTES)
    assert message.first_text(Tag.PRINTER, "printer-state-reasons") == "media-empty-error"
    printer.switch("paper-out", on=False)
    client.timeout_ms = 2000
    client.send((data + DOCUMENT)[sent:])
    assert b"200 OK" in client.receive()
    assert printer.documents[0].sha256 == hashlib.sha256(DOCUMENT).hexdigest()


# --- what is no IPP


def test_what_is_not_ipp_is_refused_by_http_status(
    client: UsbClient, printer: VirtualPrinter
) -> None:
    headers = (("Content-Type", "application/ipp"),)

    assert client.ask("POST", "/ipp/print", b"<html>", headers=headers).status == 400
    assert client.ask("POST", "/ipp/print", b"\x02\x00\x00", headers=headers).status == 400
    assert printer.stats["bad_ipp"] == 2
    assert client.ask("POST", "/ipp/print", request(0x0B)).status == 415
    assert client.ask("GET", "/ipp/print").status == 405
    assert client.ask("POST", "/ipp/other", request(0x0B), headers=headers).status == 404


def test_an_unknown_operation_is_not_supported(client: UsbClient) -> None:
    assert client.ipp(Operation.PRINT_URI)[0].code == Status.OPERATION_NOT_SUPPORTED
