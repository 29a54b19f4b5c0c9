"""An administrator's commands: retry, and forget what was learned."""

from __future__ import annotations

import pytest
from support.daemon import run_daemon
from support.http_client import ask

from ippusbd.cli import main as cli
from ippusbd.cli import quirks
from ippusbd.cli import retry as cli_retry
from ippusbd.errors import IppUsbError
from ippusbd.quirks.load import parse

HASTY = {"drain_s": 0.3, "check_s": 0.3, "retry_max_s": 0.1}


async def test_a_given_up_printer_is_retried_on_request(make_printer, state_path):
    printer = make_printer(interfaces=1)
    async with run_daemon(printer, state_path=state_path, resets_max=1, **HASTY) as daemon:
        printer.switch("deaf", on=True)
        with pytest.raises(TimeoutError):
            await ask(daemon.port(), timeout_s=0.2)
        await daemon.until_state("refused")

        assert daemon.supervisor.retry("another one") == []
        assert daemon.row()["state"] == "refused"
        printer.switch("deaf", on=False)
        assert daemon.supervisor.retry("virtualjet") == ["Example VirtualJet 900"]
        await daemon.until_state("ready")
        assert (await ask(daemon.port())).status == 200


async def test_learned_settings_are_shown_and_forgotten(make_printer, state_path):
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path) as daemon:
        (key,) = daemon.state.printers()
        daemon.state.learn(key, "max_interfaces", 1)
        assert daemon.supervisor.learned()[key]["settings"] == {"max_interfaces": 1}
        assert daemon.row()["learned"] == {"max_interfaces": 1}
        daemon.unplug(printer)
        await daemon.until_state("away")
        daemon.plug(printer)
        await daemon.until_state("ready")
        assert daemon.interfaces()["total"] == 1

        assert daemon.supervisor.forget("nobody") == []
        assert daemon.supervisor.forget("1209:0001") == ["Example VirtualJet 900 (USB)"]
        assert daemon.supervisor.learned() == {}
        daemon.unplug(printer)
        await daemon.until_state("away")
        daemon.plug(printer)
        await daemon.until_state("ready")
        assert daemon.interfaces()["total"] == 3


def test_quirks_prints_lines_that_a_quirk_file_accepts(monkeypatch, capsys):
    learned = {
        "max_interfaces": 1,
        "connection": "keep-alive",
        "sanitize_ipp": True,
        "soft_reset": "interface",
        "write_bytes": 16384,
    }
    found = {"04f9:2098:X1": {"name": "Brother QL-810W", "settings": learned}}
    monkeypatch.setattr(quirks, "ask_daemon", lambda *_: found)
    assert cli.main(["quirks"]) == 0
    printed = capsys.readouterr().out
    (entry,) = parse(printed[printed.index("[[quirk]]") :].encode(), "pasted.toml")
    assert entry.values == learned
    assert entry.patterns[0].text == "04f9:2098"


@pytest.mark.parametrize("command", ["retry", "forget"])
def test_the_commands_name_the_printers_concerned(command, monkeypatch, capsys):
    asked: list[object] = []

    def ask_daemon(_: object, name: str, __: object, **arguments: object) -> object:
        asked.append((name, arguments))
        return ["Some Printer"] if arguments["printer"] != "nobody" else []

    monkeypatch.setattr(cli_retry, "ask_daemon", ask_daemon)
    assert cli.main([command, "some"]) == 0
    assert "Some Printer" in capsys.readouterr().out
    assert asked == [(command, {"printer": "some"})]
    assert cli.main([command, "nobody"]) == 1
    assert capsys.readouterr().err.startswith("ippusbd: no")


async def test_a_daemon_that_still_starts_says_so():
    from ippusbd.config import Config
    from ippusbd.daemon.service import Daemon

    with pytest.raises(IppUsbError, match="starting"):
        await Daemon(Config()).commands()["retry"]({})


async def test_a_part_that_did_not_answer_is_probed_again_at_once_on_request(
    make_printer, state_path
):
    printer = make_printer("printer-before-scanner")
    slow = {"retry_min_s": 300.0, "retry_max_s": 300.0}
    async with run_daemon(printer, state_path=state_path, wait=("partial",), **slow) as daemon:
        printer.switch("printer-before-scanner", on=False)
        assert daemon.supervisor.retry() == ["Example VirtualJet 900"]
        await daemon.until_state("ready")
        assert daemon.reason() == ""


async def test_interfaces_that_were_given_up_are_claimed_again_on_request(make_printer, state_path):
    printer = make_printer(interfaces=2)
    settings = {**HASTY, "resets_max": 0, "supplies_s": 0.0}
    async with run_daemon(printer, state_path=state_path, **settings) as daemon:
        printer.switch("deaf-until-replug", on=True)
        for _ in range(2):
            assert (await ask(daemon.port())).status == 200
        with pytest.raises(TimeoutError):
            await ask(daemon.port(), timeout_s=0.5)
        await daemon.until(lambda: daemon.interfaces()["total"] == 1, 40)
        await daemon.until_state("ready")
        printer.switch("deaf-until-replug", on=False)
        await daemon.until_idle()
        daemon.supervisor.retry()
        await daemon.until(lambda: daemon.interfaces()["total"] == 2)
        await daemon.until_state("ready")
        assert (await ask(daemon.port())).status == 200


async def test_a_retry_changes_nothing_at_a_working_printer(make_printer, state_path):
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path) as daemon:
        before = list(daemon.publisher.events)
        assert daemon.supervisor.retry() == ["Example VirtualJet 900"]
        for _ in range(3):
            assert (await ask(daemon.port())).status == 200
        assert daemon.publisher.events == before
