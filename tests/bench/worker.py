"""A separate process that does measured work on command: one JSON object a line, in and out.

The client must not share an interpreter with the daemon, nor the bare loop with the client.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

HERE = Path(__file__).parent
Numbers = dict[str, float]


class Worker:
    """`Worker("client.py", ...)` starts the script; `ask` has it do one thing."""

    def __init__(self, script: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, job: str, **arguments: object) -> Numbers:
        """Have it do `job`, and wait for its figures."""
        self.begin(job, **arguments)
        return self.figures()

    def begin(self, job: str, **arguments: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"job": job, **arguments}) + "\n")
        self._process.stdin.flush()

    def figures(self) -> Numbers:
        """Of what was begun."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"bench: {self._process.args!r} died")
        answer: Numbers = json.loads(line)
        return answer

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


def serve(jobs: Mapping[str, Callable[..., Numbers]]) -> None:
    """The worker's side: until standard input ends."""
    for line in sys.stdin:
        arguments = json.loads(line)
        answer = jobs[arguments.pop("job")](**arguments)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def cpu_s(pid: int) -> float:
    """User and system time of a process, in seconds."""
    return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3) on Linux


def rss_mib(pid: int) -> float:
    """Resident memory now."""
    return status_mib(pid, "VmRSS")


def status_mib(pid: int, name: str) -> float:
    """A size that the kernel keeps for a process, such as VmHWM: the peak of its memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"bench: no {name} of process {pid}")
