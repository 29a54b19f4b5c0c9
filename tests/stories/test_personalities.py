"""Printers that misbehave, each served as well as it can be: HTTP ones, IPP ones, and on the bus.

What each of them does is written in ippusbd/virtual/personalities_*.py; here stands what the
daemon has to make of it, without any quirk unless the story sets one.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from support.daemon import InProcessDaemon, run_daemon
from support.http_client import IPP_TYPE, ask, ask_ipp, ipp_request

from ippusbd.model import UsbId
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.services.console import pseudo_random_sha256
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Operation

SCAN = (
    b'<?xml version="1.0"?><scan:ScanSettings '
    b'xmlns:scan="http://schemas.hp.com/imaging/escl/2011/05/03" '
    b'xmlns:pwg="http://www.pwg.org/schemas/2010/12/sm"/>'
)
DOCUMENT = bytes(range(251)) * 400  # 100 KB


async def prints_and_fetches(daemon: InProcessDaemon, printer: VirtualPrinter, times: int = 3):
    """Documents arrive byte for byte, pages come whole; nothing had to be recovered."""
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


# --- what needs neither quirk nor patience


@pytest.mark.parametrize(
    "name",
    [
        "host-localhost-only",
        "host-needs-port",
        "junk-before-status",
        "no-zlp",
        "zlp-while-pending",
        "blocks-while-unread",
        "malformed-language-list",
        "configuration-matches-none",
        "interface-gaps",
        "hp-255-9-1",
        "no-class-descriptor",
        "stale-200",
        "stale-100k",
        "text-with-language",
        "ipp-error-good-data",
        "long-pdl",
    ],
)
async def test_it_works_as_if_nothing_were_wrong(make_printer, state_path, name: str):
    printer = make_printer(name)
    async with run_daemon(printer, state_path=state_path) as daemon:
        assert {"_ipp._tcp", "_uscan._tcp"} <= daemon.publisher.types()
        assert daemon.publisher.txt("_ipp._tcp")["ty"] == "Example VirtualJet 900"
        await prints_and_fetches(daemon, printer)


async def test_one_byte_a_packet_is_slow_and_right(make_printer, state_path):
    printer = make_printer("one-byte-packets")
    async with run_daemon(printer, state_path=state_path) as daemon:
        for size in (0, 1, 5000):
            reply = await ask(daemon.port(), target=f"/big?bytes={size}")
            assert hashlib.sha256(reply.body).hexdigest() == pseudo_random_sha256(size)
        assert (await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=DOCUMENT)).ok


async def test_links_to_a_foreign_host_are_made_to_lead_to_us(make_printer, state_path):
    printer = make_printer("foreign-location")
    async with run_daemon(printer, state_path=state_path) as daemon:
        port = daemon.port()
        fields = (("Host", f"127.0.0.1:{port}"), ("Content-Type", "text/xml"))
        reply = await ask(port, "POST", "/eSCL/ScanJobs", SCAN, fields)
        assert reply.headers["location"].startswith(f"http://127.0.0.1:{port}/eSCL/ScanJobs/")


async def test_an_early_refusal_is_passed_on_and_the_next_try_succeeds(make_printer, state_path):
    """Every other upload is answered 503 before it was taken: CUPS comes again."""
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


async def test_next_document_that_came_too_soon_is_told_so(make_printer, state_path):
    """404 at first, as sane-airscan knows to handle; the page is there a second later."""
    printer = make_printer("next-document-too-soon")
    async with run_daemon(printer, state_path=state_path) as daemon:
        port = daemon.port()
        fields = (("Content-Type", "text/xml"),)
        reply = await ask(port, "POST", "/eSCL/ScanJobs", SCAN, fields)
        page = "/eSCL" + reply.headers["location"].partition("/eSCL")[2] + "/NextDocument"
        assert (await ask(port, target=page)).status == 404
        await asyncio.sleep(1.1)
        assert (await ask(port, target=page)).status == 200


# --- what an old or a slow one may do


async def test_a_slow_printer_is_waited_for(make_printer, state_path):
    printer = make_printer("slow")
    async with run_daemon(printer, state_path=state_path) as daemon:
        assert (await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=DOCUMENT)).ok


async def test_a_fax_queue_that_never_answers_holds_up_nothing(make_printer, state_path):
    printer = make_printer("fax-probe-silent")
    start = asyncio.get_running_loop().time()
    async with run_daemon(printer, state_path=state_path, fax_probe_s=0.3) as daemon:
        assert asyncio.get_running_loop().time() - start < 5.0
        assert "Fax" not in daemon.publisher.txt("_ipp._tcp") or (
            daemon.publisher.txt("_ipp._tcp")["Fax"] == "F"
        )
        assert (await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=DOCUMENT)).ok


# --- half ready


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


async def test_a_printer_that_warms_up_is_not_announced_and_then_is(make_printer, state_path):
    printer = make_printer("truncated-503-then-zlp")
    settings = {"drain_s": 0.3, "probe_s": 1.0}
    async with run_daemon(printer, state_path=state_path, wait=(), **settings) as daemon:
        await daemon.until(lambda: printer.stats["requests"] > 3)
        assert not daemon.publisher.sets
        printer.switch("truncated-503-then-zlp", on=False)
        await daemon.until_state("ready")
        assert (await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=DOCUMENT)).ok


async def test_a_printer_without_paper_takes_the_job_when_it_has_some(make_printer, state_path):
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


# --- what needs a quirk, and works with it


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


async def test_a_printer_that_answers_404_to_everything_is_left_alone_by_its_quirk(
    make_printer, state_path
):
    laser = make_printer("404-everything", model="HP Laser 107a", usb_id=UsbId(0x03F0, 0x1234))
    async with run_daemon(laser, state_path=state_path, wait=()) as daemon:
        await daemon.until(lambda: "quirk" in daemon.row().get("reason", ""))
        assert "404" in daemon.row()["reason"]
        assert not daemon.publisher.sets
        port = daemon.backend.port(laser.device)
        assert set(port.drivers) == {0, 1, 2}, "its own driver needs the interfaces"
        assert laser.stats["requests"] == 0


# --- what they say of themselves


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


async def test_a_device_deaf_after_an_unplug_in_the_middle_comes_back(make_printer, state_path):
    printer = make_printer("deaf-after-unplug")
    quick = {"drain_s": 0.3, "probe_s": 0.5, "fax_probe_s": 0.3, "check_s": 0.3}
    async with run_daemon(printer, state_path=state_path, **quick) as daemon:
        port = daemon.port()
        body = ipp_request(Operation.PRINT_JOB) + bytes(2_000_000)
        printer.switch("paper-out", on=True)
        job = asyncio.create_task(ask(port, "POST", "/ipp/print", body, IPP_TYPE))
        await daemon.until(lambda: printer.documents)
        daemon.unplug(printer)
        assert (await job).status == 503
        printer.switch("paper-out", on=False)
        await daemon.until_state("away")
        daemon.plug(printer)
        await daemon.until_state("ready")
        assert daemon.port() == port
        assert (await ask_ipp(port, Operation.PRINT_JOB, document=DOCUMENT)).ok


async def test_interfaces_that_fail_after_a_replug_do_not_cost_the_others(make_printer, state_path):
    printer = make_printer("eio-after-replug")
    quick = {"drain_s": 0.3, "probe_s": 0.5, "fax_probe_s": 0.3, "check_s": 0.3}
    async with run_daemon(printer, state_path=state_path, **quick) as daemon:
        port = daemon.port()
        daemon.unplug(printer)
        await daemon.until_state("away")
        daemon.plug(printer)
        await daemon.until_state("ready", "partial")
        assert daemon.port() == port
        assert (await ask_ipp(port, Operation.PRINT_JOB, document=DOCUMENT)).ok
