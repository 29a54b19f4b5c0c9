"""Does the daemon run, may this user query it, and are ports free for printers?"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ippusbd.broker.server import BrokerSettings
from ippusbd.config import SYSTEM_BROKER, Config
from ippusbd.daemon.observe.status import PrinterStatus, Status
from ippusbd.doctor.findings import Finding, ok, told
from ippusbd.doctor.machine import Machine
from ippusbd.init_system import Init
from ippusbd.kinds import Kind
from ippusbd.proxy.admission.listeners import is_free

CHECK: Final = "daemon"


@dataclass(frozen=True, slots=True)
class Answer:
    """The daemon's status; None if it does not run or refuses to answer."""

    status: Status | None
    refused: str = ""  # why a running daemon did not answer

    @property
    def runs(self) -> bool:
        return self.status is not None or bool(self.refused)

    @property
    def printers(self) -> tuple[PrinterStatus, ...]:
        return self.status.printers if self.status is not None else ()

    @property
    def serves(self) -> frozenset[str]:
        """Addresses of devices that the daemon has open."""
        return frozenset(row.address for row in self.printers if row.address)


def check(answer: Answer, config: Config, machine: Machine, needed: bool) -> Iterator[Finding]:
    """The daemon, then the ports for its printers. `needed`: there is a printer to serve."""
    if answer.runs:
        yield running(answer)
    else:
        yield _absent(machine, needed)
    trouble = answer.status.broker.trouble if answer.status is not None else ""
    if trouble and trouble != "switched off":
        yield told(Kind.NO_SOCKETS.of(why=trouble), check="broker")
    yield from ports(config)


def running(answer: Answer) -> Finding:
    """A daemon that answers, or refuses to."""
    if answer.status is None:
        return told(Kind.CONTROL.of(answer.refused), check=CHECK)
    now = answer.status
    return ok(CHECK, f"ippusbd {now.version} is {now.phase}, process {now.pid}")


def _absent(machine: Machine, needed: bool) -> Finding:
    """A daemon that does not run: its service may have ended because no printer is there."""
    commands = machine.commands
    if commands.is_on_demand:
        if machine.listens(str(SYSTEM_BROKER / BrokerSettings().name)):
            return ok(CHECK, "on demand: the daemon starts with the first client that asks")
        return told(
            Kind.NOT_RUNNING.on(commands, "the socket of the broker is closed"),
            check=CHECK,
        )
    by_udev = commands.has_service and commands.init is Init.SYSTEMD
    if by_udev and (how := _failure(machine)):
        return told(Kind.SERVICE_FAILED.on(commands, how=how), check=CHECK)
    if needed:
        return told(Kind.NOT_RUNNING.on(commands), check=CHECK)
    if by_udev:
        return ok(CHECK, "the service is not running: it starts with the first printer")
    return told(Kind.NOT_NEEDED.on(commands), check=CHECK)


def _failure(machine: Machine) -> str:
    """How the service ended, if systemd calls it failed."""
    shown = "ActiveState,Result,ExecMainStatus"
    status, out = machine.run(["systemctl", "show", "ippusbd.service", "-p", shown])
    now = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    if status != 0 or now.get("ActiveState") != "failed":
        return ""
    return f"{now.get('Result', '?')}, exit status {now.get('ExecMainStatus', '?')}"


def ports(config: Config) -> Iterator[Finding]:
    """One free port is enough, for the next printer."""
    ports = range(config.port_min, config.port_max + 1)
    if any(is_free(config.listen_addresses, port) for port in ports):
        return
    yield told(Kind.PORTS.of(first=ports.start, last=ports.stop - 1))


def log_lines(machine: Machine, count: int) -> Iterator[str]:
    """The last lines of the service's log, as far as this user may read it."""
    commands = machine.commands
    if commands.init is Init.SYSTEMD:
        units = ["-u", "ippusbd", "-u", "ippusbd-broker"]
        form = ["-n", str(count), "--no-pager", "--no-hostname", "-o", "short-iso"]
        _, out = machine.run(["journalctl", *units, *form])
        yield from out.splitlines()
        return
    for path in commands.log_files:
        with suppress(OSError), path.open(errors="replace") as file:
            yield from deque((line.rstrip() for line in file if "ippusbd" in line), count)
