"""The machine that is examined: where its files are, which user we are, which programs run.

Root directories are arguments, so that a test can provide a machine with faults. Everything here
only reads and blocks for moments; what it has no permission to see is treated as absent.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ippusbd.local_commands import PRINTER_GROUP, SBIN, SERVICE_USER, LocalCommands
from ippusbd.wire.text import one_line

RUN_S: Final = 15.0
ACCEPTS: Final = 1 << 16  # __SO_ACCEPTCON


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """The daemon's if it runs, its service's if there is one, otherwise our own."""

    uid: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True)
class Machine:
    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")
    etc: Path = Path("/etc")
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    sbin: str = SBIN  # searched, too: users' PATHs often lack it
    config: Path | None = None  # named on the command line

    def processes(self) -> Iterator[Process]:
        """All visible processes."""
        for folder in self.proc.glob("[0-9]*"):
            with suppress(OSError):
                name = (folder / "comm").read_text(errors="replace").strip()
                yield Process(int(folder.name), one_line(name, 32))

    def named(self, *names: str) -> list[Process]:
        """Processes with one of these names, of which the kernel keeps fifteen characters."""
        short = {name[:15] for name in names}
        return [process for process in self.processes() if process.name in short]

    def credentials(self, pid: int | None) -> Credentials:
        """Those of process `pid`; without one those that it would have."""
        if pid is not None:
            with suppress(OSError, ValueError, KeyError):
                return _credentials((self.proc / str(pid) / "status").read_text())
        elif self.commands.has_service:
            with suppress(KeyError):
                user, group = pwd.getpwnam(SERVICE_USER), grp.getgrnam(PRINTER_GROUP)
                return Credentials(user.pw_uid, frozenset((user.pw_gid, group.gr_gid)))
        return Credentials(os.geteuid(), frozenset((os.getegid(), *os.getgroups())))

    def has(self, program: str) -> bool:
        return shutil.which(program, path=self.environ.get("PATH", "") + self.sbin) is not None

    @property
    def root(self) -> Path:
        return self.etc.parent

    @property
    def commands(self) -> LocalCommands:
        path = self.environ.get("PATH", "")
        return LocalCommands(root=self.root, config=self.config, path=path, sbin=self.sbin)

    def listens(self, path: str) -> bool:
        """Whether a program accepts connections at this Unix socket."""
        with suppress(OSError):
            for line in (self.proc / "net/unix").read_text(errors="replace").splitlines():
                fields = line.split(maxsplit=7)
                if fields[7:] == [path] and int(fields[3], 16) & ACCEPTS:
                    return True
        return False

    def run(self, argv: Sequence[str], timeout_s: float = RUN_S) -> tuple[int, str]:
        """Exit status and output of a program; 127 if it does not exist, 124 if it hangs."""
        path = self.environ.get("PATH", "") + self.sbin
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
    """From /proc/PID/status: effective ids and supplementary groups."""
    table = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    groups = {int(table["Gid"].split()[1]), *map(int, table.get("Groups", "").split())}
    return Credentials(int(table["Uid"].split()[1]), frozenset(groups))
