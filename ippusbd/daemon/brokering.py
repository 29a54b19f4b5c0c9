"""The broker in the daemon: where its questions meet the supervisor's printers.

Also decides when nobody wants the daemon any more: no request on any way in,
no answer owed to a client that left, no keep-alive, no printer on its way to
be served, nothing plugged or unplugged. A broker that cannot open its
sockets is a pity, not an end: printers are served at their ports all the same.

Knows the supervisor, the broker, systemd's sockets; the one place that does.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ippusbd.broker.idle import IdleClock, Sample
from ippusbd.broker.listeners import Listeners, ListenerSettings
from ippusbd.broker.protocols import BrokeredPrinter
from ippusbd.broker.server import Broker, BrokerSettings
from ippusbd.config import Config, broker_dir
from ippusbd.daemon.printer.states import State
from ippusbd.daemon.supervisor import BEING_OPENED, Supervisor
from ippusbd.errors import ConfigError, StateError
from ippusbd.users.accounts import Allowed, group_id, user_id
from ippusbd.wire.broker import Question

if TYPE_CHECKING:
    from ippusbd.daemon.printer.printer import Printer
    from ippusbd.model import DeviceFacts

log = logging.getLogger("ippusbd.broker")

CUPS_GROUP: Final = "lp"
COMING: Final = frozenset({State.OPENING, State.PROBING})


class PrinterDirectory:
    """The supervisor's printers, as the broker asks for them."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._changed = asyncio.Event()
        self.changes = 0

    def changed(self) -> None:
        """A printer came, went, answered, or failed."""
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
            else:  # it may have been plugged in this very moment
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
        """What goes on, for the idle clock."""
        busy, count = False, self.changes
        for _, printer, reason in self._supervisor.devices():
            busy |= _is_coming(printer, reason)
            if printer is None:
                continue
            count += printer.site.traffic.requests
            if printer.pool is not None:
                status = printer.pool.status()
                busy |= bool(status.in_use or status.draining or status.waiting)
        return Sample(busy, count)


class Brokering:
    """The broker and the idle clock, from start to end."""

    def __init__(self, config: Config, environ: Mapping[str, str] | None = None) -> None:
        self._config = config
        self._environ = os.environ if environ is None else environ
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
        """Have sockets for the printers that answer."""
        if self._directory is None or self._broker is None:
            return
        for question, printer in self._directory.ready().items():
            self._broker.offer(question, printer)

    def status(self) -> dict[str, str]:
        """The broker in `ippusbd status --json`: its socket, or why there is none."""
        return {"socket": self._socket, "trouble": self._trouble}

    async def start(self, supervisor: Supervisor, inherited: Iterable[socket.socket] = ()) -> None:
        """Answer questions from now on. Raises ConfigError for users or groups unknown here."""
        config = self._config
        self._directory = directory = PrinterDirectory(supervisor)
        clock = IdleClock(config.idle_exit_s or math.inf, look=directory.sample)
        folder = broker_dir(config, self._environ, os.getuid())
        settings = BrokerSettings()
        systemds = _unix_socket(inherited)
        if systemds is not None:
            path = Path(systemds.getsockname())
            folder, settings = path.parent, BrokerSettings(name=path.name)
        listeners = Listeners(self._door_settings(folder))
        self._broker = Broker(directory, listeners, clock, settings)
        if not config.broker and systemds is None:
            return
        try:
            await self._broker.start(systemds)
        except StateError as exc:
            log.error("no broker: %s", exc)
            self._trouble = str(exc)
        else:
            self._socket, self._trouble = str(folder / settings.name), ""
        self._offer()

    async def until_idle(self, stop: asyncio.Event) -> None:
        """Wait until nobody wants us any more, or `stop` is set."""
        assert self._broker is not None
        if not self._config.idle_exit_s:
            await stop.wait()
            return
        idle = asyncio.create_task(self._broker.idle(), name="idle-exit")
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait([idle, stopped], return_when=asyncio.FIRST_COMPLETED)
            if idle in done:
                log.info("nothing wanted for %.3g s: leaving", self._config.idle_exit_s)
        finally:
            idle.cancel()
            stopped.cancel()
            await asyncio.wait([idle, stopped])

    async def close(self) -> None:
        """Answer no more."""
        if self._broker is not None:
            await self._broker.close()

    def _door_settings(self, folder: Path) -> ListenerSettings:
        config = self._config
        return ListenerSettings(
            folder=folder,
            gid=socket_group(config.broker_group),
            allowed=Allowed(
                frozenset(user_id(name, "[broker] users") for name in config.broker_users),
                frozenset(group_id(name, "[broker] groups") for name in config.broker_groups),
            ),
        )


def _unix_socket(inherited: Iterable[socket.socket]) -> socket.socket | None:
    """The one of systemd's sockets that the broker listens on; others are closed."""
    found = None
    for listening in inherited:
        if found is None and listening.family == socket.AF_UNIX:
            found = listening
        else:
            log.warning("systemd passed a socket that is not the broker's: closed")
            listening.close()
    return found


def _is_asked(question: Question, device: DeviceFacts, printer: Printer | None) -> bool:
    """Whether this may be the printer; one without a serial number is known by its port."""
    if device.usb_id != question.usb_id:
        return False
    facts = printer.facts if printer is not None else None
    if not question.serial or facts is None:  # a serial number is not known before opening
        return True
    return question.serial == (facts.serial or facts.address.port_path)


def _is_coming(printer: Printer | None, reason: str) -> bool:
    return reason == BEING_OPENED if printer is None else printer.state in COMING


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
