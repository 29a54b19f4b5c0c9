"""Does the daemon run, may this user query it, and are ports free for printers?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ippusbd.config import Config
from ippusbd.daemon.observe.status import PrinterStatus, Status
from ippusbd.doctor import installation
from ippusbd.doctor.findings import Finding, note, ok, problem, told
from ippusbd.doctor.machine import Machine
from ippusbd.kinds import Kind
from ippusbd.proxy.admission.listeners import is_free

SYSTEMD: Final = Path("/run/systemd/system")


@dataclass(frozen=True, slots=True)
class Answer:
    """The daemon's status; None if it does not run or refuses to answer."""

    status: Status | None
    refused: str = ""  # why a running daemon did not answer

    @property
    def printers(self) -> tuple[PrinterStatus, ...]:
        return self.status.printers if self.status is not None else ()

    @property
    def serves(self) -> frozenset[str]:
        """Addresses of devices that the daemon has open."""
        return frozenset(row.address for row in self.printers if row.address)


def check(answer: Answer, config: Config, machine: Machine) -> Iterator[Finding]:
    """The daemon, then the ports for its printers."""
    if answer.status is None and not answer.refused:
        yield problem("daemon", "the daemon is not running", _how_to_start(machine))
    else:
        yield before_start(answer)
        trouble = answer.status.broker.trouble if answer.status is not None else ""
        if trouble and trouble != "switched off":
            yield problem(
                "broker", f"no Unix sockets for printers: {trouble}", "see [broker] dir and group"
            )
    yield from _ports(config)


def before_start(answer: Answer) -> Finding:
    """As `check` says it: a daemon that does not run yet is no problem."""
    if answer.refused:
        return note("daemon", answer.refused, "run this as root, or see control_group in [daemon]")
    if answer.status is None:
        return note("daemon", "the daemon is not running", "ippusbd run")
    now = answer.status
    return ok("daemon", f"ippusbd {now.version} is {now.phase}, process {now.pid}")


def _how_to_start(machine: Machine) -> str:
    command = installation.start_command(Path("/"))
    if command:
        return command
    if SYSTEMD.exists() and machine.has("systemctl"):
        return "systemctl start ippusbd; to see why it exited: journalctl -u ippusbd"
    return "ippusbd run; for a service: sudo ippusbd setup"


def _ports(config: Config) -> Iterator[Finding]:
    """One free port is enough, for the next printer."""
    ports = range(config.port_min, config.port_max + 1)
    if any(is_free(config.listen_addresses, port) for port in ports):
        return
    yield told(Kind.PORTS.of(first=ports.start, last=ports.stop - 1))
