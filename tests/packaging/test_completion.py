"""Bash completes what the commands' help lists."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "packaging/bash-completion/ippusbd"
ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
_ippusbd
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(*words: str) -> list[str]:
    """What Tab offers after `words`, the last of which is being typed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK, "bash", str(SCRIPT), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
        check=True,
        timeout=50,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands() -> None:
    offered = completed("ippusbd", "")
    assert {"run", "status", "check", "quirks", "retry", "forget", "virtual", "migrate"} <= set(
        offered
    )
    assert "COMMAND" not in offered
    assert completed("ippusbd", "sta") == ["status"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ippusbd", "run", "--idle"), ["--idle-exit"]),
        (("ippusbd", "-v", "status", "--js"), ["--json"]),
        (("ippusbxd", "--only"), ["--only-port"]),
        (("ippusbd", "run", "--personality", "stops-after"), ["stops-after-3k"]),
        (("ippusbd", "setup", "--init", "open"), ["openrc"]),
        (("ippusbd", "setup", "--uni"), ["--uninstall"]),
        (("ippusbd", "virtual", "--layout", "epson"), ["epson-et2826"]),
    ],
)
def test_options_and_their_values(words: tuple[str, ...], expected: list[str]) -> None:
    assert completed(*words) == expected


def test_files_after_an_option_that_takes_one(tmp_path: Path) -> None:
    (tmp_path / "own.conf").touch()
    found = completed("ippusbd", "run", "--config", f"{tmp_path}/ow")
    assert found == [f"{tmp_path}/own.conf"]


def test_without_a_daemon_there_are_no_completions_and_no_messages() -> None:
    completed("ippusbd", "retry", "")
