"""Traces one printer while it is served, for somebody who looks for a fault.

A trace follows its printer over replugs, records every transfer and every exchange, and ends when
its reader leaves. It never slows the printer down: events that the reader does not take in time are
dropped and counted. Without a trace no code of this module runs.

    reader <- {"usb": {...}} | {"http": {...}} | {"dropped": n}

Knows printers, pools and taps; the reader writes the files.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, suppress
from typing import Any, Final

from ippusbd.daemon.observe.trace_http import Entry, WatchedChannel
from ippusbd.daemon.printer.printer import Printer
from ippusbd.daemon.registry import chosen
from ippusbd.dataclass_json import encode
from ippusbd.errors import IppUsbError
from ippusbd.usbio.pool import InterfacePool
from ippusbd.usbio.protocols import Channel
from ippusbd.usbio.tap import Tap, Tappable, UsbEvent

QUEUE_BYTES: Final = 8 << 20  # what may wait for a slow reader
FOLLOW_S: Final = 0.1  # how often the printer's pool is looked up: a replug makes a new one
MAX_TRACES: Final = 4

Event = dict[str, Any]


class Trace:
    """One reader's view of `printer`."""

    def __init__(self, printer: Printer, *, bodies: bool) -> None:
        self._printer = printer
        self._bodies = bodies
        self._tap = Tap(self._usb, wants_data=bodies)
        self._tapped: set[Tappable] = set()
        self._pool: InterfacePool | None = None
        self._queue: deque[tuple[Event, int]] = deque()
        self._queued_bytes = 0
        self._dropped = 0
        self._more = asyncio.Event()

    async def events(self) -> AsyncGenerator[Event, None]:
        """The events, until the caller stops iterating."""
        try:
            self._follow()
            yield {"printer": encode(self._printer.status())}
            while True:
                self._follow()
                with suppress(TimeoutError):
                    async with asyncio.timeout(FOLLOW_S):
                        await self._more.wait()
                self._more.clear()
                for event in self._take():
                    yield event
        finally:
            self._stop()

    def _take(self) -> list[Event]:
        events = [event for event, _ in self._queue]
        self._queue.clear()
        self._queued_bytes = 0
        if self._dropped:
            events.append({"dropped": self._dropped})
            self._dropped = 0
        return events

    # --- attached to the printer's current pool

    def _follow(self) -> None:
        pool = self._printer.pool
        if pool is not self._pool:
            self._leave()
            self._pool = pool
            if pool is not None:
                pool.witness = self._watched

    def _watched(self, channel: Channel) -> Channel:
        if isinstance(channel, Tappable) and channel not in self._tapped:
            channel.tap(self._tap)
            self._tapped.add(channel)
        return WatchedChannel(channel, self._http, bodies=self._bodies)

    def _leave(self) -> None:
        if self._pool is not None and self._pool.witness == self._watched:
            self._pool.witness = None
        for channel in self._tapped:
            channel.tap(None)
        self._tapped.clear()

    def _stop(self) -> None:
        self._leave()
        self._pool = None

    # --- events

    def _usb(self, event: UsbEvent) -> None:
        facts = self._printer.facts
        told = {
            "at": event.at,
            "begins": event.begins,
            "transfer": event.transfer,
            "endpoint": event.endpoint,
            "status": event.status,
            "length": event.length,
            "bus": facts.address.bus if facts else 0,
            "address": facts.address.address if facts else 0,
            "data": base64.b64encode(event.data).decode(),
        }
        self._put({"usb": told}, 250 + len(event.data) * 4 // 3)

    def _http(self, entry: Entry) -> None:
        self._put({"http": entry}, len(json.dumps(entry)))

    def _put(self, event: Event, size: int) -> None:
        if self._queued_bytes + size > QUEUE_BYTES:
            self._dropped += 1
        else:
            self._queue.append((event, size))
            self._queued_bytes += size
        self._more.set()


class Traces:
    """All running traces; at most one for each printer."""

    def __init__(self) -> None:
        self._running: dict[str, Trace] = {}

    async def events(
        self, printers: Iterable[Printer], selector: str, *, bodies: bool
    ) -> AsyncGenerator[Event, None]:
        """The events of the printer that `selector` matches. Raises NoSuchPrinter."""
        printer = chosen(printers, selector)
        if printer.key in self._running or len(self._running) >= MAX_TRACES:
            twice = printer.key in self._running
            raise IppUsbError(
                "the printer is already being traced" if twice else "too many traces are running"
            )
        trace = self._running[printer.key] = Trace(printer, bodies=bodies)
        try:
            async with aclosing(trace.events()) as events:
                async for event in events:
                    yield event
        finally:
            del self._running[printer.key]
