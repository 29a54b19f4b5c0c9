"""The daemon from its first moment to its last.

The control socket comes first and goes last, so that `ippusbd status` always
has an answer; what is heavy is imported after it listens. Shutdown ends every
printer's life in its own order: unpublish, refuse, finish, drain, release.

Knows everything below it; the one place that puts the parts together.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from typing import TYPE_CHECKING, Any

from ippusbd import __version__
from ippusbd.config import Config, runtime_dir, state_dir
from ippusbd.daemon.observe.control import ControlServer, Handler
from ippusbd.daemon.observe.endpoints import Endpoints
from ippusbd.daemon.observe.recent_errors import RecentErrors, listening
from ippusbd.daemon.process.files import allow_many_files
from ippusbd.daemon.process.instance import our_turn
from ippusbd.daemon.process.systemd import Notifier, stop_on_signals, take_listen_sockets
from ippusbd.daemon.process.tuning import keep_buffers
from ippusbd.daemon.state.state_file import StateFile, only_instance
from ippusbd.daemon.unplugged_exit import Unplugged
from ippusbd.errors import IppUsbError
from ippusbd.log import AREAS, LEVELS, levels, set_level
from ippusbd.usbio.protocols import UsbHost

if TYPE_CHECKING:
    from ippusbd.daemon.brokering import Brokering
    from ippusbd.daemon.observe.trace import Traces
    from ippusbd.daemon.share.sharing import Sharing
    from ippusbd.daemon.supervisor import Supervisor
    from ippusbd.dnssd.protocols import Publisher

log = logging.getLogger("ippusbd.daemon")

Status = dict[str, Any]


class Daemon:
    """What runs, as far as it has come."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.started = time.monotonic()
        self.phase = "starting"
        self.supervisor: Supervisor | None = None
        self.brokering: Brokering | None = None
        self.notify = Notifier()
        self.publisher: Publisher | None = None
        self.looking = Endpoints(config, self.status)
        self.recent: RecentErrors | None = None
        self.sharing: Sharing | None = None
        self.traces: Traces | None = None
        self._told: set[int] = set()  # ports of printers that `newly_ready` has named

    async def status(self, _: Mapping[str, Any]) -> Status:
        """What `ippusbd status --json` prints."""
        return {
            "version": __version__,
            "pid": os.getpid(),
            "phase": self.phase,
            "uptime_s": round(time.monotonic() - self.started, 1),
            "publisher": {
                "kind": self.publisher.kind if self.publisher else "",
                "state": self.publisher.trouble or "ok" if self.publisher else "starting",
            },
            "broker": self.brokering.status() if self.brokering else {},
            "printers": self.supervisor.status() if self.supervisor else [],
            "page": self.looking.status(),
            "sharing": self.sharing.status() if self.sharing else {},
            "recent": self.recent.status() if self.recent else [],
        }

    def commands(self) -> dict[str, Handler]:
        """What the control socket answers."""
        return {
            "status": self.status,
            "retry": self.retry,
            "learned": self.learned,
            "forget": self.forget,
            "log": self.log_levels,
        }

    async def retry(self, request: Mapping[str, Any]) -> list[str]:
        """What `ippusbd retry` asks for: the names of the printers that are tried again."""
        return self._running().retry(str(request.get("printer", "")))

    async def learned(self, _: Mapping[str, Any]) -> Status:
        """What `ippusbd quirks` adds to what the files say."""
        return self._running().learned()

    async def forget(self, request: Mapping[str, Any]) -> list[str]:
        """What `ippusbd forget` asks for: the names of the printers that were forgotten."""
        return self._running().forget(str(request.get("printer", "")))

    async def trace(self, request: Mapping[str, Any]) -> AsyncGenerator[object, None]:
        """What `ippusbd trace` writes into files."""
        from ippusbd.daemon.observe.trace import Traces

        if self.traces is None:
            self.traces = Traces()
        printers = [printer for _, printer, _ in self._running().devices() if printer is not None]
        selector, bodies = str(request.get("printer", "")), request.get("bodies") is True
        async with aclosing(self.traces.events(printers, selector, bodies=bodies)) as events:
            async for event in events:
                yield event

    async def log_levels(self, request: Mapping[str, Any]) -> dict[str, str]:
        """What `ippusbd log` asks for: set a level, of one area or of all, and tell them all."""
        level, area = str(request.get("level", "")), str(request.get("area", ""))
        if level and (level not in LEVELS or (area and area not in AREAS)):
            raise IppUsbError(f"levels are {', '.join(LEVELS)}; areas are {', '.join(AREAS)}")
        if level:
            set_level(area, level)
            log.info("level of %s: %s", area or "everything", level)
        return levels()

    def _running(self) -> Supervisor:
        if self.supervisor is None:
            raise IppUsbError("the daemon is still starting")
        return self.supervisor

    def summary(self) -> str:
        """The line that `systemctl status` shows."""
        rows = self.supervisor.status() if self.supervisor else []
        served = sum(row["state"] in ("ready", "partial") for row in rows)
        return f"{served} of {len(rows)} printers served"

    def newly_ready(self) -> list[Status]:
        """Printers announced since the last call."""
        rows = self.supervisor.status() if self.supervisor else []
        ready = [row for row in rows if row["state"] in ("ready", "partial")]
        new = [row for row in ready if row["port"] not in self._told]
        self._told = {row["port"] for row in ready}
        return new


async def run(
    config: Config,
    host: UsbHost,
    *,
    hotplug: bool = True,
    on_ready: Callable[[list[Status]], None] | None = None,
) -> int:
    """Serve printers until SIGTERM or SIGINT; the process's exit status.

    `on_ready` hears the status of printers when they are announced. Raises ConfigError or
    StateError when the daemon cannot start.
    """
    keep_buffers()
    allow_many_files()
    daemon = Daemon(config)
    state_path = state_dir(config, os.environ, os.getuid()) / "printers.json"
    control_path = runtime_dir(config, os.environ, os.getuid()) / "control.sock"
    async with AsyncExitStack() as stack:
        await our_turn(stack, lambda: only_instance(state_path.with_name("lock")), config)
        daemon.recent = stack.enter_context(listening())
        control = ControlServer(
            control_path,
            daemon.commands(),
            group=config.control_group,
            pages=daemon.looking.pages,
            streams={"trace": daemon.trace},
        )
        await control.start()
        stack.push_async_callback(control.close)
        await daemon.looking.start(stack)
        stop = stack.enter_context(stop_on_signals())
        stack.push_async_callback(host.close)
        state = StateFile(state_path, range(config.port_min, config.port_max + 1))
        stack.push_async_callback(state.close)
        await _serve(daemon, host, state, stack, hotplug=hotplug, on_ready=on_ready)
        notify = daemon.notify
        notify.ready()
        watchdog = asyncio.create_task(notify.keep_alive(), name="watchdog")
        stack.push_async_callback(_ended, watchdog)
        daemon.phase = "running"
        assert daemon.brokering is not None
        assert daemon.supervisor is not None
        unplugged = Unplugged(daemon.supervisor, config.unplugged_exit_s, stop)
        watching = asyncio.create_task(unplugged.watch(), name="unplugged-exit")
        stack.push_async_callback(_ended, watching)
        await daemon.brokering.until_idle(stop)
        daemon.phase = "stopping"
        notify.stopping()
        log.info("stopping: exchanges in flight have %.0f s", config.grace_s)
        return await unplugged.status()


async def _serve(
    daemon: Daemon,
    host: UsbHost,
    state: StateFile,
    stack: AsyncExitStack,
    *,
    hotplug: bool,
    on_ready: Callable[[list[Status]], None] | None,
) -> None:
    """Publisher and supervisor, on the stack in the order of their ends."""
    from ippusbd.daemon.brokering import Brokering
    from ippusbd.daemon.printer.printer import Services
    from ippusbd.daemon.supervisor import Supervisor
    from ippusbd.dnssd.select import make_publisher
    from ippusbd.quirks.load import load

    config = daemon.config
    quirks = load(config.quirks_dirs)
    publisher: Publisher = make_publisher(
        config.dnssd, static_dir=config.static_dir, static_template=config.static_template
    )
    if config.share_interfaces:
        publisher = await _share(daemon, publisher, stack)
    daemon.publisher = publisher
    stack.push_async_callback(publisher.close)
    await publisher.start()

    brokering = daemon.brokering = Brokering(config)

    def changed() -> None:
        brokering.changed()
        daemon.notify.status(daemon.summary())
        new = daemon.newly_ready()
        if new and on_ready is not None:
            on_ready(new)

    services = Services(config, host, publisher, quirks, daemon.sharing)
    supervisor = Supervisor(services, state, on_change=changed)
    daemon.supervisor = supervisor
    stack.push_async_callback(supervisor.close)
    task = asyncio.create_task(supervisor.run(hotplug=hotplug), name="supervisor")
    stack.push_async_callback(_ended, task)
    stack.push_async_callback(brokering.close)
    await brokering.start(supervisor, _systemds_sockets())
    await supervisor.looked()


async def _share(daemon: Daemon, local: Publisher, stack: AsyncExitStack) -> Publisher:
    """Sharing to the network, and a publisher that announces there too."""
    from ippusbd.daemon.share.sharing import SharingPublisher, make_sharing
    from ippusbd.dnssd.select import make_publisher

    config = daemon.config
    # Avahi would publish a static file on every interface, as it is, whatever is allowed.
    kind = "off" if config.dnssd == "static" else config.dnssd
    folder = state_dir(config, os.environ, os.getuid())
    sharing = daemon.sharing = await make_sharing(
        config, folder, lambda scope: make_publisher(kind, scope=scope)
    )
    stack.push_async_callback(sharing.close)
    await sharing.start()
    return SharingPublisher(local, sharing)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _systemds_sockets() -> list[socket.socket]:
    return [listening for named in take_listen_sockets().values() for listening in named]
