"""`ippusbxd --logging`: lines reach the system log in its format."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ippusbd import log


@pytest.fixture(autouse=True)
def _system_log_is_closed() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:]
    yield
    for handler in root.handlers:
        if handler not in before:
            handler.close()


def test_a_line_carries_facility_program_and_process(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "log"))
        journal.settimeout(10)
        log.to_syslog("ippusbxd", str(tmp_path / "log"))
        logging.getLogger("ippusbd.daemon").warning("%s: unplugged", "HP\nM28")
        line = journal.recv(1000).decode().rstrip("\0")
    lpr, warning = 6, 4
    assert line == f"<{lpr * 8 + warning}>ippusbxd[{os.getpid()}]: daemon: HP\\nM28: unplugged"


def test_without_a_system_log_lines_go_to_standard_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    handlers = logging.getLogger().handlers[:]
    log.to_syslog("ippusbxd", str(tmp_path / "none"))
    assert logging.getLogger().handlers == handlers
    assert "no system log" in caplog.text
