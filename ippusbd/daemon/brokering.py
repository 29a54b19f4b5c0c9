"""The broker within the daemon: it resolves queries to the supervisor's printers.

It also decides when the daemon is idle: no request on any socket, no exchange
left unfinished by a client, no document that may still be printed, no keep-alive,
no printer being opened or probed, no plug or unplug. A broker that cannot open its
sockets ends nothing: printers are still served at their ports.

The only module that knows both the supervisor and the broker.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ippusbd.aio import first_of
from ippusbd.broker.idle import IdleClock, Sample
from ippusbd.broker.listeners import Listeners, ListenerSettings
from ippusbd.broker.protocols import BrokeredPrinter
from ippusbd.broker.server import Broker, BrokerSettings
from ippusbd.config import Config, broker_dir
from ippusbd.daemon.observe.status import BrokerStatus
from ippusbd.daemon.printer.states import State
from ippusbd.daemon.supervisor import Supervisor
from ippusbd.errors import ConfigError, StateError
from ippusbd.kinds import Diagnosis, Kind
from ippusbd.users.accounts import Allowed, group_id, user_id
from ippusbd.wire.broker import Question

if TYPE_CHECKING:
    from ippusbd.daemon.printer.printer import Printer
    from ippusbd.model import DeviceFacts

log = logging.getLogger("ippusbd.broker")

CUPS_GROUP: Final = "lp"
COMING: Final = frozenset({State.OPENING, State.PROBING})


class PrinterDirectory:
    """The supervisor's printers, as the broker looks them up."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._changed = asyncio.Event()
        self.changes = 0

    def changed(self) -> None:
        """A printer was plugged in or unplugged, answered, or failed."""
        self.changes += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def find(self, question: Question) -> BrokeredPrinter | None:
        """See `broker.protocols.Directory`."""
        await self._supervisor.looked()
        looked_again = False
        while True:
            changed = self._changed
            devices = [d for d in self._supervisor.devices() if _is_asked(question, *d[:2])]
            for _, printer, _ in devices:
                if printer is not None and printer.answers:
                    return printer.site
            if any(_is_coming(printer, reason) for _, printer, reason in devices):
                await changed.wait()
            elif looked_again:
                return None
            else:  # it may have been plugged in just now
                await self._supervisor.look()
                looked_again = True

    def ready(self) -> dict[Question, BrokeredPrinter]:
        """The first printer of each kind that answers."""
        first: dict[Question, BrokeredPrinter] = {}
        for facts, printer, _ in self._supervisor.devices():
            if printer is not None and printer.answers:
                first.setdefault(Question(facts.usb_id), printer.site)
        return first

    def questions(self) -> list[Question]:
        """One for each printer that is plugged in."""
        return [
            Question(facts.usb_id, facts.serial or facts.address.port_path)
            for facts in (p.facts or d for d, p, _ in self._supervisor.devices() if p is not None)
        ]

    def sample(self) -> Sample:
        """Current activity, for the idle clock."""
        busy = any(_is_coming(printer, why) for _, printer, why in self._supervisor.devices())
        count = self.changes
        for printer in self._supervisor.printers:  # unplugged ones, too: they answer 503
            count += printer.site.traffic.requests + printer.site.requests
            busy |= bool(printer.site.in_progress)
            if printer.pool is not None:
                status = printer.pool.status()
                busy |= bool(status.in_use or status.draining or status.waiting)
                busy |= printer.is_printing()
        return Sample(busy, count)


class Brokering:
    """The broker and the idle clock."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._directory: PrinterDirectory | None = None
        self._broker: Broker | None = None
        self._socket = ""
        self._trouble = "" if config.broker else "switched off"

    def changed(self) -> None:
        """A printer's state changed."""
        if self._directory is not None:
            self._directory.changed()
            self._offer()

    def _offer(self) -> None:
        """Open sockets for the printers that answer."""
        if self._directory is None or self._broker is None:
            return
        for question, printer in self._directory.ready().items():
            self._broker.offer(question, printer)

    def status(self) -> BrokerStatus:
        """Its socket, or why there is none."""
        return BrokerStatus(socket=self._socket, trouble=self._trouble)

    async def start(self, supervisor: Supervisor, inherited: Iterable[socket.socket] = ()) -> None:
        """Answer queries. Raises ConfigError for unknown users and groups in [broker]."""
        config = self._config
        self._directory = directory = PrinterDirectory(supervisor)
        clock = IdleClock(config.idle_exit_s or math.inf, look=directory.sample)
        folder = broker_dir(config, os.environ, os.getuid())
        settings = BrokerSettings()
        systemds = _unix_socket(inherited)
        if systemds is not None:
            path = Path(systemds.getsockname())
            folder, settings = path.parent, BrokerSettings(name=path.name)
        listeners = Listeners(self._listener_settings(folder))
        self._broker = Broker(directory, listeners, clock, settings)
        if not config.broker and systemds is None:
            return
        try:
            await self._broker.start(systemds)
        except StateError as exc:
            log.error("broker disabled: %s", exc)
            self._trouble = str(exc)
        else:
            self._socket, self._trouble = str(folder / settings.name), ""
        self._offer()

    async def until_idle(self, stop: asyncio.Event) -> None:
        """Wait until the daemon is idle for `idle_exit_s`, or `stop` is set."""
        assert self._broker is not None
        if not self._config.idle_exit_s:
            await stop.wait()
            return
        await first_of(self._broker.idle(), stop.wait())
        if not stop.is_set():
            log.info("idle for %.3g s: exiting", self._config.idle_exit_s)

    async def close(self) -> None:
        """Close the broker's sockets."""
        if self._broker is not None:
            await self._broker.close()

    def _listener_settings(self, folder: Path) -> ListenerSettings:
        config = self._config
        return ListenerSettings(
            folder=folder,
            gid=socket_group(config.broker_group),
            allowed=socket_clients(config),
        )


def socket_clients(config: Config) -> Allowed:
    """Who may use the Unix sockets. Raises ConfigError for unknown users and groups."""
    return Allowed(
        frozenset(user_id(name, "[broker] users") for name in config.broker_users),
        frozenset(group_id(name, "[broker] groups") for name in config.broker_groups),
    )


def _unix_socket(inherited: Iterable[socket.socket]) -> socket.socket | None:
    """The Unix socket among systemd's sockets; the others are closed."""
    found = None
    for listening in inherited:
        if found is None and listening.family == socket.AF_UNIX:
            found = listening
        else:
            log.warning("systemd passed a socket that the broker does not use: closed")
            listening.close()
    return found


def _is_asked(question: Question, device: DeviceFacts, printer: Printer | None) -> bool:
    """Whether this may be the printer; one without a serial number is identified by its port."""
    if device.usb_id != question.usb_id:
        return False
    facts = printer.facts if printer is not None else None
    if not question.serial or facts is None:  # the serial number is unknown until it is open
        return True
    return question.serial == (facts.serial or facts.address.port_path)


def _is_coming(printer: Printer | None, reason: Diagnosis) -> bool:
    return reason.kind == Kind.OPENING.label if printer is None else printer.state in COMING


def _may_set(gid: int) -> bool:
    return os.geteuid() == 0 or gid in os.getgroups()


def socket_group(name: str, may_set: Callable[[int], bool] = _may_set) -> int | None:
    """The group for the sockets; None: the daemon's own.

    CUPS' group, the default, is used if it exists and the daemon may set it. Raises ConfigError
    for any other group that does not exist.
    """
    if not name:
        return None
    try:
        gid = group_id(name, "[broker] group")
    except ConfigError:
        if name == CUPS_GROUP:
            return None
        raise
    return gid if name != CUPS_GROUP or may_set(gid) else None
