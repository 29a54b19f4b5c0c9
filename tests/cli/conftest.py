"""A daemon as a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess, Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[DaemonProcess] = []

    def start(*options: str, redirection: str = "", own: str = "") -> DaemonProcess:
        started.append(DaemonProcess(tmp_path, *options, redirection=redirection, own=own))
        return started[-1]

    yield start
    for daemon in started:
        daemon.close()
