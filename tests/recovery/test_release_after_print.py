"""Other drivers get no interface in the middle of a page, and get them soon otherwise.

In the simulated office; an attached driver is one that the simulated kernel has bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path

import pytest
from simulation.desk import HOUR_S, MINUTE_S, Desk, told
from simulation.office import CONFIG
from simulation.scanning import SETTINGS, XML
from simulation.talk import IPP_TYPE, Left, Upload

from ippusbd.exchange.query import FAX_PATH
from ippusbd.virtual.http.messages import HttpRequest, HttpResponse, plain
from ippusbd.virtual.personalities.base import Personality
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Operation
from ippusbd.wire.ipp_requests import get_printer_attributes
from ippusbd.wire.overheard import printer_state

PAGE_S = 45.0
SOON_S = 2 * CONFIG.idle_release_s + 2.0
STEP_S = 0.1


def attached(desk: Desk) -> set[int]:
    """The interfaces that other drivers have."""
    (port,) = desk.office.host.ports
    return set(port.drivers)


def all_attached(desk: Desk) -> bool:
    return len(attached(desk)) == len(desk.printer.device.interfaces)


async def until_attached(desk: Desk) -> float:
    """How long other drivers had to wait."""
    start = desk.office.loop.time()
    while not all_attached(desk):  # noqa: ASYNC110 -- its clock jumps
        await asyncio.sleep(STEP_S)
    return desk.office.loop.time() - start


async def rest(desk: Desk) -> None:
    """Long enough for the shortest idle time."""
    await asyncio.sleep(2 * HOUR_S)
    assert all_attached(desk)


class Busy(Personality):
    """Answers no question while it prints."""

    name = "busy"

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        return plain(503, "busy\n")


class IdleFax(Personality):
    """Its fax queue is idle, whatever is printed, and it says so in every answer."""

    name = "idle-fax"

    def ipp(self, request: ipp.Message, answer: ipp.Message) -> ipp.Message:
        if FAX_PATH not in (request.first_text(ipp.Tag.OPERATION, "printer-uri") or ""):
            return answer
        idle = ipp.attribute("printer-state", ipp.enum(ipp.PrinterState.IDLE))
        return replace(answer, groups=(answer.groups[0], ipp.Group(ipp.Tag.PRINTER, (idle,))))


@pytest.mark.parametrize("interfaces", [1, 3])
@pytest.mark.parametrize("size", [100, 400_000])
@pytest.mark.parametrize("idle_release_s", [2.0, 0.5])
def test_no_driver_is_attached_while_a_document_is_printed(
    tmp_path: Path, interfaces: int, size: int, idle_release_s: float
):
    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        desk.printer.jobs.print_s = PAGE_S
        for number in range(6):  # at any time between two looks of the daemon
            await rest(desk)
            await asyncio.sleep(number * 0.35)
            assert await desk.prints("anna", bytes([number]) * size) == [200]
            before = attached(desk)
            assert len(before) < interfaces
            while desk.printer.jobs.active_count():
                assert attached(desk) <= before, "in the middle of a page"
                await asyncio.sleep(STEP_S)
            assert await until_attached(desk) < SOON_S

    told(
        tmp_path,
        story,
        interfaces=interfaces,
        config=replace(CONFIG, idle_release_s=idle_release_s),
    )


def test_a_printer_that_is_too_busy_to_report_is_asked_until_it_does(tmp_path: Path):
    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        desk.printer.jobs.print_s = PAGE_S
        await rest(desk)
        assert await desk.prints("anna", b"page") == [200]
        desk.printer.personalities.switch_on(Busy)
        for _ in range(int(PAGE_S / STEP_S) - 10):
            await asyncio.sleep(STEP_S)
            assert not attached(desk), "in the middle of a page"
        desk.printer.switch(Busy.name, on=False)
        assert await until_attached(desk) < CONFIG.supplies_s + SOON_S

    told(tmp_path, story)


def test_a_printer_that_reports_nothing_is_given_ten_minutes_for_a_page(tmp_path: Path):
    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        await rest(desk)
        assert await desk.prints("anna", b"page") == [200]
        assert 9 * MINUTE_S < await until_attached(desk) < 11 * MINUTE_S

    told(tmp_path, story, config=replace(CONFIG, supplies_s=0.0))


def test_a_document_that_waited_an_hour_for_paper_without_its_client_is_asked_about(
    tmp_path: Path,
):
    """Once nobody asked: the client was long gone, and drivers waited ten minutes."""

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        await rest(desk)
        desk.printer.switch("paper-out", on=True)
        caller = desk.caller("anna")
        upload = Upload(caller.request(Operation.PRINT_JOB), bytes(300_000), {})
        with pytest.raises(Left):
            await caller.upload(upload, patience_s=MINUTE_S)
        await asyncio.sleep(HOUR_S)
        assert not attached(desk)
        desk.printer.switch("paper-out", on=False)
        assert await until_attached(desk) < CONFIG.supplies_s + SOON_S + MINUTE_S

    told(tmp_path, story)


def test_an_idle_fax_queue_does_not_tell_that_a_document_is_printed(tmp_path: Path):
    fax = get_printer_attributes(f"ipp://localhost{FAX_PATH}", ("printer-state",))

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        desk.printer.personalities.switch_on(IdleFax)
        desk.printer.jobs.print_s = PAGE_S
        await rest(desk)
        assert await desk.prints("anna", b"page") == [200]
        await asyncio.sleep(15)
        reply = await desk.caller("bert").ask("POST", FAX_PATH, fax, IPP_TYPE)
        assert reply is not None
        assert printer_state(reply.body) == (ipp.PrinterState.IDLE, ())
        while desk.printer.jobs.active_count():
            assert not attached(desk), "in the middle of a page"
            await asyncio.sleep(STEP_S)

    told(tmp_path, story, config=replace(CONFIG, supplies_s=0.0))


def test_a_question_and_a_scan_delay_nothing(tmp_path: Path):
    async def scan(desk: Desk) -> None:
        caller, body = desk.caller("anna"), SETTINGS.format(source="Platen").encode()
        created = await caller.ask("POST", "/eSCL/ScanJobs", body, XML)
        assert created is not None
        number = created.headers["location"].rpartition("/")[2]
        page = await caller.ask("GET", f"/eSCL/ScanJobs/{number}/NextDocument")
        assert page is not None
        assert page.status == 200

    async def gives_back_after(desk: Desk, use: Awaitable[object]) -> None:
        await rest(desk)
        await use
        assert not all_attached(desk)
        assert await until_attached(desk) < SOON_S

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        await gives_back_after(desk, desk.caller("bert").look())
        await gives_back_after(desk, scan(desk))

    told(tmp_path, story, config=replace(CONFIG, supplies_s=0.0))


def test_a_monitor_that_asks_every_few_seconds_moves_no_interface_to_and_fro(tmp_path: Path):
    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        await rest(desk)
        (port,) = desk.office.host.ports
        port.driver_log.clear()
        for _ in range(int(HOUR_S / 3)):
            await desk.caller("monitor").look()
            await asyncio.sleep(3)
        assert len(port.driver_log) < 20

    told(tmp_path, story)
