"""`ippusbd run --virtual` as a process: started, queried and stopped like by a user."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from pathlib import Path

import pytest
from support.daemon_process import Start

from ippusbd.cli.run import no_usb_printer
from ippusbd.errors import NotUsable


def url_of(lines: list[str]) -> str:
    return next(m[0] for line in lines if (m := re.search(r"http://localhost:\d+/", line)))


def test_run_serves_status_answers_and_sigterm_ends_it(start: Start, tmp_path: Path):
    daemon = start("--virtual", "--store", str(tmp_path / "printed"))
    url = url_of(daemon.lines("  print  "))
    with urllib.request.urlopen(url) as page:
        assert page.status == 200
        assert b"VirtualJet" in page.read()

    status = json.loads(daemon.command("status", "--json").stdout)
    (printer,) = status["printers"]
    assert status["pid"] == daemon.process.pid
    assert (printer["state"], printer["id"], printer["url"]) == ("ready", "1209:0001", url)
    assert printer["requests"] > 0
    assert "VirtualJet 900 (1209:0001, virtual): ready" in daemon.command("status").stdout
    assert f"process {daemon.process.pid}" in daemon.command("check").stdout

    second = daemon.command("run", "--virtual")
    assert second.returncode == 1
    assert f"process {daemon.process.pid} holds" in second.stderr
    assert daemon.command("status").returncode == 0

    assert daemon.stop() == 0
    assert daemon.command("status").returncode == 3
    assert not (tmp_path / "run" / "control.sock").exists()
    assert " error " not in daemon.log


def test_after_sigkill_the_printer_gets_the_same_port(start: Start):
    first = start("--virtual")
    url = url_of(first.lines("  print  "))
    first.stop(signal.SIGKILL)
    again = start("--virtual")
    assert url_of(again.lines("  print  ")) == url
    assert again.stop(signal.SIGINT) == 0


def test_a_virtual_printer_can_be_without_serial_number(start: Start):
    daemon = start("--virtual", "--no-serial")
    daemon.lines("  print  ")
    (printer,) = json.loads(daemon.command("status", "--json").stdout)["printers"]
    assert (printer["id"], printer["serial"]) == ("1209:0001", "")


def test_two_virtual_printers_have_ports_and_directories_of_their_own(start: Start, tmp_path: Path):
    daemon = start("--virtual", "2", "--interfaces", "1", "--store", str(tmp_path / "printed"))
    urls = {url_of(daemon.lines("  scan  ")) for _ in range(2)}
    assert len(urls) == 2
    assert sorted(path.name for path in (tmp_path / "printed").iterdir()) == [
        "VIRTUAL1",
        "VIRTUAL2",
    ]
    status = json.loads(daemon.command("status", "--json").stdout)
    assert [printer["interfaces"]["total"] for printer in status["printers"]] == [1, 1]
    assert daemon.stop() == 0


class NoUsb:
    """A host where looking has this outcome."""

    def __init__(self, outcome: object) -> None:
        self._outcome = outcome

    async def enumerate(self) -> object:
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("outcome", "wanted"), [([], True), (["a printer"], False), (NotUsable("no libusb"), True)]
)
async def test_a_virtual_printer_replaces_a_missing_one(
    outcome: object,
    wanted: bool,
    capsys: pytest.CaptureFixture[str],
):
    assert await no_usb_printer(NoUsb(outcome)) is wanted  # type: ignore[arg-type]
    assert ("serving a virtual one" in capsys.readouterr().out) is wanted


def test_the_virtual_printers_have_a_control_socket_while_they_run(start: Start, tmp_path: Path):
    socket_path = tmp_path / "virtual.sock"
    daemon = start("--virtual", "--virtual-control", str(socket_path))
    daemon.lines("  print  ")
    assert socket_path.is_socket()
    assert daemon.stop() == 0
    assert not socket_path.exists()


def test_an_unknown_personality_is_refused_with_a_suggestion(start: Start):
    daemon = start("--virtual", "--personality", "stop-after-3k")
    assert daemon.process.wait(timeout=20) == 2
    assert "(did you mean stops-after-3k?)" in daemon.log
