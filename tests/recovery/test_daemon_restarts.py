"""The daemon is restarted, as at an upgrade or after a crash, while the printer works.

In the simulated office: the daemon's own parts, real firmware, one thread, a clock that jumps.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from simulation.desk import DOCUMENT, HOUR_S, Desk, told

from ippusbd.virtual.http.messages import HttpRequest, HttpResponse
from ippusbd.virtual.personalities.base import Personality


class AnswersWhenPrinted(Personality):
    """A document is answered when its last page is out."""

    name = "answers-when-printed"
    lasts_s = 45.0

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if request.header("Transfer-Encoding"):
            response.delay_s = self.lasts_s
        return response


async def restart(desk: Desk) -> None:
    await desk.office.stop()
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
