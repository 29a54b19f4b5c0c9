"""Misbehaving printers: what tests/personalities, which runs them all, does not check."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from support.daemon import InProcessDaemon, run_daemon
from support.http_client import IPP_TYPE, ask, ask_ipp, ipp_request

from ippusbd.model import UsbId
from ippusbd.virtual.personalities.base import Personality
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.services.console import pseudo_random_sha256
from ippusbd.virtual.usb.device import DeviceEvent
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Operation

SCAN = (
    b'<?xml version="1.0"?><scan:ScanSettings '
    b'xmlns:scan="http://schemas.hp.com/imaging/escl/2011/05/03" '
    b'xmlns:pwg="http://www.pwg.org/schemas/2010/12/sm"/>'
)
DOCUMENT = bytes(range(251)) * 400  # 100 KB


async def prints_and_fetches(daemon: InProcessDaemon, printer: VirtualPrinter, times: int = 3):
    """Documents arrive byte for byte, pages arrive completely; nothing had to be recovered."""
    port, pool = daemon.port(), daemon.pool()
    for number in range(times):
        document = DOCUMENT + bytes([number])
        answer = await ask_ipp(port, Operation.PRINT_JOB, document=document, request_id=number + 1)
        assert answer.ok
        stored = printer.documents[-1]
        assert (stored.sha256, stored.completed) == (hashlib.sha256(document).hexdigest(), True)
        for how in ("", "&chunked=1"):
            size = 100_000 + 512 * number
            reply = await ask(port, target=f"/big?bytes={size}{how}")
            assert (reply.status, reply.complete) == (200, True)
            assert hashlib.sha256(reply.body).hexdigest() == pseudo_random_sha256(size)
    await daemon.until(lambda: pool.idle)
    assert pool.recovered == 0
    assert printer.stats["broken_http"] == 0


def quirk(tmp_path: Path, setting: str) -> dict[str, object]:
    """A setting for the virtual printer, as an administrator would write it."""
    folder = tmp_path / "quirks"
    folder.mkdir()
    text = f'[[quirk]]\nusb = "1209:0001"\nreason = "this story"\n{setting}\n'
    (folder / "own.toml").write_text(text)
    return {"quirks_dirs": (folder,)}


async def test_links_to_a_foreign_host_are_rewritten_to_the_proxy(make_printer, state_path):
    printer = make_printer("foreign-location")
    async with run_daemon(printer, state_path=state_path) as daemon:
        port = daemon.port()
        fields = (("Host", f"127.0.0.1:{port}"), ("Content-Type", "text/xml"))
        reply = await ask(port, "POST", "/eSCL/ScanJobs", SCAN, fields)
        assert reply.headers["location"].startswith(f"http://127.0.0.1:{port}/eSCL/ScanJobs/")


async def test_an_early_refusal_is_passed_on_and_the_next_try_succeeds(make_printer, state_path):
    """Every other upload is answered 503 before it was accepted: CUPS retries."""
    printer = make_printer("answers-early-stops-reading")
    async with run_daemon(printer, state_path=state_path) as daemon:
        port, pool = daemon.port(), daemon.pool()
        body = ipp_request(Operation.PRINT_JOB) + bytes(3_000_000)
        for _ in range(3):
            refused = await ask(port, "POST", "/ipp/print", body, IPP_TYPE)
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert (await ask(port, "POST", "/ipp/print", body, IPP_TYPE)).status == 200
        await daemon.until(lambda: pool.idle)
        assert pool.recovered == 0
    assert [one.completed for one in printer.documents] == [True] * 3


async def test_a_document_that_was_refused_early_keeps_its_job(make_printer, state_path):
    """Create-Job, Send-Document, 503, Send-Document again: nobody may cancel the job between."""
    printer = make_printer("answers-early-stops-reading")
    async with run_daemon(printer, state_path=state_path) as daemon:
        port, pool = daemon.port(), daemon.pool()
        created = await ask_ipp(port, Operation.CREATE_JOB)
        job_id = created.first_integer(ipp.Tag.JOB, "job-id")
        document = bytes(3_000_000)
        sending = ipp_request(
            Operation.SEND_DOCUMENT,
            ipp.attribute("job-id", ipp.integer(job_id)),
            ipp.attribute("last-document", ipp.boolean(True)),
        )
        replies = [
            await ask(port, "POST", "/ipp/print", sending + document, IPP_TYPE) for _ in range(2)
        ]
        assert [reply.status for reply in replies] == [503, 200]
        await daemon.until(lambda: pool.idle)
    (stored,) = printer.documents
    assert (stored.job_id, stored.completed, stored.size) == (job_id, True, len(document))


async def test_a_fax_queue_that_never_answers_delays_nothing(make_printer, state_path):
    printer = make_printer("fax-probe-silent")
    start = asyncio.get_running_loop().time()
    async with run_daemon(printer, state_path=state_path, fax_probe_s=0.3) as daemon:
        assert asyncio.get_running_loop().time() - start < 5.0
        assert "Fax" not in daemon.publisher.txt("_ipp._tcp") or (
            daemon.publisher.txt("_ipp._tcp")["Fax"] == "F"
        )
        assert (await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=DOCUMENT)).ok


async def test_a_scanner_that_is_ready_first_is_announced_first(make_printer, state_path):
    printer = make_printer("scanner-before-printer")
    async with run_daemon(printer, state_path=state_path, wait=("partial",)) as daemon:
        assert "_uscan._tcp" in daemon.publisher.types()
        assert "_ipp._tcp" not in daemon.publisher.types()
        printer.switch("scanner-before-printer", on=False)
        await daemon.until_state("ready")
        assert {"_ipp._tcp", "_uscan._tcp"} <= daemon.publisher.types()


async def test_a_printer_that_is_ready_first_is_announced_first(make_printer, state_path):
    printer = make_printer("printer-before-scanner")
    async with run_daemon(printer, state_path=state_path, wait=("partial",)) as daemon:
        assert "_ipp._tcp" in daemon.publisher.types()
        assert "_uscan._tcp" not in daemon.publisher.types()
        printer.switch("printer-before-scanner", on=False)
        await daemon.until_state("ready")
        assert "_uscan._tcp" in daemon.publisher.types()


async def test_a_printer_without_paper_accepts_the_job_when_paper_is_there(
    make_printer, state_path
):
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path) as daemon:
        printer.switch("paper-out", on=True)
        document = bytes(5_000_000)
        job = asyncio.create_task(
            ask_ipp(daemon.port(), Operation.PRINT_JOB, document=document, timeout_s=20)
        )
        await daemon.until(lambda: printer.documents)
        attributes = await ask_ipp(daemon.port(), Operation.GET_PRINTER_ATTRIBUTES)
        assert attributes.ok
        assert not job.done()
        printer.switch("paper-out", on=False)
        assert (await job).ok
    assert printer.documents[0].completed


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("needs-keep-alive", 'connection = "keep-alive"'),
        ("needs-close", 'connection = "close"'),
        ("hangs-with-two-interfaces", "max_interfaces = 1"),
        ("first-out-times-out", "soft_reset_at_start = true"),
        ("bad-collections", "sanitize_ipp = true"),
        ("empty-strings-until-reset", "hard_reset_at_start = true"),
    ],
)
async def test_it_works_with_its_quirk(make_printer, state_path, tmp_path, name: str, setting: str):
    printer = make_printer(name)
    settings = quirk(tmp_path, setting)
    async with run_daemon(printer, state_path=state_path, **settings) as daemon:
        assert daemon.row()["model"] == "Example VirtualJet 900"
        await prints_and_fetches(daemon, printer)


class FailsWithAttributes(Personality):
    """Every answer is an error, followed by printer attributes."""

    name = "fails-with-attributes"

    def ipp(self, request: ipp.Message, answer: ipp.Message) -> ipp.Message:
        groups = answer.groups
        if request.code != Operation.GET_PRINTER_ATTRIBUTES:
            state = ipp.attribute("printer-state", ipp.enum(3))
            groups = (*groups[:1], ipp.Group(ipp.Tag.PRINTER, (state,)))
        return replace(answer, code=ipp.Status.INTERNAL_ERROR, groups=groups)


async def test_only_the_attributes_of_a_printer_with_an_error_status_become_a_success(
    make_printer, state_path
):
    printer = make_printer(FailsWithAttributes)
    async with run_daemon(printer, state_path=state_path) as daemon:
        assert (await ask_ipp(daemon.port(), Operation.GET_PRINTER_ATTRIBUTES)).ok
        for operation in (Operation.PRINT_JOB, Operation.VALIDATE_JOB, Operation.GET_JOBS):
            refused = await ask_ipp(daemon.port(), operation)
            assert refused.code == ipp.Status.INTERNAL_ERROR


async def test_strings_that_come_after_a_reset_need_no_quirk(make_printer, state_path):
    printer = make_printer("empty-strings-until-reset")
    async with run_daemon(printer, state_path=state_path) as daemon:
        assert daemon.row()["model"] == "Example VirtualJet 900"
        assert daemon.row()["serial"] == "VIRTUAL1"
        await prints_and_fetches(daemon, printer)


class NoStringsEver(Personality):
    """Every string is empty, also after a bus reset."""

    name = "no-strings-ever"

    def __init__(self) -> None:
        self.resets = 0
        self.asked = 0

    def happened(self, device, event, interface) -> None:
        self.resets += event is DeviceEvent.BUS_RESET

    def control(self, device, setup) -> bytes | None:
        if (setup.request_type, setup.request) != (0x80, 6) or setup.value >> 8 != 3:
            return None
        if setup.value & 0xFF == 0:
            return None
        self.asked += 1
        return b"\2\3"


async def test_a_printer_without_readable_strings_is_reset_once_and_served_by_its_id(
    make_printer, state_path
):
    printer = make_printer()
    personality = printer.personalities.switch_on(NoStringsEver)
    async with run_daemon(printer, state_path=state_path) as daemon:
        assert daemon.row()["serial"] == ""
        assert daemon.row()["id"] == "1209:0001"
        await prints_and_fetches(daemon, printer)
    assert personality.resets == 1
    assert personality.asked == 2 * 3 * 3, "two openings, three strings, three tries each"


async def test_a_printer_that_claims_no_strings_is_not_reset_for_them(make_printer, state_path):
    printer = make_printer(layout="no-strings")
    personality = printer.personalities.switch_on(NoStringsEver)
    async with run_daemon(printer, state_path=state_path) as daemon:
        await prints_and_fetches(daemon, printer)
    assert (personality.resets, personality.asked) == (0, 0)


async def test_a_printer_that_answers_404_to_everything_is_ignored_by_its_quirk(
    make_printer, state_path
):
    laser = make_printer("404-everything", model="HP Laser 107a", usb_id=UsbId(0x03F0, 0x1234))
    async with run_daemon(laser, state_path=state_path, wait=()) as daemon:
        await daemon.until(lambda: "quirk" in daemon.reason())
        assert "404" in daemon.reason()
        assert not daemon.publisher.sets
        port = daemon.backend.port(laser.device)
        assert set(port.drivers) == {0, 1, 2}, "its own driver needs the interfaces"
        assert laser.stats["requests"] == 0


async def test_a_long_list_of_formats_keeps_the_record_in_bounds(make_printer, state_path):
    async with run_daemon(make_printer("long-pdl"), state_path=state_path) as daemon:
        pdl = daemon.publisher.txt("_ipp._tcp")["pdl"]
        assert len(f"pdl={pdl}") <= 255
        assert not pdl.endswith(",")


@pytest.mark.parametrize("name", ["long-name", "hostile-name", "hostile-strings"])
async def test_names_are_harmless_and_fit(make_printer, state_path, name: str):
    async with run_daemon(make_printer(name), state_path=state_path) as daemon:
        (announced,) = daemon.publisher.sets
        assert 0 < len(announced.encode()) <= 63
        assert announced.isprintable()
        told = daemon.publisher.sets[announced]
        for record in told.records + told.fixed:
            for key, value in record.txt:
                assert value.isprintable(), (key, value)
                assert len(f"{key}={value}".encode()) <= 255
