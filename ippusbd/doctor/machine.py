"""The machine that is examined: where its files are, which user we are, which programs run.

Root directories are arguments, so that a test can provide a machine with faults. Everything here
only reads and blocks for moments; what it has no permission to see is treated as absent.
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

from ippusbd.doctor import installation
from ippusbd.wire.text import one_line

RUN_S: Final = 15.0
# Where systemd looks for units, the administrator's first.
UNITS: Final = (
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
)
SBIN: Final = ":/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """The daemon's if it runs, otherwise our own."""

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
        """Those of process `pid`; our own if it is None or not visible."""
        if pid is not None:
            with suppress(OSError, ValueError, KeyError):
                return _credentials((self.proc / str(pid) / "status").read_text())
        return Credentials(os.geteuid(), frozenset((os.getegid(), *os.getgroups())))

    def has(self, program: str) -> bool:
        return shutil.which(program, path=self.environ.get("PATH", "") + SBIN) is not None

    def how_to_start(self) -> str:
        """The command that starts the daemon: its service, where there is one."""
        root = self.etc.parent
        units = [
            path
            for each in UNITS
            if (path := root / each / "ippusbd.service").is_symlink() or path.exists()
        ]
        if not units or not (root / "run/systemd/system").is_dir():
            return installation.start_command(root) or "ippusbd run"
        masked = units[0].is_symlink() and str(units[0].readlink()) == "/dev/null"
        return f"systemctl start ippusbd{'-broker.socket' if masked else ''}"

    def run(self, argv: Sequence[str], timeout_s: float = RUN_S) -> tuple[int, str]:
        """Exit status and output of a program; 127 if it does not exist, 124 if it hangs."""
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
    """From /proc/PID/status: effective ids and supplementary groups."""
    table = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    groups = {int(table["Gid"].split()[1]), *map(int, table.get("Groups", "").split())}
    return Credentials(int(table["Uid"].split()[1]), frozenset(groups))
