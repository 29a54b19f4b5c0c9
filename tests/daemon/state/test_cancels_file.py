"""Cancellations that a daemon leaves for the next one, within one boot."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ippusbd.daemon.state.cancels_file import NAME, save, take
from ippusbd.exchange.pending_cancels import boottime

KEPT = {"03f0:1234:SN1": [{"target": "/ipp/print"}]}


def test_what_is_left_is_read_once(tmp_path: Path):
    save(tmp_path, {**KEPT, "other": []}, boottime)
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert take(tmp_path, boottime) == KEPT
    assert take(tmp_path, boottime) == {}


def test_after_a_reboot_nothing_is_left(tmp_path: Path):
    save(tmp_path, KEPT, boottime)
    assert take(tmp_path, lambda: boottime() - 60) == {}


def test_with_nothing_to_leave_there_is_no_file(tmp_path: Path):
    save(tmp_path, KEPT, boottime)
    save(tmp_path, {"other": []}, boottime)
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"booted_at": "x"}', '{"booted_at": 0}', "7"])
def test_a_damaged_file_is_nothing(tmp_path: Path, content: str):
    (tmp_path / NAME).write_text(content)
    assert take(tmp_path, boottime) == {}
