"""A question of ours that fails on one interface ends nothing on another.

In the simulated office: a document is on its way on one interface while what we ask on another
is answered with a stall, with 503, or not at all.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from simulation.desk import DOCUMENT, HOUR_S, Desk, told
from simulation.office import CONFIG

from ippusbd.virtual.http.messages import HttpRequest, HttpResponse, plain
from ippusbd.virtual.personalities.base import Personality
from ippusbd.virtual.personalities.http import NeedsClose, PrinterFirst

SLOW = dict.fromkeys(range(1, 14), 20.0)  # a filter that needs its time


class Answering(Personality):
    """Answers what is asked in a small request as `how` says; a document passes."""

    name = "answering"
    print: str | None = None
    scan: str | None = None
    whole: str | None = None  # the answer that clients get
    failed = 0

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        if request.header("Transfer-Encoding"):  # a document
            return None
        how = self.scan if request.path.startswith("/eSCL") else self.print
        return self._failure(request, how)

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        body = response.body
        is_long = isinstance(body, bytes) and len(body) > 2048 and request.path == "/ipp/print"
        return (self._failure(request, self.whole) if is_long else None) or response

    def _failure(self, request: HttpRequest, how: str | None) -> HttpResponse | None:
        self.failed += how is not None
        if how == "stall":
            request.interface.ipp.into.halt()
        if how == "silence":
            return HttpResponse(cut_at=0, stuck=True)
        if how != "503":
            return None
        busy = plain(503, "busy\n")
        busy.delay_s = 5.0
        return busy


def answering(desk: Desk, **how: str) -> Answering:
    one = desk.printer.personalities.switch_on(Answering)
    assert isinstance(one, Answering)
    for question, answer in how.items():
        setattr(one, question, answer)
    return one


async def begun(desk: Desk) -> asyncio.Future[list[int]]:
    """A slow print, which the printer receives now."""
    job = asyncio.ensure_future(desk.prints("anna", pauses=SLOW))
    while not any(one.receiving for one in desk.printer.jobs.active()):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    return job


async def is_whole(desk: Desk, job: asyncio.Future[list[int]]) -> None:
    assert (await job)[-1] == 200
    assert desk.copies(DOCUMENT) == 1
    assert len(desk.printer.documents) == 1, "it was cut off, and sent again"


@pytest.mark.parametrize("how", ["stall", "503", "silence"])
def test_the_scanner_of_a_printer_that_is_partly_ready_fails_while_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
):
    monkeypatch.setattr(PrinterFirst, "lasts_s", HOUR_S)

    async def story(desk: Desk) -> None:
        await desk.until_state("partial")
        job = await begun(desk)
        desk.printer.switch(PrinterFirst.name, on=False)
        failing = answering(desk, scan=how)
        await is_whole(desk, job)
        assert failing.failed
        desk.printer.switch(Answering.name, on=False)
        await desk.until_state("ready")

    told(tmp_path, story, PrinterFirst.name, interfaces=2)


@pytest.mark.parametrize("how", ["stall", "503"])
def test_a_missing_function_that_is_asked_for_when_somebody_prints_fails(tmp_path: Path, how: str):
    class NoScanner(PrinterFirst):
        name = "no-scanner"

        def answer(self, request: HttpRequest) -> HttpResponse | None:
            return plain(404, "Not Found\n") if request.path.startswith("/eSCL") else None

    async def story(desk: Desk) -> None:
        desk.printer.personalities.switch_on(NoScanner)
        desk.printer.replug()
        await desk.until_state("ready")
        await asyncio.sleep(2 * HOUR_S)
        assert desk.status().missing
        failing = answering(desk, scan=how)
        desk.printer.switch(NoScanner.name, on=False)
        await is_whole(desk, await begun(desk))
        assert failing.failed
        assert desk.status().state.value == "ready"

    told(tmp_path, story, interfaces=2)


def test_a_waiting_job_is_printed_by_a_printer_that_answers_no_question_meanwhile(tmp_path: Path):
    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        desk.printer.unplug()
        await desk.until_state("away")
        failing = answering(desk, print="503", scan="503")
        job = asyncio.ensure_future(desk.prints("anna", pauses=SLOW))
        await asyncio.sleep(60)
        desk.printer.plug()
        await is_whole(desk, job)
        assert failing.failed
        desk.printer.switch(Answering.name, on=False)
        await desk.until_state("ready")

    told(tmp_path, story, interfaces=2)


def test_the_second_look_at_a_printer_that_was_silent_once_fails_while_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(PrinterFirst, "lasts_s", HOUR_S)

    async def story(desk: Desk) -> None:
        await desk.until_state("partial")
        job = await begun(desk)
        desk.printer.switch(PrinterFirst.name, on=False)
        failing = answering(desk, scan="silence", whole="503")
        await is_whole(desk, job)
        assert failing.failed

    told(tmp_path, story, PrinterFirst.name, interfaces=3)


def test_no_other_setting_is_tried_while_the_first_client_prints(tmp_path: Path):
    async def story(desk: Desk) -> None:
        failing = answering(desk, scan="silence")
        await is_whole(desk, await begun(desk))
        assert failing.failed

    told(tmp_path, story, interfaces=3, config=replace(CONFIG, passive=True))


class HearsClose(Personality):
    """Notes that it is asked with that setting; takes a second for an answer."""

    name = "hears-close"

    def __init__(self) -> None:
        self.heard = asyncio.Event()

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        if request.header("Connection") == "close":
            self.heard.set()
        return None

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response.delay_s = 1.0
        return response


def test_a_setting_that_helps_is_learned_though_the_question_without_it_could_not_be_asked(
    tmp_path: Path,
):
    """The first client has the only interface by then."""

    async def story(desk: Desk) -> None:
        hears = desk.printer.personalities.switch_on(HearsClose)
        assert isinstance(hears, HearsClose)
        assert not desk.status().name
        await hears.heard.wait()
        await is_whole(desk, await begun(desk))
        await desk.until_state("ready")
        assert desk.status().learned == {"connection": "close"}

    told(tmp_path, story, NeedsClose.name, interfaces=1)


def test_another_setting_is_tried_for_a_new_printer_that_reports_a_fault(tmp_path: Path):
    """It prints nothing: that it lacks paper is no reason to announce it only when it has some."""

    async def story(desk: Desk) -> None:
        desk.printer.switch("paper-out", on=True)
        failing = answering(desk, scan="silence")
        assert not desk.status().name
        async with asyncio.timeout(HOUR_S):
            while desk.status().state.value not in ("ready", "partial"):
                await desk.caller("anna").ask("GET", "/")
                await asyncio.sleep(10)
        assert failing.failed

    told(tmp_path, story, interfaces=2, config=replace(CONFIG, passive=True))
