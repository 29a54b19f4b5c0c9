"""One daemon at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ippusbd.daemon.process.instance import only_instance
from ippusbd.errors import StateError


def test_a_second_instance_is_refused_with_the_process_that_runs(tmp_path: Path):
    lock = tmp_path / "run" / "lock"
    refused = pytest.raises(StateError, match=f"process {os.getpid()} holds")
    with only_instance(lock), refused, only_instance(lock):
        pass
    with only_instance(lock):
        pass


def test_a_killed_instance_leaves_no_lock(tmp_path: Path):
    lock = tmp_path / "lock"
    code = (
        "import os, sys; from pathlib import Path\n"
        "from ippusbd.daemon.process.instance import only_instance\n"
        "with only_instance(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StateError, match=f"process {other.pid} holds"), only_instance(lock):
            pass
        other.kill()
        other.wait()
    with only_instance(lock):
        assert lock.read_text() == f"{os.getpid()}\n"
