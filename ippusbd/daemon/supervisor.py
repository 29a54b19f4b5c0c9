"""Keeps one session running for every printer on the bus.

Events are hints: whatever wakes it, the supervisor enumerates and compares.
Each device has its own task, so a slow one delays no other. A session that
fails is tried again after a growing pause; when a device is gone, its session
is cancelled, and the next one with the same key waits for its end.

Knows devices by bus address while they are plugged in, printers by key permanently.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from ippusbd.aio import keep_running, now
from ippusbd.daemon.observe.status import PrinterStatus
from ippusbd.daemon.printer.printer import Printer, Services
from ippusbd.daemon.printer.session import PrinterSession
from ippusbd.daemon.printer.states import Event, State, step
from ippusbd.daemon.recovery.backoff import Backoff
from ippusbd.daemon.recovery.history import RecoveryHistory, is_unresponsive
from ippusbd.daemon.recovery.ladder import Rung, take
from ippusbd.daemon.recovery.verdict import PRINTING_S
from ippusbd.daemon.registry import Registry, matches, names_of
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.errors import (
    CutAnswer,
    DeviceGone,
    Ignored,
    IppUsbError,
    NoInterface,
    NotAPrinter,
    UsbError,
)
from ippusbd.kinds import Diagnosis, Kind
from ippusbd.model import BusAddress, DeviceFacts
from ippusbd.usbio.hotplug import Hotplug
from ippusbd.usbio.protocols import UsbDevice

log = logging.getLogger("ippusbd.daemon")

UDEV_POLL_S = 30.0  # finds what udev's events missed
BUG_PAUSE_S = 5.0  # before a device is served again whose task failed
SETTLE_S = 0.02  # events come in bursts
PAUSING = (State.WAITING, State.REFUSED, State.IGNORED)


@dataclass(eq=False)
class _Plugged:
    """A device on the bus and the task that serves it."""

    facts: DeviceFacts
    task: asyncio.Task[None] | None = None
    printer: Printer | None = None
    key: str = ""  # of its printer, as soon as its serial number was read
    state: State = State.OPENING  # until its printer is known
    reason: Diagnosis = field(default_factory=Kind.OPENING.of)
    session: PrinterSession | None = None  # the one that serves it now
    was_reset: bool = False
    since_s: float = 0.0  # when it was plugged in, or last retried by an administrator
    retry: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Serves every printer that is plugged in, until `close`."""

    def __init__(
        self,
        services: Services,
        state: StateFile,
        *,
        on_change: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._services = services
        self._clock = clock
        self._state = state
        self._on_change = on_change or (lambda: None)
        self._plugged: dict[BusAddress, _Plugged] = {}
        self._registry = Registry(services.config, state, services.sharing, services.boottime)
        self._histories: dict[str, RecoveryHistory] = {}  # by the printer's key
        self._leaving: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._hotplug = Hotplug(self._wake.set)
        self._listens_to_udev = False
        self._first_look = asyncio.Event()
        self._closing = False
        self._lookers: list[asyncio.Future[None]] = []

    async def run(self, *, hotplug: bool = True) -> None:
        """Reconcile whenever woken, and from time to time; until cancelled."""
        for line in self._services.quirks.unused:
            log.warning("%s", line)
        self._listens_to_udev = hotplug and self._hotplug.start()
        await keep_running("look for printers", self._look_repeatedly)

    async def _look_repeatedly(self) -> None:
        poll_s = UDEV_POLL_S if self._listens_to_udev else self._services.config.poll_s
        while True:
            self._wake.clear()
            lookers, self._lookers = self._lookers, []
            try:
                await self.reconcile()
            except UsbError as exc:
                log.warning("cannot list USB devices: %s", exc)
            finally:  # a bug, too, must leave nobody waiting
                for looker in lookers:
                    if not looker.done():
                        looker.set_result(None)
            self._first_look.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(poll_s):
                    await self._wake.wait()
                await asyncio.sleep(SETTLE_S)

    def wake(self) -> None:
        """Something may have changed on the bus."""
        self._wake.set()

    async def looked(self) -> None:
        """Wait until the bus was looked at for the first time."""
        await self._first_look.wait()

    async def look(self) -> None:
        """Look at the bus, which may have changed this very moment."""
        looker = asyncio.get_running_loop().create_future()
        self._lookers.append(looker)
        self._wake.set()
        await looker

    @property
    def printers(self) -> Registry:
        """All printers known, plugged in or not."""
        return self._registry

    def devices(self) -> list[tuple[DeviceFacts, Printer | None, Diagnosis]]:
        """What is plugged in: the device, its printer if known, and why it is not served yet."""
        return [(p.facts, p.printer, p.reason) for p in self._plugged.values()]

    async def reconcile(self) -> None:
        """Start sessions for devices that came, end those of devices that went."""
        there = {facts.address: facts for facts in await self._services.host.enumerate()}
        for address in sorted(self._plugged.keys() - there.keys()):
            self._end(address)
        for address in sorted(there.keys() - self._plugged.keys()):
            self._start(there[address])

    def retry(self, selector: str = "") -> list[str]:
        """Retry printers at once, with a new reset budget: all, or those that `selector` names.

        `selector` is as in `registry.matches`. Returns their names. Where it is one printer, the
        administrator says of it that nothing prints; among several, another one may.
        """
        chosen = [p for p in self._plugged.values() if matches(selector, _names(p))]
        printers = [p.printer for p in chosen if p.printer is not None]
        for printer in printers:
            self._history(printer.key).afresh()
            if len(printers) == 1:
                printer.evidence.nothing_prints()
        for plugged in chosen:
            if plugged.session is not None:
                plugged.session.retry()
            plugged.retry.set()
        return [p.printer.label if p.printer else _names(p)[0] for p in chosen]

    def learned(self) -> dict[str, dict[str, Any]]:
        """What was learned about printers, plugged in or not, by key."""
        return {
            key: {"name": record.name, "settings": record.learned, "recovery": record.recovery}
            for key, record in self._state.printers().items()
            if record.learned or record.recovery
        }

    def forget(self, selector: str = "") -> list[str]:
        """Forget what was learned, from the next plug or retry on. Returns names, as `retry`."""
        forgotten = []
        for key, found in self.learned().items():
            if matches(selector, [key, found["name"]]):
                self._state.forget(key)
                self._history(key).afresh()
                forgotten.append(found["name"] or key)
        return forgotten

    def status(self) -> tuple[PrinterStatus, ...]:
        """All printers: those plugged in first, those not (or not yet) known last."""
        unknown = (p for p in self._plugged.values() if p.printer is None)
        return (
            *(printer.status(self._state.learned(printer.key)) for printer in self._registry),
            *(
                PrinterStatus(
                    id=str(p.facts.usb_id),
                    address=str(p.facts.address),
                    state=p.state,
                    reason=p.reason,
                )
                for p in unknown
            ),
        )

    async def close(self) -> None:
        """End all sessions in order, then stop listening."""
        self._hotplug.stop()
        self._closing = True
        for address in list(self._plugged):
            self._end(address, gone=False)
        if self._leaving:
            await asyncio.wait(self._leaving)
        await self._registry.close()

    # --- sessions

    def _start(self, facts: DeviceFacts) -> None:
        log.info("plugged in: %s at %s", facts.usb_id, facts.address)
        plugged = _Plugged(facts, since_s=self._clock())
        plugged.task = asyncio.create_task(self._serve(plugged), name=f"printer-{facts.address}")
        plugged.task.add_done_callback(lambda task: self._task_ended(plugged, task))
        self._plugged[facts.address] = plugged

    def _task_ended(self, plugged: _Plugged, task: asyncio.Task[None]) -> None:
        """A task ends by cancellation; anything else is a bug of ours, which stops one printer."""
        if task.cancelled():
            return
        failure = task.exception()
        plugged.reason = Kind.BUG.of(failure=repr(failure))
        log.error("%s: %s", plugged.facts.usb_id, plugged.reason, exc_info=failure)
        if plugged.printer is not None:
            plugged.printer.state = State.AWAY
            plugged.printer.reason = plugged.reason
            plugged.printer.site.disconnect(plugged.reason)
        if self._plugged.get(plugged.facts.address) is plugged:  # else a newer device has it
            del self._plugged[plugged.facts.address]  # the next look starts it anew
            asyncio.get_running_loop().call_later(BUG_PAUSE_S, self.wake)

    def _end(self, address: BusAddress, *, gone: bool = True) -> None:
        plugged = self._plugged.pop(address)
        printer, task = plugged.printer, plugged.task
        assert task is not None
        if gone:
            log.info("unplugged: %s at %s", plugged.facts.usb_id, address)
            if printer is not None and printer.pool is not None:
                printer.pool.abandon(DeviceGone("the printer was unplugged"))
        if printer is not None and printer.state in PAUSING:  # no session is there to do it
            self._gone(printer)
            self._on_change()
        task.cancel()
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _serve(self, plugged: _Plugged) -> None:
        """One session after the other; the task is cancelled when the device goes."""
        config = self._services.config
        backoff = Backoff(config.retry_min_s, config.retry_max_s)
        while True:
            try:
                await self._open_and_serve(plugged, backoff)
            except DeviceGone as exc:
                self._wake.set()  # udev reports it too, or has not noticed yet
                self._note(plugged, Event.FAILED, exc)
            except IppUsbError as exc:
                given_up = not exc.retry or self._is_hopeless(plugged, exc)
                self._note(plugged, _event_of(exc, given_up=given_up), exc)
                if given_up:
                    await plugged.retry.wait()
                    plugged.retry.clear()
                    plugged.since_s = self._clock()
                    backoff.reset()
                    continue
            pause_s = backoff.next()
            log.debug("%s: next try in %.1f s", plugged.facts.usb_id, pause_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await plugged.retry.wait()
                plugged.retry.clear()

    def _is_hopeless(self, plugged: _Plugged, failure: IppUsbError) -> bool:
        """404, or cut answers, for longer than any warm-up: a printer for another driver."""
        waited_s = self._clock() - plugged.since_s
        useless = isinstance(failure, NotAPrinter | CutAnswer)
        if useless and plugged.key and self._history(plugged.key).connection_trial.under_way:
            return False
        return useless and waited_s > self._services.config.warm_up_s

    async def _open_and_serve(self, plugged: _Plugged, backoff: Backoff) -> None:
        device, facts = await self._open(plugged)
        try:
            printer = await self._printer_for(plugged, device.facts)
            async with printer.lock:
                await self._serve_opened(plugged, printer, device, facts, backoff)
        finally:
            await device.close()  # unless a session has done that

    async def _serve_opened(
        self,
        plugged: _Plugged,
        printer: Printer,
        device: UsbDevice,
        facts: DeviceFacts,
        backoff: Backoff,
    ) -> None:
        if plugged.printer is None:
            self._history(printer.key).plugged()
            printer.pending_cancels.plugged()
            printer.evidence.plugged(self._registry.document_at(device.facts.address))
        plugged.printer = printer
        printer.facts = facts
        event = Event.RETRY if printer.state is not State.AWAY else Event.PLUGGED
        printer.to(event, Kind.OPENING.of())
        self._on_change()
        try:
            await self._one_session(plugged, device, printer, backoff)
        except asyncio.CancelledError:
            self._gone(printer)
            raise
        finally:
            self._on_change()

    def _gone(self, printer: Printer) -> None:
        reason = (Kind.STOPPING if self._closing else Kind.UNPLUGGED).of()
        printer.to(Event.GONE, reason)
        printer.site.disconnect(reason)

    async def _open(self, plugged: _Plugged) -> tuple[UsbDevice, DeviceFacts]:
        """The device, and its facts as a quirk corrects them.

        It is reset once per plug, if a quirk says so or strings of it are empty or unreadable:
        Xerox B205 and others have them after a reset only. If that does not help, it is served
        under its USB id. A quirk resets nothing that may print what an earlier daemon sent.
        """
        services, quirks = self._services, self._services.quirks.effective(plugged.facts)
        if str(plugged.facts.usb_id) in services.config.ignore:
            raise Ignored(why="by the configuration")
        document_at = self._registry.document_at(plugged.facts.address)
        may_reset = not plugged.was_reset and now() - document_at >= PRINTING_S
        if may_reset and quirks.hard_reset_at_start:
            plugged.was_reset = True
            await take(Rung.USB_RESET, services.host, plugged.facts)
        device = await services.host.open(plugged.facts)
        quirks = services.quirks.effective(device.facts)
        if device.facts.unreadable and not (plugged.was_reset or quirks.ignore_device):
            log.info("%s: reset, since its strings cannot be read", plugged.facts.usb_id)
            plugged.was_reset = True
            try:
                await device.reset()
            finally:
                await device.close()
            device = await services.host.open(plugged.facts)
            quirks = services.quirks.effective(device.facts)
        if quirks.ignore_device:
            await device.close()
            raise Ignored(why=f"because of a quirk: {quirks.ignore_reason}")
        return device, replace(
            device.facts,
            manufacturer=quirks.manufacturer or device.facts.manufacturer,
            product=quirks.product or device.facts.product,
        )

    async def _one_session(
        self, plugged: _Plugged, device: UsbDevice, printer: Printer, backoff: Backoff
    ) -> None:
        history = self._history(printer.key)
        learned = {**self._state.learned(printer.key), **history.connection_trial.current}
        quirks = self._services.quirks.effective(device.facts, learned)
        plugged.retry.clear()  # meant for an earlier session
        session = plugged.session = PrinterSession(
            self._services,
            printer,
            quirks,
            history,
            on_ready=lambda: self._ready(printer, backoff),
            on_change=self._on_change,
        )
        try:
            await session.run(device)
        except DeviceGone:
            raise
        except IppUsbError as exc:
            history.failures += 1
            if history.connection_trial.answers(exc, printer.name, quirks):
                history.connection_trial.go_on()
                raise
            work = printer.at_work()
            if work and is_unresponsive(exc):
                text = f"{exc}; it is not reset, because {work}"
                raise NoInterface(text, kind=exc.kind) from exc
            rung = history.next_rung(exc)
            if rung is not None:
                log.warning("%s: %s before the next try: %s", printer.label, rung.value, exc)
                await take(rung, self._services.host, device.facts)
            raise
        finally:
            plugged.session = None

    def _history(self, key: str) -> RecoveryHistory:
        config = self._services.config
        if key not in self._histories:
            known = {p.key for p in (*self._registry, *self._plugged.values())}
            self._histories = {k: v for k, v in self._histories.items() if k in known}
            self._histories[key] = RecoveryHistory(
                self._state,
                key,
                resets_max=config.resets_max,
                resets_window_s=config.resets_window_s,
                warm_up_s=config.warm_up_s,
                clock=self._clock,
            )
        return self._histories[key]

    def _ready(self, printer: Printer, backoff: Backoff) -> None:
        backoff.reset()
        self._history(printer.key).working()
        self._state.set_name(printer.key, printer.name)
        self._on_change()

    def _note(self, plugged: _Plugged, event: Event, failure: IppUsbError) -> None:
        """A session is over: set the state of the printer, or the device's reason without one."""
        reason = failure.diagnosis
        level = logging.DEBUG if reason == plugged.reason else logging.WARNING
        plugged.reason = reason
        if plugged.printer is not None:
            plugged.printer.to(event, reason)
            plugged.printer.site.disconnect(reason)
        else:
            plugged.state = step(plugged.state, event)
            log.log(level, "%s at %s: %s", plugged.facts.usb_id, plugged.facts.address, reason)
        self._on_change()

    # --- printers

    async def _printer_for(self, plugged: _Plugged, facts: DeviceFacts) -> Printer:
        """The printer of this device, listening on its port."""
        others = {p.key for p in self._plugged.values() if p is not plugged}
        plugged.key = self._registry.key_for(facts, others)
        await self._registry.inherit(plugged.key, facts)
        return await self._registry.printer(plugged.key)


def _names(plugged: _Plugged) -> list[str]:
    """What a selector is compared with."""
    printer = plugged.printer
    return [str(plugged.facts.usb_id), *(names_of(printer) if printer else ())]


def _event_of(failure: IppUsbError, *, given_up: bool) -> Event:
    if isinstance(failure, Ignored):
        return Event.IGNORED
    return Event.REFUSED if given_up else Event.FAILED
