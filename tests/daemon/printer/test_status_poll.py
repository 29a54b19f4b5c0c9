"""A printer's reported status is known, and asking for it never disturbs the printer."""

from __future__ import annotations

import asyncio

from support.daemon import InProcessDaemon, run_daemon
from support.http_client import ask, ask_ipp
from support.scripted_printer import ScriptedPrinter, answer

from ippusbd.cli import status as cli_status
from ippusbd.daemon.printer import claiming, status_poll
from ippusbd.exchange.query import Query
from ippusbd.model import Condition
from ippusbd.usbio.pool import InterfacePool
from ippusbd.wire.ipp import Operation


def condition(daemon: InProcessDaemon) -> dict:
    return daemon.row().get("condition") or {}


async def test_a_printer_is_asked_when_its_session_begins(make_printer, state_path):
    printer = make_printer()
    printer.printer.state_reasons = ("media-empty-error",)
    async with run_daemon(printer, state_path=state_path) as daemon:
        await daemon.until(lambda: condition(daemon).get("supplies"))
        now = condition(daemon)
        assert (now["state"], now["pages"]) == ("stopped", 0)
        assert now["asks"] == [
            {
                "reason": "media-empty-error",
                "text": "paper out",
                "severity": "error",
                "remedy": "load paper",
            }
        ]
        assert [(s["name"], s["level"]) for s in now["supplies"]][:2] == [
            ("Black toner", 80), ("Cyan toner", 65)
        ]  # fmt: skip
        shown = "\n".join(cli_status.lines(daemon.status()))
        assert "NEEDS YOU   paper out: load paper" in shown
        assert "supplies    Black toner 80 %, Cyan toner 65 %" in shown


async def test_it_is_asked_again_when_its_clients_are_done(make_printer, state_path, monkeypatch):
    monkeypatch.setattr(status_poll, "STEP_S", 0.05)
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path) as daemon:
        await daemon.until(lambda: condition(daemon))
        answer = await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=b"x" * 1000)
        assert answer.ok
        printer.printer.state_reasons = ("toner-low-warning",)
        await daemon.until(lambda: condition(daemon)["asks"])
        assert condition(daemon)["asks"][0]["text"] == "toner low"
        await daemon.until(lambda: condition(daemon)["pages"] == 1 or None)


async def test_while_a_job_waits_for_paper_the_status_shows_it(
    make_printer, state_path, monkeypatch
):
    monkeypatch.setattr(status_poll, "STEP_S", 0.05)
    printer = make_printer(interfaces=2)
    async with run_daemon(printer, state_path=state_path, supplies_s=0.1) as daemon:
        await daemon.until(lambda: condition(daemon))
        printer.switch("paper-out", on=True)
        job = asyncio.create_task(
            ask_ipp(daemon.port(), Operation.PRINT_JOB, document=bytes(1 << 20))
        )
        await daemon.until(lambda: condition(daemon)["asks"])
        assert condition(daemon)["asks"][0]["severity"] == "error"
        assert not job.done()
        printer.switch("paper-out", on=False)
        assert (await job).ok


async def test_an_unused_printer_is_not_woken(make_printer, state_path, monkeypatch):
    monkeypatch.setattr(status_poll, "STEP_S", 0.02)
    printer = make_printer()
    settings = {"supplies_s": 0.05, "idle_release_s": 0.1}
    async with run_daemon(printer, state_path=state_path, **settings) as daemon:
        await daemon.until(lambda: condition(daemon))
        await daemon.until(lambda: daemon.interfaces()["released"] == 3)
        asked = len(printer.printer.operations)
        await asyncio.sleep(0.5)
        assert daemon.interfaces()["released"] == 3
        assert len(printer.printer.operations) == asked
        assert (await ask(daemon.port())).status == 200  # the next client wakes it, and then
        await daemon.until(lambda: len(printer.printer.operations) > asked)


async def test_memory_is_given_back_when_interfaces_are_released(
    make_printer, state_path, monkeypatch
):
    given: list[int] = []
    monkeypatch.setattr(claiming, "give_back", lambda: given.append(1))
    async with run_daemon(make_printer(), state_path=state_path, idle_release_s=0.1) as daemon:
        await daemon.until(lambda: daemon.interfaces()["released"] == 3)
        assert given


async def test_asking_can_be_switched_off(make_printer, state_path):
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path, supplies_s=0.0) as daemon:
        assert (await ask(daemon.port())).status == 200
        asked = len(printer.printer.operations)
        await asyncio.sleep(0.3)
        assert len(printer.printer.operations) == asked


async def test_a_printer_without_ipp_is_not_asked_twice():
    printer = ScriptedPrinter([answer(b"no", status="404 Not Found")])
    pool = InterfacePool(printer.channels, drain_s=1)
    polled = status_poll.StatusPoll()
    query = Query(pool, host="localhost")
    await status_poll.poll_status(
        polled, pool, query, 60000, every_s=0.1, is_printing=lambda: False
    )
    assert (len(printer.heard), polled.status()) == (1, None)
    await pool.close()


async def test_a_printer_that_once_answers_404_to_everything_is_asked_again(
    make_printer, state_path, monkeypatch, caplog
):
    """Firmware does so while it starts, and the last report may be that it prints."""
    caplog.set_level("DEBUG", "ippusbd.daemon")
    monkeypatch.setattr(status_poll, "STEP_S", 0.05)
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path, supplies_s=0.1) as daemon:
        await daemon.until(lambda: condition(daemon))
        printer.switch("404-everything", on=True)
        assert (await ask(daemon.port())).status == 404
        await daemon.until(lambda: "reports no status" in caplog.text)
        printer.switch("404-everything", on=False)
        printer.printer.state_reasons = ("toner-low-warning",)
        assert (await ask(daemon.port())).status == 200
        await daemon.until(lambda: condition(daemon)["asks"])


async def test_an_old_report_is_shown_with_its_age():
    now = [0.0]
    polled = status_poll.StatusPoll(clock=lambda: now[0])
    polled.update(Condition(state=4))
    now[0] = 200.0
    status = polled.status()
    assert status is not None
    shown = dict(cli_status.condition_lines(status))
    assert shown["printer"] == "printing (3 min 20 s ago)"
