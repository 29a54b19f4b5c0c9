"""The daemon's own parts in this process: supervisor, state file, virtual printers, no DNS-SD.

Everything between a client's TCP connection and the virtual device is what `ippusbd run` uses;
only the publisher is a list in memory, whose order of events a test may look at.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from support.ports import FIRST_PORT
from support.waiting import until

from ippusbd.config import Config
from ippusbd.daemon.observe.status import Status
from ippusbd.daemon.printer.printer import Services
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.daemon.supervisor import Supervisor
from ippusbd.dataclass_json import encode
from ippusbd.model import ServiceSet
from ippusbd.quirks.load import load
from ippusbd.usbio.pyusb_host import PyusbHost
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.backend import VirtualBackend
from ippusbd.wire import txt

# Quick, and above the ports that the kernel gives to clients.
QUICK = Config(
    port_min=FIRST_PORT, poll_s=0.2, retry_min_s=0.1, retry_max_s=0.5, grace_s=2.0, dnssd="off"
)
WAIT_S = 20.0


class MemoryPublisher:
    """Announces to a list; `events` has (`publish` or `withdraw`, name) in order."""

    kind = "memory"
    trouble = ""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.sets: dict[str, ServiceSet] = {}  # announced now
        self.told: list[Callable[[str, str], None]] = []

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def publish(self, services: ServiceSet) -> MemoryPublication:
        names = chain([services.name], txt.names(services.name, services.suffix))
        free = services.renamed(next(name for name in names if name not in self.sets))
        self.sets[free.name] = free
        self.note("publish", free.name)
        return MemoryPublication(self, free.name)

    def note(self, what: str, name: str) -> None:
        self.events.append((what, name))
        for told in self.told:
            told(what, name)

    def txt(self, service_type: str, name: str | None = None) -> dict[str, str]:
        """The TXT record of a type, of the only printer or of the named one."""
        chosen = self.sets[name] if name is not None else next(iter(self.sets.values()))
        record = next(r for r in chosen.records + chosen.fixed if r.type == service_type)
        return dict(record.txt)

    def types(self, name: str | None = None) -> set[str]:
        chosen = self.sets[name] if name is not None else next(iter(self.sets.values()))
        return {record.type for record in chosen.records + chosen.fixed}


class MemoryPublication:
    def __init__(self, publisher: MemoryPublisher, name: str) -> None:
        self._publisher = publisher
        self.name = name
        self.state = "established"

    async def withdraw(self) -> None:
        if self._publisher.sets.pop(self.name, None) is not None:
            self._publisher.note("withdraw", self.name)
            self.state = "withdrawn"


class InProcessDaemon:
    """What runs; made by `run_daemon`."""

    def __init__(
        self,
        config: Config,
        backend: VirtualBackend,
        state: StateFile,
        publisher: MemoryPublisher,
        host: PyusbHost,
    ) -> None:
        self.config = config
        self.backend = backend
        self.state = state
        self.publisher = publisher
        self.host = host
        self.supervisor = Supervisor(
            Services(config, host, publisher, load(config.quirks_dirs)), state
        )

    def row(self, serial: str | None = None) -> dict[str, Any]:
        """The JSON status of the only printer, or of the one with that serial number."""
        rows = [row for row in self.supervisor.status() if serial in (None, row.serial)]
        return dict(encode(rows[0])) if rows else {"state": "unknown", "port": 0}

    def status(self) -> Status:
        return Status(printers=self.supervisor.status())

    def reason(self, serial: str | None = None) -> str:
        """Why its state is what it is; empty: as it should be."""
        return ((self.row(serial).get("reason")) or {}).get("text", "")

    def troubles(self) -> str:
        return "; ".join(one["text"] for one in self.row()["troubles"])

    def port(self, serial: str | None = None) -> int:
        return int(self.row(serial)["port"])

    def interfaces(self, serial: str | None = None) -> dict[str, int]:
        return dict(self.row(serial)["interfaces"])

    def pool(self) -> Any:
        """Of the first printer that is open."""
        return next(p.pool for p in self.supervisor.printers if p.pool is not None)

    async def until(self, condition: Callable[[], object], timeout_s: float = WAIT_S) -> float:
        """Wait until `condition()`; the seconds it took."""
        return await until(condition, lambda: f"status {self.supervisor.status()}", timeout_s)

    async def until_state(self, *states: str, serial: str | None = None) -> float:
        return await self.until(lambda: self.row(serial)["state"] in states)

    async def until_idle(self) -> None:
        """Nothing is leased, drained or recovering, and nobody waits."""
        pool = self.pool()
        await self.until(lambda: pool.idle)

    def plug(self, printer: VirtualPrinter) -> None:
        """Plug in, and let the daemon hear of it, as udev would."""
        self.backend.plug(printer.device)
        self.supervisor.wake()

    def unplug(self, printer: VirtualPrinter) -> None:
        printer.unplug()
        self.supervisor.wake()


@asynccontextmanager
async def run_daemon(
    *printers: VirtualPrinter,
    state_path: Path,
    config: Config = QUICK,
    wait: Iterable[str] = ("ready",),
    host: Callable[[VirtualBackend], PyusbHost] | None = None,
    **settings: Any,
) -> AsyncIterator[InProcessDaemon]:
    """A daemon that serves `printers`, until the end of the block; `wait`: for these states.

    `settings` replace fields of `config`. The printers are not closed.
    """
    config = replace(config, **settings)
    async with AsyncExitStack() as stack:
        backend = VirtualBackend([printer.device for printer in printers])
        stack.callback(backend._finalize_object)
        state = StateFile(state_path, range(config.port_min, config.port_max + 1))
        stack.push_async_callback(state.close)
        make = host or partial(PyusbHost, transfer_bytes=config.transfer_bytes)
        daemon = InProcessDaemon(config, backend, state, MemoryPublisher(), make(backend))
        stack.push_async_callback(daemon.host.close)
        stack.push_async_callback(daemon.supervisor.close)
        task = asyncio.create_task(daemon.supervisor.run(hotplug=False), name="supervisor")
        stack.push_async_callback(_ended, task)
        await daemon.supervisor.looked()
        states = tuple(wait)
        if states:
            await daemon.until(
                lambda: (
                    sum(r.state.value in states for r in daemon.supervisor.status())
                    == len(printers)
                )
            )
        yield daemon


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
