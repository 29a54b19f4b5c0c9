"""Every branch of the judgement has a row in `test_verdict`, and not only a random history."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ippusbd.daemon.recovery import verdict

ROWS = Path(__file__).with_name("test_verdict.py")


def test_the_rows_take_every_branch_of_the_verdict(tmp_path: Path):
    environ = os.environ | {"COVERAGE_FILE": str(tmp_path / "coverage")}
    coverage = (sys.executable, "-m", "coverage")
    pytest = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not hypothesis", str(ROWS))
    rows = subprocess.run(
        (*coverage, "run", "--branch", "--source", verdict.__name__, *pytest),
        env=environ,
        capture_output=True,
        text=True,
    )
    assert rows.returncode == 0, rows.stdout + rows.stderr
    report = subprocess.run(
        (*coverage, "report", "--show-missing", "--fail-under", "100"),
        env=environ,
        capture_output=True,
        text=True,
    )
    assert report.returncode == 0, report.stdout + report.stderr
    assert "verdict.py" in report.stdout
