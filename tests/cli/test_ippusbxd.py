"""`ippusbxd` as a process of its own, with virtual printers on its bus."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.waiting import until_true

from ippusbd.cli import ippusbxd
from ippusbd.errors import StateError
from ippusbd.virtual.control import ask

PROGRAM = Path(__file__).parents[1] / "support" / "virtual_ippusbxd.py"
WAIT_S = 20.0


class Program:
    """`ippusbxd OPTIONS...` in a folder of its own, with `printers` on its bus."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []
        self.background: list[int] = []

    def start(self, *options: str, printers: int = 1, no_broadcast: bool = True) -> None:
        quiet = ["-B"] if no_broadcast else []
        control = {"VIRTUAL_CONTROL": str(self.folder / "virtual.sock")}
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(printers), *quiet, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "HOME": str(self.folder), **control},
            text=True,
        )
        self.started.append(self.process)

    def port(self) -> int:
        """What it prints first."""
        assert self.process.stdout is not None
        text = ""
        while not text.endswith("|"):
            more = self.process.stdout.read(1)
            assert more, f"it ended: {self.process.stderr.read()}"  # type: ignore[union-attr]
            text += more
        return int(text[:-1])

    def finish(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, out, err

    def ask(self, command: str, **arguments: object) -> dict[str, object]:
        return ask(self.folder / "virtual.sock", command, **arguments)

    def close(self) -> None:
        """End everything it started."""
        for process in self.started:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=WAIT_S)
        for pid in self.background:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGTERM)
                until_true(lambda pid=pid: not is_running(pid), "the background process to end")


@pytest.fixture
def program() -> Iterator[Program]:
    with tempfile.TemporaryDirectory(prefix="ixd-") as folder:
        made = Program(Path(folder))
        yield made
        made.close()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens, with a free one behind it."""
    for port in range(61600, 62000):
        try:
            with socket.create_server(("127.0.0.1", port + 1)):
                pass
            listening = socket.create_server(("127.0.0.1", port))
        except OSError:
            continue
        with listening:
            yield port
        return
    raise AssertionError("no two free ports")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def page(port: int, host: str = "127.0.0.1") -> bytes:
    with urllib.request.urlopen(f"http://{host}:{port}/", timeout=WAIT_S) as answer:
        body: bytes = answer.read()
    return body


def test_it_prints_its_port_and_serves_in_the_foreground(program: Program):
    program.start("-n", "-P", "61600")
    port = program.port()
    assert port >= 61600
    assert b"VirtualJet" in page(port)
    program.process.send_signal(signal.SIGTERM)
    status, rest, _ = program.finish()
    assert (status, rest) == (0, "")


def test_in_the_background_its_process_id_follows_the_port(program: Program):
    program.start("-P", "61600")
    status, out, err = program.finish()
    assert (status, err) == (0, "")
    match = re.fullmatch(r"(\d+)\|(\d+)\|", out)
    assert match, out
    port, pid = int(match[1]), int(match[2])
    program.background.append(pid)
    assert is_running(pid)
    assert os.getsid(pid) == pid, "it left our session"
    assert {Path(f"/proc/{pid}/fd/{n}").readlink() for n in (0, 1, 2)} == {Path(os.devnull)}
    assert b"VirtualJet" in page(port)


def test_it_ends_when_the_printer_is_unplugged(program: Program):
    program.start("--no-fork", "-P", "61600")
    program.port()
    program.ask("unplug")
    status, _, _ = program.finish()
    assert status == 0


def test_only_port_fails_if_it_is_taken(program: Program, taken: int):
    program.start("-n", "-p", str(taken))
    status, out, err = program.finish()
    assert (status, out) == (1, "")
    assert str(taken) in err


def test_from_port_takes_the_next_one(program: Program, taken: int):
    program.start("-n", "--from-port", str(taken))
    assert program.port() == taken + 1


def test_a_failure_in_the_background_reaches_the_caller(program: Program, taken: int):
    program.start("--only-port", str(taken))
    status, out, err = program.finish()
    assert (status, out) == (1, "")
    assert str(taken) in err


@pytest.mark.parametrize(
    "options",
    [
        ["--vid", "1209", "--pid", "0x0001", "--serial", "VIRTUAL2"],
        ["-v", "1209", "-m", "1", "-s", "VIRTUAL2"],
        ["--bus", "1", "--device", "3"],
        ["--bus-device", "001:003"],
    ],
    ids=" ".join,
)
def test_the_printer_is_selected_by_ids_serial_or_bus_address(program: Program, options: list[str]):
    program.start("-n", "-P", "61600", *options, printers=2)
    page(program.port())
    asked = {p: program.ask("stats", printer=p)["requests"] for p in ("VIRTUAL1", "VIRTUAL2")}
    assert asked["VIRTUAL1"] == 0
    assert asked["VIRTUAL2"]


@pytest.mark.parametrize("options", [["-v", "dead"], ["-s", "NOBODY"], ["--bus-device", "9:9"]])
def test_a_printer_that_is_not_connected_is_an_error(program: Program, options: list[str]):
    program.start("-n", *options)
    status, out, err = program.finish()
    assert (status, out) == (1, "")
    assert err.rstrip().endswith("ippusbxd: no such printer is connected")


def test_unix_sockets_speak_http_and_keep_alive(program: Program):
    http, keep = program.folder / "1209_0001.sock", program.folder / "keep.sock"
    program.start("-n", "-P", "61600", f"--uds-path={http}", f"--keep-alive={keep}")
    program.port()
    until_true(lambda: http.is_socket() and keep.is_socket(), "the sockets")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(keep))
        client.sendall(b"\x0bkeep-alive\0")
        assert client.recv(100) == b"\x04ack\0"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(http))
        client.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert client.recv(4).startswith(b"HTTP")
    program.process.send_signal(signal.SIGTERM)
    assert program.finish()[0] == 0
    assert not http.exists()
    assert not keep.exists()


def test_debug_stays_in_the_foreground_and_logs_everything(program: Program):
    program.start("-d", "-P", "61600")
    page(program.port())
    program.process.terminate()
    status, out, err = program.finish()
    assert (status, out) == (0, "")
    assert " info " in err


def test_an_unknown_interface_is_an_error_with_its_name():
    assert ippusbxd.address_of("lo") == "127.0.0.1"
    with pytest.raises(Exception, match="no-such-if"):
        ippusbxd.address_of("no-such-if")


def test_without_a_system_log_lines_go_to_standard_error(
    monkeypatch: pytest.MonkeyPatch, program: Program
):
    program.start("-n", "-l", "-P", "61600")
    assert program.port()


@pytest.mark.parametrize(
    "argv",
    [
        ["--no-such-option"],
        ["-p", "0"],
        ["-p", "65536"],
        ["-p", "60000", "-P", "60000"],
        ["-v", "xyz"],
        ["--bus-device", "1"],
        ["--only", "60000"],
        ["stray"],
    ],
    ids=" ".join,
)
def test_wrong_options_fail_with_usage(argv: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        ippusbxd.main(argv)
    assert stopped.value.code == 2
    assert "usage: ippusbxd" in capsys.readouterr().err


def test_help_names_every_documented_option(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        ippusbxd.main(["-h"])
    assert stopped.value.code == 0
    help_text = capsys.readouterr().out
    documented = (
        "-v --vid -m --pid -s --serial --bus --device --bus-device -p --only-port -P --from-port"
        " -i --interface -l --logging -q --verbose -d --debug -n --no-fork -B --no-broadcast -h"
        " --uds-path --keep-alive"
    )
    for option in documented.split():
        assert re.search(rf"(^|[\s,]){option}[\s,]", help_text), option


def test_state_errors_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys):
    def broken(_: object) -> None:
        raise StateError("the USB library is broken")

    assert ippusbxd.main(["-n", "-B"], make_host=broken) == 1
    assert capsys.readouterr().err == "ippusbxd: the USB library is broken\n"
