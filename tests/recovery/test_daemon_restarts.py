"""The daemon is restarted, as at an upgrade or after a crash, while the printer works.

In the simulated office: the daemon's own parts, real firmware, one thread, a clock that jumps.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from simulation.desk import DOCUMENT, HOUR_S, MINUTE_S, Desk, told
from simulation.office import CONFIG

from ippusbd.daemon.brokering import PrinterDirectory
from ippusbd.virtual.http.messages import HttpRequest, HttpResponse
from ippusbd.virtual.personalities.base import Personality
from ippusbd.virtual.personalities.http import SilentWhilePrinting

SILENT = SilentWhilePrinting.name
QUIRK = """
[[quirk]]
usb = "1209:0001"
reason = "this story"
{setting} = true
"""


class AnswersWhenPrinted(Personality):
    """A document is answered when its last page is out."""

    name = "answers-when-printed"
    lasts_s = 45.0

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if request.header("Transfer-Encoding"):
            response.delay_s = self.lasts_s
        return response


async def restart(desk: Desk, *, crashes: bool = False, down_s: float = 1.0) -> None:
    """Stop the daemon, and start one that knows no more than what was written.

    One that crashes writes nothing at its end.
    """
    file = desk.office.folder / "printers.json"
    written = file.read_bytes()
    await desk.office.stop()
    if crashes:
        file.write_bytes(written)
    await asyncio.sleep(down_s)
    desk.office.start()
    while not desk.office.supervisor.status():  # noqa: ASYNC110 -- its clock jumps
        await asyncio.sleep(1)


def test_a_document_that_is_answered_when_it_is_printed_is_printed_once(tmp_path: Path):
    """Once the daemon stopped before the answer, and the queue sent it again."""

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        desk.printer.personalities.switch_on(AnswersWhenPrinted)
        job = asyncio.ensure_future(desk.prints("anna"))
        await asyncio.sleep(10)
        await restart(desk)
        assert await job == [200]
        assert desk.copies(DOCUMENT) == 1

    told(tmp_path, story)


def test_a_document_that_is_never_answered_delays_a_stop_by_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(AnswersWhenPrinted, "lasts_s", HOUR_S)

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        desk.printer.personalities.switch_on(AnswersWhenPrinted)
        job = asyncio.ensure_future(desk.prints("anna"))
        await asyncio.sleep(10)
        stops_at = desk.office.loop.time()
        await restart(desk)
        assert 60 < desk.office.loop.time() - stops_at < 75
        job.cancel()

    told(tmp_path, story)


def is_not_disturbed(desk: Desk) -> bool:
    """No reset came while a page was printed."""
    return [p.spoiled for p in desk.printer.personalities if p.name == SILENT] == [0]


@pytest.fixture
def _prints_for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SilentWhilePrinting, "lasts_s", 5 * MINUTE_S)


@pytest.mark.usefixtures("_prints_for_minutes")
@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("winner", ["", "USB reset"])
def test_a_page_that_is_being_printed_survives(tmp_path: Path, winner: str, crashes: bool):
    """Once the new daemon, which knew of no document, reset the silent printer after 13 s."""

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        (served,) = desk.office.supervisor.printers
        desk.office.state.set_recovery(served.key, winner)
        assert await desk.prints("anna") == [200]
        await asyncio.sleep(MINUTE_S)
        await restart(desk, crashes=crashes)
        await asyncio.sleep(5 * MINUTE_S)
        assert is_not_disturbed(desk)
        assert not desk.office.host.resets
        await desk.until_state("ready")
        assert desk.copies(DOCUMENT) == 1

    told(tmp_path, story, SILENT)


@pytest.mark.usefixtures("_prints_for_minutes")
@pytest.mark.parametrize("setting", ["soft_reset_at_start", "hard_reset_at_start"])
def test_a_reset_that_a_quirk_asks_for_at_the_start_is_left_out_while_it_prints(
    tmp_path: Path, setting: str
):
    (tmp_path / "quirks").mkdir()
    (tmp_path / "quirks" / "story.toml").write_text(QUIRK.format(setting=setting))

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        assert await desk.prints("anna") == [200]
        await asyncio.sleep(MINUTE_S)
        await restart(desk)
        await asyncio.sleep(5 * MINUTE_S)
        assert is_not_disturbed(desk)
        assert desk.copies(DOCUMENT) == 1

    told(tmp_path, story, SILENT, config=replace(CONFIG, quirks_dirs=(tmp_path / "quirks",)))


def test_a_printer_that_was_plugged_in_anew_meanwhile_is_recovered_at_once(tmp_path: Path):
    """What it was sent before is lost anyway."""

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        assert await desk.prints("anna") == [200]
        desk.printer.switch("deaf-until-bus-reset", on=True)
        desk.printer.unplug()
        await restart_while_it_is_plugged_in(desk)
        await asyncio.sleep(MINUTE_S)
        assert desk.office.host.resets
        assert desk.status().state.value == "ready"

    async def restart_while_it_is_plugged_in(desk: Desk) -> None:
        restarting = asyncio.ensure_future(restart(desk, crashes=True, down_s=5.0))
        await asyncio.sleep(3)
        desk.printer.plug()
        await restarting

    told(tmp_path, story)


def test_a_printer_that_had_reported_its_end_of_printing_is_recovered_at_once(tmp_path: Path):
    """Some firmware needs a reset after every daemon."""

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        assert await desk.prints("anna") == [200]
        await asyncio.sleep(MINUTE_S)
        desk.printer.switch("deaf-until-bus-reset", on=True)
        await restart(desk)
        await asyncio.sleep(MINUTE_S)
        assert desk.office.host.resets
        assert desk.status().state.value == "ready"

    told(tmp_path, story)


@pytest.mark.parametrize(("lasts_s", "waits_s"), [(3 * MINUTE_S, 180.0), (HOUR_S, 600.0)])
def test_the_idle_exit_waits_for_the_page_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lasts_s: float, waits_s: float
):
    monkeypatch.setattr(SilentWhilePrinting, "lasts_s", lasts_s)

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        directory = PrinterDirectory(desk.office.supervisor)
        assert await desk.prints("anna") == [200]
        ended_at = desk.office.loop.time()
        while directory.sample().busy:  # noqa: ASYNC110 -- its clock jumps
            await asyncio.sleep(0.5)
        assert waits_s - 5 < desk.office.loop.time() - ended_at < waits_s + MINUTE_S

    told(tmp_path, story, SILENT)


def test_a_disk_that_cannot_be_written_costs_no_document(tmp_path: Path):
    folder = tmp_path / "state"
    folder.mkdir()

    async def story(desk: Desk) -> None:
        await desk.until_state("ready")
        folder.rename(tmp_path / "away")
        folder.touch()
        for number in range(3):
            assert await desk.prints("anna", DOCUMENT[number:]) == [200]
        folder.unlink()
        (tmp_path / "away").rename(folder)

    told(folder, story)
