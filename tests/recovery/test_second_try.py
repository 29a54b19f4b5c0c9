"""Harmless questions are repeated when an interface fails; nothing else is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.daemon import run_daemon
from support.http_client import ask, ask_ipp

from ippusbd.exchange.request import Request
from ippusbd.usbio.pool_types import Purpose
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.wire import ipp, ipp_codes
from ippusbd.wire.ipp import Operation, Status
from ippusbd.wire.ipp_requests import IDEMPOTENT, get_printer_attributes, request

HASTY = {"drain_s": 0.3, "check_s": 0.5, "supplies_s": 0.0}
IPP = (("Content-Type", "application/ipp"),)
PRINTER = "ipp://localhost/ipp/print"


async def halt_at_the_third(printer: VirtualPrinter, port: int) -> None:
    printer.switch("halts-once", on=True)
    for _ in range(2):
        assert (await ask(port)).status == 200


@pytest.mark.parametrize("interfaces", [1, 2])
async def test_a_get_that_meets_a_halted_endpoint_is_repeated_and_answered(
    make_printer, state_path, interfaces: int
):
    printer = make_printer(interfaces=interfaces)
    async with run_daemon(printer, state_path=state_path, **HASTY) as daemon:
        await halt_at_the_third(printer, daemon.port())
        reply = await ask(daemon.port())
        assert (reply.status, reply.complete) == (200, True)


async def test_get_printer_attributes_is_repeated_and_answered_too(make_printer, state_path):
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path, **HASTY) as daemon:
        await halt_at_the_third(printer, daemon.port())
        answer = await ask_ipp(daemon.port(), Operation.GET_PRINTER_ATTRIBUTES)
        assert answer.code == Status.OK


async def test_a_print_is_never_sent_twice(make_printer, state_path):
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path, **HASTY) as daemon:
        await halt_at_the_third(printer, daemon.port())
        with pytest.raises(AssertionError):  # 503: the client decides
            await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=b"%PDF once")
        await daemon.until_idle()
        assert len(printer.documents) <= 1


def test_method_target_and_operation_decide_what_may_be_repeated():
    cancel_job = ipp.encode(request(Operation.CANCEL_JOB, PRINTER))
    assert Request("GET", "/", ()).repeatable
    assert Request("HEAD", "/", ()).repeatable
    assert Request("GET", "/eSCL/ScannerStatus", ()).repeatable
    assert not Request("DELETE", "/eSCL/ScanJobs/1", ()).repeatable
    assert not Request("POST", "/eSCL/ScanJobs", (), b"<x/>").repeatable
    assert Request("POST", "/ipp/print", IPP, get_printer_attributes(PRINTER)).repeatable
    assert not Request("POST", "/x", (), get_printer_attributes(PRINTER)).repeatable
    assert not Request("POST", "/ipp/print", IPP, cancel_job).repeatable
    assert not Request("POST", "/ipp/print", IPP, b"").repeatable


@pytest.mark.parametrize(
    "path",
    [
        "/eSCL/ScanJobs/1/NextDocument",
        "/eSCL/ScanJobs/1/NextDocument?",
        "/eSCL/ScanJobs/1/NextDocument?page=1",
        "/eSCL/ScanJobs/1/NextDocument/",
        "/eSCL/ScanJobs/1//nextdocument",
        "/eSCL/ScanJobs/1/Next%44ocument",
    ],
)
def test_the_next_page_is_never_requested_twice(path: str):
    assert not Request("GET", path, ()).repeatable
    assert Request("GET", path, ()).purpose is Purpose.SCAN


EVENTS = "/EventMgmt/EventTable?timeout=1200"
MAKERS = ["/hp/device/reset", "/cgi-bin/clean", "/?action=cancel", "/a", EVENTS]


@pytest.mark.parametrize("path", MAKERS)
def test_what_a_makers_page_does_is_not_known_and_not_repeated(path: str):
    assert not Request("GET", path, ()).repeatable
    assert not Request("HEAD", path, ()).repeatable
    assert Request("GET", path, ()).purpose is Purpose.PAGE


@pytest.mark.parametrize("operation", ipp_codes.Operation)
def test_no_operation_that_creates_or_changes_anything_is_repeated(operation: Operation):
    named = operation.name.startswith(("GET_", "VALIDATE_JOB"))
    assert (operation in IDEMPOTENT) <= named


async def nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def test_only_an_ipp_request_that_is_streamed_is_a_document():
    """A maker's own page may send new firmware."""
    assert Request("POST", "/ipp/print", IPP, stream=nothing()).purpose is Purpose.DOCUMENT
    assert Request("POST", "/update", (), stream=nothing()).purpose is Purpose.OTHER
