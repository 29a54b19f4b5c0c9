"""The two daemons that are compared, each as its package runs it, behind one interface.

Only one runs at a time: both need the same printer. Ours runs as its service
file says, under its own user; ipp-usb as root with the configuration that
Debian ships (`quiet` switches its logs off, to see what they cost).

Knows processes and what /proc says of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab import LOGS, Daemon
from programs import Service, until
from report import Failed

TICKS = os.sysconf("SC_CLK_TCK")
PEER_STATE = Path("/var/ipp-usb/dev")
PEER_CONFIG = Path("/etc/ipp-usb/ipp-usb.conf")


@dataclass(frozen=True)
class Running:
    """A daemon that serves the printer."""

    pid: int
    port: int

    def cpu_s(self) -> float:
        """User and system time of all its threads so far."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def page_faults(self) -> int:
        """Pages that the kernel had to map anew; expensive in both engines."""
        return int(self._stat()[7])

    def _stat(self) -> list[str]:
        """Of proc(5), from the process state on."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()

    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        if found is None:
            raise Failed(f"no VmRSS of {self.pid}: {status}")
        return int(found[1]) / 1024


class Server(Protocol):
    """One of the daemons, not yet started."""

    @property
    def label(self) -> str: ...

    @property
    def is_peer(self) -> bool: ...

    def run(self) -> Iterator[Running]:
        """A context in which it serves the printer that is plugged in."""


@dataclass(frozen=True)
class Ours:
    """`ippusbd run`; `channel` and `transfer_kb` are settings of [usb], 0 and "" the defaults."""

    channel: str = ""
    transfer_kb: int = 0
    is_peer = False

    @property
    def label(self) -> str:
        parts = [self.channel, f"{self.transfer_kb}K" if self.transfer_kb else ""]
        return "-".join(["ippusbd", *filter(None, parts)])

    @contextmanager
    def run(self) -> Iterator[Running]:
        daemon = Daemon("--config", self._config())
        try:
            (status,) = daemon.ready()
            yield Running(daemon.service.pid, status["port"])
        finally:
            daemon.stop()

    def _config(self) -> Path:
        lines = ["[usb]"]
        if self.channel:
            lines.append(f'channel = "{self.channel}"')
        if self.transfer_kb:
            lines.append(f"transfer_bytes = {self.transfer_kb * 1024}")
        path = Path(f"/run/{self.label}.conf")
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o644)
        return path


@dataclass(frozen=True)
class Peer:
    """`ipp-usb standalone`."""

    quiet: bool = False
    is_peer = True

    @property
    def label(self) -> str:
        return "ipp-usb-quiet" if self.quiet else "ipp-usb"

    @contextmanager
    def run(self) -> Iterator[Running]:
        if self.quiet:
            text = PEER_CONFIG.read_text()
            PEER_CONFIG.write_text(re.sub(r"(?m)^(\s*[a-z]+-log\s*=).*", r"\1 error", text))
        service = Service("ipp-usb", ("/usr/sbin/ipp-usb", "standalone"), LOGS / "ipp-usb.log")
        try:
            port = until(lambda: service.must_run() and self._port(), "ipp-usb's port")
            yield Running(service.pid, port)
        finally:
            service.stop()

    @staticmethod
    def _port() -> int:
        """The port in its state file; it opens the port a moment later."""
        for path in PEER_STATE.glob("*.state"):
            if found := re.search(r"http-port\s*=\s*(\d+)", path.read_text()):
                return int(found[1])
        return 0
