"""Does the daemon run, may we ask it, and has it ports to give?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ippusbd.config import Config
from ippusbd.doctor.findings import Finding, note, ok, problem
from ippusbd.doctor.machine import Machine
from ippusbd.proxy.admission.listening import is_free

SYSTEMD: Final = Path("/run/systemd/system")


@dataclass(frozen=True, slots=True)
class Answer:
    """The daemon's status; None, and why, when there is none."""

    status: Mapping[str, Any] | None
    refused: str = ""  # it runs, and does not tell us

    @property
    def pid(self) -> int | None:
        pid = (self.status or {}).get("pid")
        return pid if isinstance(pid, int) else None

    @property
    def printers(self) -> list[Mapping[str, Any]]:
        rows = (self.status or {}).get("printers") or []
        return [row for row in rows if isinstance(row, dict)]

    @property
    def serves(self) -> frozenset[str]:
        """Addresses of devices that the daemon has open."""
        return frozenset(str(row["address"]) for row in self.printers if row.get("address"))


def check(answer: Answer, config: Config, machine: Machine) -> Iterator[Finding]:
    """The daemon, then the ports it gives to printers."""
    if answer.refused:
        yield note("daemon", answer.refused, "say it as root, or see control_group in [daemon]")
    elif answer.status is None:
        yield problem("daemon", "the daemon does not run", _how_to_start(machine))
    else:
        phase, version = answer.status.get("phase"), answer.status.get("version")
        yield ok("daemon", f"ippusbd {version} is {phase}, process {answer.pid}")
        trouble = (answer.status.get("broker") or {}).get("trouble")
        if trouble and trouble != "switched off":
            yield problem(
                "broker", f"no Unix sockets for printers: {trouble}", "see [broker] dir and group"
            )
    yield from _ports(config)


def _how_to_start(machine: Machine) -> str:
    if SYSTEMD.exists() and machine.has("systemctl"):
        return "systemctl start ippusbd; why it ended says: journalctl -u ippusbd"
    return "ippusbd run"


def _ports(config: Config) -> Iterator[Finding]:
    """One free port is enough: the next printer's."""
    hosts = [host for host in (config.listen_ipv4, config.listen_ipv6) if host]
    ports = range(config.port_min, config.port_max + 1)
    if any(is_free(hosts, port) for port in ports):
        return
    yield problem(
        "ports",
        f"no port from {ports.start} to {ports.stop - 1} is free for another printer",
        "widen port_min and port_max in [listen], or end what listens there (ss -ltnp)",
    )
