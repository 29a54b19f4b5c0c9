"""Buffers that come again and again cost no page faults."""

from __future__ import annotations

import subprocess
import sys

FAULTS = """
import resource, sys
from ippusbd.daemon.process.tuning import keep_buffers
if sys.argv[1] == "keep":
    assert keep_buffers()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for n in range(400):
    if n == 100:
        before = faults()
    blocks = [bytes(600_000) for _ in range(5)]
    del blocks
print(faults() - before)
"""


def faults(how: str) -> int:
    out = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True)
    return int(out.stdout)


def test_kept_buffers_are_not_faulted_in_again():
    assert faults("keep") < faults("plain") / 5
