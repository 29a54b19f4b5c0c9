"""`ippusbd virtual` as a process, its control socket, and the options that it refuses."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.captured import captured
from support.usbip_client import UsbIpClient

from ippusbd.cli import main as cli
from ippusbd.virtual.model_file import DeviceAnswers

Start = Callable[..., tuple[subprocess.Popen[str], tuple[str, int], list[str]]]
COMMAND = [sys.executable, "-m", "ippusbd", "virtual"]


@pytest.fixture
def control(tmp_path: Path) -> Path:
    return tmp_path / "virtual.sock"


@pytest.fixture
def start(control: Path) -> Iterator[Start]:
    """Starts the command on a free port; the process, its address, its lines until it runs."""
    processes = []

    def begin(*options: str) -> tuple[subprocess.Popen[str], tuple[str, int], list[str]]:
        process = subprocess.Popen(
            [*COMMAND, "--usbip", "127.0.0.1:0", "--control", str(control), *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        lines = list(iter(lambda: process.stdout.readline().rstrip(), "Running until Ctrl-C."))
        port = re.search(r":(\d+)$", lines[0])
        assert port is not None, lines
        return process, ("127.0.0.1", int(port[1])), lines

    yield begin
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def tell(capsys: pytest.CaptureFixture[str], control: Path, *words: str) -> dict[str, object]:
    assert cli.main(["virtual", "--control", str(control), "--tell", *words]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert isinstance(answer, dict)
    return answer


def busids(address: tuple[str, int]) -> list[str]:
    with UsbIpClient(address) as client:
        return [busid for busid, _ in client.list_devices()]


def test_printers_are_exported_until_a_signal_and_nothing_remains(
    start: Start, control: Path
) -> None:
    process, address, lines = start("--printers", "2", "--interfaces", "1")

    assert busids(address) == ["1-1", "1-2"]
    assert any(re.match(r"1-2: 1209:0001 .*\(VIRTUAL2\), exported", line) for line in lines)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert not control.exists()


def test_each_printer_stores_its_documents_in_a_directory_of_its_own(
    start: Start, tmp_path: Path
) -> None:
    start("--printers", "2", "--store", str(tmp_path / "printed"))
    assert sorted(each.name for each in (tmp_path / "printed").iterdir()) == [
        "VIRTUAL1",
        "VIRTUAL2",
    ]


def test_a_printer_is_unplugged_and_plugged_in_by_command(
    start: Start, control: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, address, _ = start("--printers", "2")

    tell(capsys, control, "unplug", "printer=VIRTUAL1")
    assert busids(address) == ["1-2"]
    tell(capsys, control, "plug", "printer=1")
    assert busids(address) == ["1-1", "1-2"]


def test_a_personality_is_switched_on_by_command(
    start: Start, control: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start("--personality", "no-zlp")

    told = tell(capsys, control, "personality", "name=paper-out", "on=true")

    assert told["personalities"] == ["no-zlp", "paper-out"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--interfaces", "5"], "--interfaces: 1 to 4"),
        (["--printers", "0"], "--printers: 1 to"),
        (["--personality", "polite"], "no personality 'polite'"),
        (["--usbip", "here"], "'here' is not ADDR:PORT"),
        (["--tell", "unplug", "now"], "'now' is not KEY=VALUE"),
    ],
)
def test_a_wrong_option_is_named_and_starts_nothing(
    options: list[str], words: str, control: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["virtual", "--control", str(control), *options]) == 2
    assert words in capsys.readouterr().err
    assert not control.exists()


def test_tell_fails_without_running_printers(
    control: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["virtual", "--control", str(control), "--tell", "list"]) == 1
    assert "no virtual printer answers" in capsys.readouterr().err


def test_personalities_are_listed_with_their_models(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["virtual", "--personality", "help"]) == 0
    assert re.search(r"^no-zlp +\S", capsys.readouterr().out, re.MULTILINE)


def test_layouts_are_listed_and_an_unknown_one_is_refused(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["virtual", "--layout", "help"]) == 0
    assert re.search(r"^epson-et2826 +six interfaces", capsys.readouterr().out, re.MULTILINE)
    assert cli.main(["virtual", "--layout", "none"]) == 2
    assert "--layout: no layout 'none'" in capsys.readouterr().err


def test_a_model_file_makes_the_printer_that_model(start: Start, tmp_path: Path):
    xml = captured("duplex-by-option", "ScannerCapabilities.xml")
    path = tmp_path / "scanner.model"
    path.write_bytes(DeviceAnswers(xml=xml).packed())
    _, _, lines = start("--model-file", str(path), "--layout", "one-interface")
    assert any("MFP 4711" in line for line in lines), lines


def test_a_bad_model_file_is_refused_by_name(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert cli.main(["virtual", "--model-file", str(tmp_path / "none.model")]) == 2
    assert "none.model: No such file" in capsys.readouterr().err
