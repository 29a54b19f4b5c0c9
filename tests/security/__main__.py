"""`make promises`: each guard of guards.toml is taken out of a copy; its test must fail there.

    python -m security [TEXT ...]      those whose test's name has one of the texts

Every test must pass in the copy as it is, too. Exit status 0: all did as they must.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from security.promises import PROJECT, Guard, guards

LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "dist", "build", "*.egg-info", ".*_cache")
TEST_S = 300
FAILED = re.compile(r"\d+ (failed|error)")  # an error: what the fixtures find left behind


def main() -> int:
    parser = argparse.ArgumentParser(prog="security", description=__doc__.splitlines()[0])
    parser.add_argument("texts", nargs="*", default=[""], metavar="TEXT")
    texts = parser.parse_args().texts
    chosen = [each for each in guards() if any(text in each.test for text in texts)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="promises-") as name:
        copy = Path(name) / "copy"
        shutil.copytree(PROJECT, copy, ignore=LEFT_OUT, symlinks=True)
        status, output = _run(copy, sorted({each.test for each in chosen}))
        print(output if status else f"{len(chosen)} guards; their tests pass with them", flush=True)
        unseen = [each for each in chosen if not _is_missed(copy, each)]
    print(f"{len(chosen)} guards taken out, {len(unseen)} not missed by their test,", end=" ")
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if unseen or status else 0


def _is_missed(copy: Path, guard: Guard) -> bool:
    """Whether the test fails without the guard."""
    path = copy / guard.file
    whole = path.read_text()
    path.write_text(guard.taken_out_of(whole))
    try:
        status, output = _run(copy, [guard.test])
    finally:
        path.write_text(whole)
    if status == 1 and FAILED.search(output):
        return True
    print(f"NOT MISSED: {guard.test}: {guard.file}: {guard.guard.splitlines()[0]}", flush=True)
    print(*output.splitlines()[-5:], sep="\n")
    return False


def _run(copy: Path, tests: list[str]) -> tuple[int, str]:
    """pytest's exit status and output for the tests of the copy, with the program of the copy."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", *tests]
    environ = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TEST_S * (1 + len(tests) // 10),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1, "no end in time"
    return done.returncode, done.stdout


if __name__ == "__main__":
    sys.exit(main())
