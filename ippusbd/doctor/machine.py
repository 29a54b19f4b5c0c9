"""The machine that is looked at: where its files are, who we are, which programs run.

Roots are arguments, so that a test can show a machine that is ill. Everything here only
reads, blocks for moments, and takes what it may not see for not being there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ippusbd.wire.text import one_line

RUN_S: Final = 15.0
SBIN: Final = ":/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of the daemon if it runs, else our own."""

    uid: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True)
class Machine:
    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")
    etc: Path = Path("/etc")
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def processes(self) -> Iterator[Process]:
        """All that may be seen."""
        for folder in self.proc.glob("[0-9]*"):
            with suppress(OSError):
                name = (folder / "comm").read_text(errors="replace").strip()
                yield Process(int(folder.name), one_line(name, 32))

    def named(self, *names: str) -> list[Process]:
        """Processes with one of these names; the kernel keeps fifteen characters of them."""
        short = {name[:15] for name in names}
        return [process for process in self.processes() if process.name in short]

    def credentials(self, pid: int | None) -> Credentials:
        """Of a process; of ours when there is none, or when it may not be seen."""
        if pid is not None:
            with suppress(OSError, ValueError, KeyError):
                return _credentials((self.proc / str(pid) / "status").read_text())
        return Credentials(os.geteuid(), frozenset((os.getegid(), *os.getgroups())))

    def has(self, program: str) -> bool:
        return shutil.which(program, path=self.environ.get("PATH", "") + SBIN) is not None

    def run(self, argv: Sequence[str], timeout_s: float = RUN_S) -> tuple[int, str]:
        """Status and all output of a program; 127 when it is not there, 124 when it hangs."""
        path = self.environ.get("PATH", "") + SBIN
        try:
            done = subprocess.run(
                argv,
                env={**self.environ, "PATH": path, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
            )
        except OSError:
            return 127, ""
        except subprocess.TimeoutExpired:
            return 124, ""
        return done.returncode, done.stdout.decode("utf-8", "replace")


def _credentials(status: str) -> Credentials:
    """Out of /proc/PID/status: effective ids, and the groups beside them."""
    table = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    groups = {int(table["Gid"].split()[1]), *map(int, table.get("Groups", "").split())}
    return Credentials(int(table["Uid"].split()[1]), frozenset(groups))
