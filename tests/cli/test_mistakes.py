"""Ordinary mistakes: one line that names them, and the exit code of the help."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.daemon_process import Start, python_of_everybody
from support.waiting import until_true

from ippusbd.cli import ippusbxd
from ippusbd.cli import main as cli

HALF_A_PRINT_JOB = (
    b"POST /ipp/print HTTP/1.1",
    b"Host: localhost",
    b"Content-Type: application/ipp",
    b"Content-Length: 99999",
    b"",
    b"\x02\x00\x00\x02\x00\x00\x00\x01\x01G\x00\x12attributes-charset\x00\x05utf-8"
    b"H\x00\x1battributes-natural-language\x00\x02en"
    b"E\x00\x0bprinter-uri\x00\x1fipp://localhost:60000/ipp/print\x03",
)
NOTHING = '[daemon]\nstate_dir = "{0}/state"\nruntime_dir = "{0}/run"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "ippusbd.conf"
    path.write_text(NOTHING.format(tmp_path))
    return path


# --- options that mean nothing together, and values out of range


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["run", "--personality", "slow"], "--personality needs --virtual"),
        (["run", "--interfaces", "3"], "--interfaces needs --virtual"),
        (["run", "--no-serial"], "--no-serial needs --virtual"),
        (["run", "--model-file", "x"], "--model-file needs --virtual"),
        (["run", "--store", "x"], "--store needs --virtual"),
        (["run", "--virtual-control", "x"], "--virtual-control needs --virtual"),
        (["virtual", "--tell", "list", "--attach"], "--attach has no effect"),
        (["virtual", "--tell", "list", "--printers", "2"], "--printers has no effect"),
        (["virtual", "--usbip", "127.0.0.1:65536"], "is not ADDR:PORT"),
        (["quirks", "--all"], "--all needs --device"),
        (["log", "loud"], "unknown level loud"),
        (["log", "info", "usbip"], "unknown area usbip"),
        (["trace", "X", "-o", "x", "--seconds", "0"], "must be a number above 0"),
        (["trace", "X", "-o", "x", "--max-size", "-1"], "must be a number above 0"),
        (["trace", "X", "-o", "x", "--seconds", "nan"], "must be a number above 0"),
    ],
)
def test_wrong_usage_is_named_and_exits_with_2(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
):
    try:
        code = cli.main(argv)
    except SystemExit as exc:
        code = int(exc.code or 0)
    assert code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [["--bus", "1"], ["--device", "1"], ["--bus", "1", "--device", "2", "--bus-device", "1:2"]],
)
def test_ippusbxd_refuses_half_an_address(argv: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        ippusbxd.main(["-n", *argv])
    assert "--bus" in capsys.readouterr().err.splitlines()[-1]


# --- failures that are no wrong usage


@pytest.mark.parametrize(
    "argv",
    [
        ["run", "--virtual", "--store", "{file}/x"],
        ["run", "--virtual", "--virtual-control", "{file}/x"],
        ["virtual", "--usbip", "192.0.2.1:3240"],
        ["virtual", "--usbip", "127.0.0.1:0", "--control", "{file}/x"],
        ["virtual", "--usbip", "127.0.0.1:0", "--store", "{file}/x"],
        ["capture", "ipp://127.0.0.1:1/", "-o", "{file}"],
    ],
)
def test_what_the_machine_refuses_is_one_line_and_exits_with_1(
    argv: list[str], config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").touch()
    argv = [each.format(file=tmp_path / "file") for each in argv]
    if argv[0] == "run":
        argv += ["--config", str(config)]
    if argv[0] == "virtual" and "--control" not in argv:
        argv += ["--control", str(tmp_path / "virtual.sock")]
    assert cli.main(argv) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("ippusbd: ")


@pytest.mark.parametrize("command", ["run --virtual", "virtual --usbip 127.0.0.1:0"])
def test_a_missing_package_of_the_virtual_printer_is_named(
    command: str, config: Path, tmp_path: Path
):
    without = tmp_path / "without"
    without.mkdir()
    (without / "h11.py").write_text("raise ModuleNotFoundError('No module h11', name='h11')\n")
    argv = [sys.executable, "-m", "ippusbd", *command.split()]
    if command.startswith("run"):
        argv += ["--config", str(config)]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "PYTHONPATH": str(without), "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert done.returncode == 1
    assert done.stderr == (
        "ippusbd: this needs the Python package h11: apt install python3-h11 python3-pil,"
        " or pip install 'ippusbd[virtual]'\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_configuration_folder_that_may_not_be_read_is_named(tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    python, environ = python_of_everybody()
    done = subprocess.run(
        [python, "-m", "ippusbd", "status"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        user=12345,
        group=12345,
        extra_groups=(),
        cwd="/",
        env={**environ, "HOME": str(home), "PATH": "/usr/bin"},
    )
    assert done.returncode == 2
    path = home / ".config/ippusbd/ippusbd.conf"
    said, _ = done.stderr.splitlines()
    assert said == f"ippusbd: {path}: Permission denied; name another file with --config"


# --- what run refuses, check refuses


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('[broker]\nusers = ["nosuch"]\n', "[broker] users: there is no user nosuch"),
        ('[broker]\ngroups = ["nosuch"]\n', "[broker] groups: there is no group nosuch"),
        ('[broker]\ngroup = "nosuch"\n', "[broker] group: there is no group nosuch"),
        ('[access]\nprint = ["@nosuch"]\n', "[access] print: there is no group nosuch"),
        ('control_group = "nosuch"\n', "[daemon] control_group: there is no group nosuch"),
        ('quirks_dirs = ["/dev/null"]\n', "[daemon] quirks_dirs: /dev/null: Not a directory"),
        (
            '[dnssd]\npublisher = "static"\nstatic_dir = "/tmp"\nstatic_template = "/nosuch"\n',
            "[dnssd] static_template: /nosuch: No such file or directory",
        ),
    ],
)
@pytest.mark.parametrize("command", [["check"], ["run", "--virtual"]])
def test_a_wrong_setting_is_refused_by_check_as_by_run(
    command: list[str], more: str, words: str, config: Path, capsys: pytest.CaptureFixture[str]
):
    config.write_text(config.read_text() + more)
    assert cli.main([*command, "--config", str(config)]) == 2
    assert f"ippusbd: {words}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            '[dnssd]\npublisher = "static"\nstatic_dir = "/nosuch"\n',
            "FAIL  static: /nosuch: it is no folder\n      -> set another static_dir in "
            "[dnssd], or run: mkdir /nosuch",
        ),
        ("", "longer than the 106 bytes a socket may have\n      -> set another runtime_dir"),
    ],
    ids=["static_dir", "long path"],
)
def test_what_would_fail_later_is_found_by_check(
    more: str, words: str, config: Path, tmp_path: Path
):
    if not more:
        long = tmp_path / ("x" * 100)
        config.write_text(f'[daemon]\nstate_dir = "{tmp_path}"\nruntime_dir = "{long}"\n')
    else:
        config.write_text(config.read_text() + more)
    argv = [sys.executable, "-m", "ippusbd", "check", "--config", str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert words in done.stdout


# --- signals


def test_a_second_sigint_ends_the_daemon_at_once_and_without_a_traceback(start: Start):
    daemon = start("--virtual", own="grace_s = 60\n")
    url = urlsplit(daemon.ready()["url"])
    with socket.create_connection((url.hostname, url.port)) as client:
        client.sendall(b"\r\n".join(HALF_A_PRINT_JOB) + bytes(50_000))
        until_true(lambda: daemon.ready()["interfaces"]["in_use"])
        daemon.process.send_signal(signal.SIGINT)
        until_true(lambda: "requests in progress have 60 s" in daemon.log)
        assert daemon.stop(signal.SIGINT) == -signal.SIGINT
    assert "Traceback" not in daemon.log


# --- success is said when it is one


def test_the_status_page_is_announced_only_if_it_is_served(start: Start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon = start("--virtual", "--page", str(port))
        said = daemon.lines("  print  ")
    assert not any("status page" in line for line in said)
    assert "status page disabled" in daemon.log
