"""Work that a printer may still be doing is never ended by us: cases that once went wrong.

In the simulated office: the daemon's own parts, real firmware, one thread, a clock that jumps.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from simulation.desk import DOCUMENT, HOUR_S, MINUTE_S, Desk, told
from simulation.office import CONFIG
from simulation.scanning import SETTINGS, XML
from simulation.talk import Left, Upload
from simulation.weather import SlowScans

from ippusbd.daemon.printer.states import State
from ippusbd.errors import TransferTimeout
from ippusbd.virtual.http.messages import HttpRequest, HttpResponse
from ippusbd.virtual.personalities.base import Personality
from ippusbd.virtual.personalities.http import PrinterFirst, SilentWhilePrinting
from ippusbd.virtual.usb.device import DeviceEvent, Setup, VirtualDevice, VirtualInterface
from ippusbd.virtual.usb.host import SET_INTERFACE
from ippusbd.wire.ipp import Operation

DAY_S = 86400.0


def test_a_print_longer_than_our_patience_on_the_only_interface_while_the_scanner_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Once, every re-probe of the scanner, which only waited for the interface, ended the print."""
    monkeypatch.setattr(PrinterFirst, "lasts_s", HOUR_S)

    async def story(desk: Desk) -> None:
        await desk.until_state("partial")
        slow = {number: 20.0 for number in range(1, 14)}  # a filter that needs its time
        assert await desk.prints("anna", pauses=slow) == [200]
        assert desk.copies(DOCUMENT) == 1
        assert desk.status().state is State.PARTIAL

    told(tmp_path, story, "printer-before-scanner")


def test_a_print_that_came_before_the_first_probe_was_answered(tmp_path: Path):
    async def story(desk: Desk) -> None:
        await desk.until_state("probing", "ready")
        assert (await desk.prints("anna", pauses={3: 25.0, 5: 25.0}))[-1] == 200
        await desk.until_state("ready")
        assert desk.copies(DOCUMENT) == 1

    told(tmp_path, story)


@pytest.mark.parametrize("interfaces", [1, 2, 3])
def test_three_hours_without_paper_lose_no_request_of_four_clients(tmp_path: Path, interfaces: int):
    documents = {f"client {n}": DOCUMENT + bytes([n]) for n in range(4)}

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        desk.printer.switch("paper-out", on=True)
        jobs = [asyncio.ensure_future(desk.prints(*one)) for one in documents.items()]
        await asyncio.sleep(10 * MINUTE_S)
        assert "interface" in desk.status().waits_for
        assert desk.status().ended == ()
        await asyncio.sleep(3 * HOUR_S - 10 * MINUTE_S)
        assert not all(job.done() for job in jobs)
        desk.printer.switch("paper-out", on=False)
        answers = await asyncio.gather(*jobs)
        for answer in answers:
            assert set(answer) <= {200, 503}, "nobody is told a lie"
        await asyncio.sleep(HOUR_S)
        assert [desk.copies(document) for document in documents.values()] == [1, 1, 1, 1]
        assert desk.status().learned == {}

    told(tmp_path, story, interfaces=interfaces)


def test_nothing_is_learned_from_paper_out_twice_within_hours(tmp_path: Path):
    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        for number in range(2):
            desk.printer.switch("paper-out", on=True)
            job = asyncio.ensure_future(desk.prints("anna", DOCUMENT + bytes([number])))
            await asyncio.sleep(70 * MINUTE_S)
            desk.printer.switch("paper-out", on=False)
            assert await job == [200]
        assert desk.status().learned == {}

    told(tmp_path, story)


def test_a_job_that_waits_for_the_same_paper_ends_no_other(tmp_path: Path):
    letter = b"letter" * 30

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        desk.printer.switch("paper-out", on=True)
        jobs = [
            asyncio.ensure_future(desk.prints("anna")),
            asyncio.ensure_future(desk.prints("bert", letter)),
        ]
        await asyncio.sleep(40 * MINUTE_S)
        desk.printer.switch("paper-out", on=False)
        for job in jobs:
            assert set(await job) <= {200, 503}
        assert (desk.copies(DOCUMENT), desk.copies(letter)) == (1, 1)

    told(tmp_path, story, interfaces=2)


@pytest.mark.parametrize("interfaces", [1, 2])
def test_a_scanner_whose_program_died_before_the_first_page_is_free_soon(
    tmp_path: Path, interfaces: int
):
    """Its page comes so late that the interface is recovered first."""

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        desk.printer.personalities.switch_on(SlowScans)
        caller, body = desk.caller("anna"), SETTINGS.format(source="Feeder").encode()
        created = await caller.ask("POST", "/eSCL/ScanJobs", body, XML)
        assert created is not None
        number = created.headers["location"].rpartition("/")[2]
        await caller.ask("GET", f"/eSCL/ScanJobs/{number}/NextDocument", dies_after_s=1.0)
        await asyncio.sleep(2 * MINUTE_S)
        assert desk.printer.scanner.jobs[number].state == "Canceled"

    told(tmp_path, story, interfaces=interfaces)


def test_a_scanner_that_is_not_ready_for_long_keeps_no_interface_from_other_drivers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(PrinterFirst, "lasts_s", 2 * HOUR_S)

    async def story(desk: Desk) -> None:
        await desk.until_state("partial")
        await asyncio.sleep(20 * MINUTE_S)
        (port,) = desk.office.host.ports
        released = 0
        for _ in range(60):
            await asyncio.sleep(MINUTE_S)
            released += bool(port.drivers)
        assert released > 45
        await asyncio.sleep(HOUR_S)
        assert desk.status().state is State.READY

    told(tmp_path, story, "printer-before-scanner")


# --- it answers nothing while it prints


def prints_silently(monkeypatch: pytest.MonkeyPatch, for_s: float) -> None:
    monkeypatch.setattr(SilentWhilePrinting, "lasts_s", for_s)


def is_not_disturbed(desk: Desk) -> bool:
    """No reset came while a page was printed."""
    return not desk.office.host.resets and [p.spoiled for p in desk.printer.personalities] == [0]


@pytest.mark.parametrize("interfaces", [1, 2])
def test_a_printer_that_answers_nothing_while_it_prints_is_not_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interfaces: int
):
    """Once its only interface was recovered, and then the whole printer, in mid-page."""
    prints_silently(monkeypatch, for_s=90.0)

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        assert await desk.prints("anna") == [200]
        await asyncio.sleep(30)
        told = await desk.caller("bert").ask("GET", "/")  # waits for the interface
        assert told is not None
        assert told.status in (200, 503)
        await asyncio.sleep(2 * MINUTE_S)
        assert is_not_disturbed(desk)
        assert desk.status().state is State.READY
        assert desk.copies(DOCUMENT) == 1
        told = await desk.caller("bert").ask("GET", "/")
        assert told is not None
        assert told.status == 200
        await desk.prints("anna", DOCUMENT[1:])
        assert desk.copies(DOCUMENT[1:]) == 1

    told(tmp_path, story, "silent-while-printing", interfaces=interfaces)


def test_what_is_waited_for_while_it_prints_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    prints_silently(monkeypatch, for_s=8 * MINUTE_S)

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        assert await desk.prints("anna") == [200]
        await asyncio.sleep(2 * MINUTE_S)
        assert "a document was sent to it" in desk.status().waits_for
        asked_at = desk.office.loop.time()
        reply = await desk.caller("bert").ask("GET", "/")
        assert desk.office.loop.time() - asked_at < 10, "it is told at once"
        assert reply is not None
        assert reply.status == 503
        assert b"a document was sent to it" in reply.body
        await asyncio.sleep(8 * MINUTE_S)
        assert is_not_disturbed(desk)
        assert desk.status().waits_for == ""

    told(tmp_path, story, "silent-while-printing")


def test_a_question_whose_client_left_while_it_prints_costs_no_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    prints_silently(monkeypatch, for_s=3 * MINUTE_S)

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        assert await desk.prints("anna") == [200]
        await desk.caller("bert").ask("GET", "/", dies_after_s=1.0)
        await asyncio.sleep(4 * MINUTE_S)
        assert is_not_disturbed(desk)
        assert desk.copies(DOCUMENT) == 1

    told(tmp_path, story, "silent-while-printing")


def test_a_printer_that_stays_silent_when_nothing_is_printed_any_more_is_recovered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    prints_silently(monkeypatch, for_s=DAY_S)

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        assert await desk.prints("anna") == [200]
        await asyncio.sleep(9 * MINUTE_S)
        assert is_not_disturbed(desk)
        await asyncio.sleep(10 * MINUTE_S)
        assert desk.office.host.resets

    told(tmp_path, story, "silent-while-printing")


def test_an_administrator_ends_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    prints_silently(monkeypatch, for_s=DAY_S)

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        assert await desk.prints("anna") == [200]
        await asyncio.sleep(2 * MINUTE_S)
        assert is_not_disturbed(desk)
        assert desk.office.supervisor.retry()
        await asyncio.sleep(MINUTE_S)
        assert desk.office.host.resets

    told(tmp_path, story, "silent-while-printing")


class AnswersNextWhenPrinted(SilentWhilePrinting):
    """It takes the next document meanwhile, and answers when the one before is printed."""

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        self._accepts = self._accepts and not self.prints(request.interface.device)
        return super().amend(request, response)


def test_a_document_that_is_taken_while_the_printer_prints_silently_is_printed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Once two questions of ours without an answer ended it after five minutes: two copies."""
    monkeypatch.setattr(AnswersNextWhenPrinted, "lasts_s", 9 * MINUTE_S)

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        desk.printer.personalities.switch_on(AnswersNextWhenPrinted)
        assert await desk.prints("anna") == [200]
        assert await desk.prints("bert", DOCUMENT[1:]) == [200]  # answered when anna's is printed
        assert desk.copies(DOCUMENT[1:]) == 1
        assert is_not_disturbed(desk)

    told(tmp_path, story, interfaces=2)


def test_a_retry_of_all_printers_ends_no_page_of_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    prints_silently(monkeypatch, for_s=DAY_S)

    async def story(desk: Desk) -> None:
        desk.office.add("V2").plug()  # the one that is meant
        while len(desk.office.supervisor.devices()) < 2:  # noqa: ASYNC110 -- its clock jumps
            await asyncio.sleep(1)
        await asyncio.sleep(MINUTE_S)
        assert await desk.prints("anna") == [200]
        await asyncio.sleep(2 * MINUTE_S)
        assert len(desk.office.supervisor.retry()) == 2
        await asyncio.sleep(5 * MINUTE_S)
        assert is_not_disturbed(desk)
        assert desk.office.supervisor.retry("V1")
        await asyncio.sleep(MINUTE_S)
        assert desk.office.host.resets

    told(tmp_path, story, "silent-while-printing", may_end=True)


class NoClaimWhilePrinting(SilentWhilePrinting):
    """It does not even answer SET_INTERFACE."""

    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
        if (setup.request_type, setup.request) == SET_INTERFACE and self.prints(device):
            raise TransferTimeout("busy")
        return None


def test_a_printer_whose_session_fails_while_it_prints_is_opened_again_and_not_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(NoClaimWhilePrinting, "lasts_s", 3 * MINUTE_S)

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        desk.printer.personalities.switch_on(NoClaimWhilePrinting)
        assert await desk.prints("anna") == [200]
        (printer,) = desk.office.supervisor.printers
        assert printer.pool is not None
        printer.pool.renew()  # as when a setting was learned: its interface is claimed anew
        await asyncio.sleep(10)
        reply = await desk.caller("bert").ask("GET", "/")
        assert reply is not None
        assert reply.status == 503
        await asyncio.sleep(10)
        reason = desk.status().reason
        assert reason is not None
        assert "a document was sent to it" in reason.text
        await asyncio.sleep(3 * MINUTE_S)
        assert is_not_disturbed(desk)
        await desk.until_state("ready")
        assert desk.copies(DOCUMENT) == 1

    told(tmp_path, story, config=replace(CONFIG, supplies_s=0.0))


class AnswersWhenPrinted(Personality):
    """A document is answered when its last page is out."""

    name = "answers-when-printed"

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if request.header("Transfer-Encoding"):
            response.delay_s = 5 * MINUTE_S
        return response


def test_a_whole_document_whose_client_left_is_printed_to_its_end(tmp_path: Path):
    """Once its interface was recovered after 30 s without a byte."""

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        desk.printer.personalities.switch_on(AnswersWhenPrinted)
        anna = desk.caller("anna")
        start = anna.request(Operation.PRINT_JOB)
        with suppress(Left):
            await anna.upload(Upload(start, DOCUMENT, dies_after=len(DOCUMENT)), patience_s=5)
        await asyncio.sleep(4 * MINUTE_S)
        assert desk.status().interfaces.in_use == 1
        await asyncio.sleep(2 * MINUTE_S)
        assert desk.status().interfaces.in_use == 0
        assert desk.printer.stats["cut_responses"] == 0
        assert desk.copies(DOCUMENT) == 1

    told(tmp_path, story)


class StopsWhenAnotherIsSet(Personality):
    """An alternate setting of one interface stops the documents on the others."""

    name = "stops-when-another-is-set"

    def __init__(self) -> None:
        self._stopped: set[int] = set()

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        if event is DeviceEvent.SET_INTERFACE and interface is not None:
            self._stopped |= {one.number for one in device.interfaces if one.busy}
            self._stopped.discard(interface.number)

    def takes(self, interface: VirtualInterface) -> bool:
        return interface.number not in self._stopped


def test_nothing_is_learned_from_uploads_that_our_own_recovery_may_have_stopped(tmp_path: Path):
    slow = {number: 10.0 for number in range(1, 16)}

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        desk.printer.personalities.switch_on(StopsWhenAnotherIsSet)
        bert = desk.caller("bert")
        for number in range(2):
            job = asyncio.ensure_future(desk.prints("anna", DOCUMENT[number:], pauses=slow))
            await asyncio.sleep(5)
            desk.printer.switch("deaf-until-set-interface", on=True)
            for _ in range(3):  # the last one is not answered, and its interface is recovered
                await bert.ask("GET", "/", dies_after_s=5.0)
            assert len(await job) > 1
        assert len(desk.status().ended) == 2
        assert desk.status().learned == {}

    told(tmp_path, story, interfaces=2, may_end=True)


@pytest.mark.parametrize("interfaces", [1, 2])
def test_a_lost_question_costs_no_interface_until_there_is_paper(tmp_path: Path, interfaces: int):
    """It was sent no document that could wait for it. Once nobody could scan meanwhile."""

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        desk.printer.switch("paper-out", on=True)
        bert = desk.caller("bert")
        await bert.look()
        desk.printer.switch("deaf-until-set-interface", on=True)
        for _ in range(3):  # the last one is not answered
            await bert.ask("GET", "/", dies_after_s=5.0)
        await asyncio.sleep(2 * MINUTE_S)
        assert desk.status().interfaces.in_use == 0
        told = await bert.ask("GET", "/")
        assert told is not None
        assert told.status == 200
        assert not desk.office.host.resets

    told(tmp_path, story, interfaces=interfaces)


def test_a_printer_that_is_plugged_in_again_is_recovered_though_it_printed_a_moment_ago(
    tmp_path: Path,
):
    """The plug itself has reset it: there is nothing to lose any more."""

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        assert await desk.prints("anna") == [200]
        desk.printer.unplug()
        await asyncio.sleep(2)
        desk.printer.switch("deaf-until-bus-reset", on=True)
        desk.printer.plug()
        await asyncio.sleep(3 * MINUTE_S)
        assert desk.status().state is State.READY
        assert desk.office.host.resets

    told(tmp_path, story)
