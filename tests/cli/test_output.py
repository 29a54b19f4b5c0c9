"""Standard output that is closed, full or without a reader: of the daemon, and of commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.daemon_process import Start

IPPUSBD = f"{sys.executable} -m ippusbd"


@pytest.mark.parametrize(
    "redirection",
    [">/dev/full", ">&-", ">&- 2>&-", "<&- >&- 2>&-", "| true"],
    ids=["full", "closed", "both closed", "all closed", "without a reader"],
)
def test_a_printer_is_served_whatever_happens_to_standard_output(start: Start, redirection: str):
    if redirection.startswith("|"):
        daemon = start("--virtual")  # its standard output is a pipe
        assert daemon.process.stdout is not None
        daemon.process.stdout.close()
    else:
        daemon = start("--virtual", redirection=redirection)
    printer = daemon.ready()
    assert printer["reason"] is None
    assert "Traceback" not in daemon.log
    assert daemon.stop() == 0


def test_an_idle_exit_with_a_dead_standard_output_is_a_success(start: Start):
    daemon = start("--virtual", "--idle-exit", "100ms", redirection=">/dev/full")
    assert daemon.process.wait(timeout=20) == 0, daemon.log


def shell(line: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", line],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, **environ},
        timeout=30,
    )


@pytest.mark.parametrize(
    "command",
    [
        "version",
        "quirks",
        "run --personality help",
        "virtual --personality help",
        "virtual --layout help",
        "check --config {config}",
        "doctor --json --config {config}",
        "echo secret | {ippusbd} password anna",
    ],
)
def test_a_result_on_a_full_device_is_a_failure_in_one_line(command: str, tmp_path: Path):
    config = tmp_path / "ippusbd.conf"
    config.write_text(f'[daemon]\nstate_dir = "{tmp_path}"\nruntime_dir = "{tmp_path}"\n')
    line = command if "{ippusbd}" in command else f"{IPPUSBD} {command}"
    done = shell(line.format(ippusbd=IPPUSBD, config=config) + " >/dev/full")
    assert done.stderr == "ippusbd: cannot write to standard output: No space left on device\n"
    assert done.returncode == 1


def test_a_name_that_the_locale_cannot_show_is_printed_with_escapes(tmp_path: Path):
    quirks = tmp_path / "quirks"
    quirks.mkdir()
    (quirks / "a.toml").write_text(
        '[[quirk]]\nmodel = "Drucker"\nreason = "für Zoë"\nmax_interfaces = 1\n'
    )
    config = tmp_path / "ippusbd.conf"
    config.write_text(f'[daemon]\nquirks_dirs = ["{quirks}"]\n')
    done = shell(
        f"{IPPUSBD} quirks --device Drucker --config {config}", PYTHONIOENCODING="ascii:strict"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "reason f\\xfcr Zo\\xeb" in done.stdout
