"""A replaced file is seen whole, old or new."""

from __future__ import annotations

from pathlib import Path

from ippusbd.daemon.state.files import replace_file


def test_a_reader_of_a_replaced_file_never_sees_half_of_it(tmp_path: Path):
    target = tmp_path / "f"
    replace_file(target, b"old")
    held = target.open("rb")
    replace_file(target, b"new")
    with held:
        assert held.read() == b"old"
    assert target.read_bytes() == b"new"
