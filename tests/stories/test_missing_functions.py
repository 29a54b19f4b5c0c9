"""A printer that claims a function and refuses it: served for the rest, named, asked again."""

from __future__ import annotations

import asyncio
from html import unescape

from support.daemon import InProcessDaemon, run_daemon
from support.http_client import ask

from ippusbd.cli import status as cli_status
from ippusbd.daemon.observe import metrics, page
from ippusbd.doctor import printers as doctor
from ippusbd.doctor.findings import Level
from ippusbd.virtual.http.messages import HttpRequest, HttpResponse, plain
from ippusbd.virtual.personalities.base import Personality

HTTPS = "switch HTTPS enforcement off in the printer's network or security settings"


class Refusing(Personality):
    """Refuses what is asked of `path` with `response`; counts the questions."""

    name = "refusing"
    path = "/eSCL"

    def __init__(self) -> None:
        self.asked = 0

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        if not request.path.startswith(self.path):
            return None
        self.asked += 1
        return self.response(request)

    def response(self, request: HttpRequest) -> HttpResponse:
        return plain(404, "Not Found\n")


class ScannerOverHttps(Refusing):
    """HP with "HTTPS enforcement": the scanner redirects to https."""

    def response(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(301, [("Location", f"https://192.0.2.53{request.path}")])


class NoPrinting(Refusing):
    """A scanner with a printer's interface."""

    path = "/ipp/print"


class SilentFax(Refusing):
    """HP ENVY 5530."""

    path = "/ipp/faxout"

    def response(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(cut_at=0, stuck=True)


def missing(daemon: InProcessDaemon) -> list[tuple[str, str]]:
    return [(one["function"], one["reason"]["text"]) for one in daemon.row().get("missing") or ()]


def told(daemon: InProcessDaemon) -> dict[str, str]:
    """What each of our tools says."""
    status = daemon.status()
    found = [one for one in doctor.check(status) if one.check == "missing"]
    assert all(one.level is Level.PROBLEM for one in found)
    return {
        "status": "\n".join(cli_status.lines(status)),
        "page": unescape("\n".join(page.document(status))),
        "metrics": metrics.exposition(status),
        "doctor": "\n".join(f"{one.text}: {one.remedy}" for one in found),
    }


async def test_a_refused_scanner_is_named_everywhere_and_announced_as_soon_as_it_answers(
    make_printer, state_path
):
    printer = make_printer()
    printer.personalities.switch_on(ScannerOverHttps)
    async with run_daemon(printer, state_path=state_path) as daemon:
        answer = "/eSCL/ScannerCapabilities answered 301 to https"
        assert missing(daemon) == [("scan", answer)]
        said = told(daemon)
        for tool in ("status", "page", "doctor"):
            assert answer in said[tool]
            assert HTTPS in said[tool]
        assert "its USB descriptor says that it can scan" in said["doctor"]
        assert 'function="scan"} 1' in said["metrics"]
        assert daemon.publisher.types() == {"_ipp._tcp", "_http._tcp", "_ipp-usb._tcp"}

        printer.switch("refusing", on=False)
        await daemon.until(lambda: not missing(daemon))
        assert "_uscan._tcp" in daemon.publisher.types()
        assert daemon.row()["state"] == "ready"
        events = [event for event, _ in daemon.publisher.events]
        assert events == ["publish", "withdraw", "publish"]


async def test_a_refused_function_is_asked_for_with_growing_pauses(make_printer, state_path):
    printer = make_printer()
    refusing = printer.personalities.switch_on(Refusing)
    settings = {"retry_min_s": 0.05, "retry_max_s": 60.0}
    loop = asyncio.get_running_loop()
    async with run_daemon(printer, state_path=state_path, **settings) as daemon:
        start = loop.time()
        await daemon.until(lambda: refusing.asked >= 5)
        assert loop.time() - start > 0.05 + 0.1 + 0.2 + 0.4 - 0.1
        assert daemon.row()["state"] == "ready"


async def test_after_the_warm_up_it_is_asked_only_when_it_is_awake(make_printer, state_path):
    printer = make_printer()
    refusing = printer.personalities.switch_on(Refusing)
    settings = {"warm_up_s": 0.0, "retry_max_s": 0.1, "supplies_s": 0.0, "idle_release_s": 0.1}
    async with run_daemon(printer, state_path=state_path, **settings) as daemon:
        await daemon.until(lambda: daemon.interfaces()["released"] == 3)
        asked = refusing.asked
        await asyncio.sleep(0.5)  # five of its pauses
        assert refusing.asked == asked
        assert daemon.interfaces()["released"] == 3

        printer.switch("refusing", on=False)
        assert (await ask(daemon.port())).status == 200
        await daemon.until(lambda: not missing(daemon))
        assert "_uscan._tcp" in daemon.publisher.types()


async def test_an_administrator_has_it_asked_at_once(make_printer, state_path):
    printer = make_printer()
    printer.personalities.switch_on(Refusing)
    settings = {"warm_up_s": 0.0, "retry_min_s": 0.1, "retry_max_s": 0.1, "supplies_s": 0.0}
    async with run_daemon(printer, state_path=state_path, **settings) as daemon:
        await daemon.until(lambda: missing(daemon))
        printer.switch("refusing", on=False)

        async def retried() -> bool:
            daemon.supervisor.retry()
            await asyncio.sleep(0.1)
            return not missing(daemon)

        async with asyncio.timeout(10):
            while not await retried():
                pass


async def test_a_device_that_only_scans_is_ready_and_its_printer_is_named(make_printer, state_path):
    printer = make_printer()
    printer.personalities.switch_on(NoPrinting)
    async with run_daemon(printer, state_path=state_path) as daemon:
        assert missing(daemon) == [("print", "/ipp/print answered 404 Not Found")]
        assert "_uscan._tcp" in daemon.publisher.types()
        assert "`print = false` in a quirk" in told(daemon)["doctor"]


async def test_a_fax_queue_that_never_answers_is_named_and_not_asked_again(
    make_printer, state_path
):
    printer = make_printer(fax=True)
    silent = printer.personalities.switch_on(SilentFax)
    settings = {"fax_probe_s": 0.2, "drain_s": 0.3, "retry_max_s": 0.1}
    async with run_daemon(printer, state_path=state_path, **settings) as daemon:
        assert missing(daemon) == [("fax", "no response to /ipp/faxout in 0.2 s")]
        await asyncio.sleep(0.5)  # five of its pauses
        assert silent.asked == 1
        assert daemon.row()["state"] == "ready"


async def test_a_printer_that_is_away_lacks_no_function(make_printer, state_path):
    printer = make_printer()
    printer.personalities.switch_on(Refusing)
    async with run_daemon(printer, state_path=state_path) as daemon:
        assert missing(daemon)
        daemon.unplug(printer)
        await daemon.until_state("away")
        assert not missing(daemon)
