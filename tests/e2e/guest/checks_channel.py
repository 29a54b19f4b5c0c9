"""The conformance suite of the bulk channels, on this kernel's bus."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from programs import run
from report import Failed, Group

PROJECT = Path(__file__).resolve().parents[3]
SUITE = "tests/usbio/test_channel_conformance.py"


@contextmanager
def nothing() -> Iterator[None]:
    """The suite plugs in what it needs."""
    yield


GROUP: Group[None] = Group("bulk channels", nothing)


def _suite(sentence: str, rig: str) -> None:
    @GROUP.check(f"{sentence} passes the conformance suite on this kernel")
    def check(_: None) -> str:
        out = run(
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("--rootdir", PROJECT, "-m", "guest", "-k", rig, PROJECT / SUITE),
            limit_s=300,
        )
        passed = re.search(r"^(\d+) passed", out, re.MULTILINE)
        if passed is None or int(passed[1]) < 30 or "skipped" in out:
            raise Failed(out[-2000:])
        return f"{passed[1]} tests"


_suite("the asynchronous Channel", "kernel-async")
_suite("the thread Channel", "kernel-threads")
