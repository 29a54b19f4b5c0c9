"""Serves one printer until it is unplugged (ippusbxd).

The printer is chosen once, by USB ids, serial number or bus address; a replug
is left to another process. The supervisor does the rest: it sees a bus with
nothing else on it.

Knows the supervisor and the broker's sockets; no command line.
"""

from __future__ import annotations

import asyncio
import logging
import math
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from ippusbd.aio import cancel_and_wait, first_of
from ippusbd.broker.idle import IdleClock
from ippusbd.broker.listeners import Listeners, ListenerSettings
from ippusbd.broker.server import Broker, BrokerSettings
from ippusbd.config import Config
from ippusbd.daemon.brokering import PrinterDirectory
from ippusbd.daemon.printer.printer import Printer, Services
from ippusbd.daemon.printer.states import State
from ippusbd.daemon.process.systemd import stop_on_signals
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.daemon.supervisor import Supervisor
from ippusbd.dnssd.scope import loopback
from ippusbd.dnssd.select import make_publisher
from ippusbd.errors import NotUsable, StateError
from ippusbd.kinds import Kind
from ippusbd.model import DeviceFacts
from ippusbd.proxy.admission.listeners import existing
from ippusbd.quirks.load import load
from ippusbd.usbio.protocols import UsbDevice, UsbHost

log = logging.getLogger("ippusbd.daemon")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The wanted device; None and empty: any."""

    vendor: int | None = None
    product: int | None = None
    serial: str = ""
    bus: int | None = None
    address: int | None = None

    def admits(self, facts: DeviceFacts) -> bool:
        """Compare all but the serial number, which is known only when the device is open."""
        pairs = (
            (self.vendor, facts.usb_id.vendor),
            (self.product, facts.usb_id.product),
            (self.bus, facts.address.bus),
            (self.address, facts.address.address),
        )
        return all(wanted in (None, found) for wanted, found in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the printer listens: one of `ports`, and Unix sockets (None: no socket)."""

    ports: range
    http: Path | None = None
    keep_alive: Path | None = None


class OneDevice:
    """A UsbHost with only the chosen device; `gone` is set when that is unplugged."""

    def __init__(self, host: UsbHost) -> None:
        self._host = host
        self._chosen: DeviceFacts | None = None
        self.gone = asyncio.Event()

    async def choose(self, choice: Choice) -> None:
        """The first device that `choice` admits. Raises NotUsable when there is none."""
        for facts in await self._host.enumerate():
            if choice.admits(facts) and await self._has_serial(facts, choice.serial):
                self._chosen = facts
                return
        raise NotUsable("no such printer is connected")

    async def _has_serial(self, facts: DeviceFacts, serial: str) -> bool:
        if not serial:
            return True
        device = await self._host.open(facts)
        try:
            return device.facts.serial == serial
        finally:
            await device.close()

    async def enumerate(self) -> list[DeviceFacts]:
        """The device, until it is unplugged; a device plugged in later is another one."""
        assert self._chosen is not None
        there = await self._host.enumerate()
        if self._chosen not in there:
            self.gone.set()
        return [] if self.gone.is_set() else [self._chosen]

    async def open(self, facts: DeviceFacts) -> UsbDevice:
        return await self._host.open(facts)

    async def close(self) -> None:
        await self._host.close()


class _Changes:
    """Wakes whoever waits for a change at the supervisor."""

    def __init__(self) -> None:
        self.next = asyncio.Event()
        self.directory: PrinterDirectory | None = None

    def note(self) -> None:
        self.next.set()
        self.next = asyncio.Event()
        if self.directory is not None:
            self.directory.changed()


async def serve_one(
    config: Config,
    host: UsbHost,
    choice: Choice,
    places: Places,
    *,
    on_listening: Callable[[int], None],
) -> None:
    """Serve the chosen printer until it is unplugged, a signal arrives, or it is idle for long.

    `on_listening` is called with the port. Raises NotUsable, StateError, or the error that keeps
    the device from being opened.
    """
    one = OneDevice(host)
    changes = _Changes()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(one.close)
        stop = stack.enter_context(stop_on_signals())
        await one.choose(choice)
        supervisor = await _supervise(config, one, places, changes, stack)
        printer = await _listening(supervisor, changes)
        changes.directory = directory = PrinterDirectory(supervisor)
        clock = IdleClock(config.idle_exit_s or math.inf, look=directory.sample)
        brokers = await _unix_sockets(config, places, printer, directory, clock, stack)
        on_listening(printer.site.port)
        idle = [_idle(brokers, clock)] if config.idle_exit_s else []
        await first_of(one.gone.wait(), stop.wait(), *idle)
        log.info("unplugged: exiting" if one.gone.is_set() else "exiting")


async def _supervise(
    config: Config,
    one: OneDevice,
    places: Places,
    changes: _Changes,
    stack: AsyncExitStack,
) -> Supervisor:
    """A running supervisor; its state file is deleted at the end."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ippusbxd-"))
    state = StateFile(Path(folder) / "state.json", places.ports)
    stack.push_async_callback(state.close)
    publisher = make_publisher(
        config.dnssd,
        scope=loopback(existing(config.listen_addresses)),
        static_dir=config.static_dir,
        static_template=config.static_template,
    )
    stack.push_async_callback(publisher.close)
    await publisher.start()
    services = Services(config, one, publisher, load(config.quirks_dirs))
    supervisor = Supervisor(services, state, on_change=changes.note)
    stack.push_async_callback(supervisor.close)
    task = asyncio.create_task(supervisor.run(), name="supervisor")
    stack.push_async_callback(cancel_and_wait, task)
    return supervisor


async def _listening(supervisor: Supervisor, changes: _Changes) -> Printer:
    """The printer, once it was opened and listens.

    Raises StateError with the reason why that fails, NotUsable if it was unplugged.
    """
    await supervisor.looked()
    while True:
        changed = changes.next
        devices = supervisor.devices()
        if not devices:
            raise NotUsable("the printer was unplugged")
        _, printer, reason = devices[0]
        if printer is None and reason.kind != Kind.OPENING.label:
            raise StateError(reason.text)
        if printer is not None and printer.state is not State.OPENING:
            return printer
        await changed.wait()


async def _unix_sockets(
    config: Config,
    places: Places,
    printer: Printer,
    directory: PrinterDirectory,
    clock: IdleClock,
    stack: AsyncExitStack,
) -> list[Broker]:
    """The brokers of the requested sockets, one for each folder."""
    brokers: dict[Path, Broker] = {}
    for path in (places.http, places.keep_alive):
        if path is None:
            continue
        broker = brokers.get(path.parent)
        if broker is None:
            listeners = Listeners(ListenerSettings(path.parent))
            broker = brokers[path.parent] = Broker(directory, listeners, clock, BrokerSettings())
            stack.push_async_callback(broker.close)
        if path == places.http:
            await broker.http_at(path.name, printer.site)
        else:
            await broker.keep_alive_at(path.name)
    return list(brokers.values())


async def _idle(brokers: list[Broker], clock: IdleClock) -> None:
    for broker in brokers:
        await broker.idle()
    if not brokers:
        await clock.expired()
