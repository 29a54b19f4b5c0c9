"""The daemon from start to stop.

The control socket is opened first and closed last, so that `ippusbd status` always
gets an answer; slow imports happen after it listens. Shutdown ends every printer's
session in its own order: withdraw, refuse, finish, drain, release.

Knows everything below it; the one place that puts the parts together.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any

from ippusbd import __version__
from ippusbd.aio import cancel_and_wait, keep_running
from ippusbd.config import Config, runtime_dir, state_dir
from ippusbd.daemon.observe.control import ControlServer, Handler
from ippusbd.daemon.observe.endpoints import Endpoints
from ippusbd.daemon.observe.recent_errors import RecentErrors, collecting
from ippusbd.daemon.observe.status import BrokerStatus, PrinterStatus, PublisherStatus, Status
from ippusbd.daemon.process.instance import LEAVING_S, become_only_instance
from ippusbd.daemon.process.systemd import Notifier, stop_on_signals, take_listen_sockets
from ippusbd.daemon.process.tuning import allow_many_files, keep_buffers
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.daemon.unplugged_exit import Unplugged
from ippusbd.errors import IppUsbError
from ippusbd.kinds import Kind
from ippusbd.log import AREAS, LEVELS, levels, set_level
from ippusbd.usbio.protocols import UsbHost

if TYPE_CHECKING:
    from ippusbd.daemon.brokering import Brokering
    from ippusbd.daemon.observe.trace import Traces
    from ippusbd.daemon.share.sharing import Sharing
    from ippusbd.daemon.supervisor import Supervisor
    from ippusbd.dnssd.protocols import Publisher

log = logging.getLogger("ippusbd.daemon")


class Daemon:
    """The parts that are running so far."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.started = time.monotonic()
        self.phase = "starting"
        self.supervisor: Supervisor | None = None
        self.brokering: Brokering | None = None
        self.notify = Notifier()
        self.publisher: Publisher | None = None
        self.endpoints = Endpoints(config, self.status)
        self.recent: RecentErrors | None = None
        self.sharing: Sharing | None = None
        self.traces: Traces | None = None
        self._reported: set[int] = set()  # ports of printers that `newly_ready` has returned

    def status(self) -> Status:
        publisher = self.publisher
        return Status(
            version=__version__,
            pid=os.getpid(),
            phase=self.phase,
            uptime_s=round(time.monotonic() - self.started, 1),
            publisher=PublisherStatus(kind=publisher.kind, state=publisher.trouble or "ok")
            if publisher
            else PublisherStatus(),
            broker=self.brokering.status() if self.brokering else BrokerStatus(),
            printers=self.printers(),
            page=self.endpoints.status(),
            sharing=self.sharing.status() if self.sharing else None,
            recent=self.recent.status() if self.recent else (),
        )

    def printers(self) -> tuple[PrinterStatus, ...]:
        return self.supervisor.status() if self.supervisor else ()

    def commands(self) -> dict[str, Handler]:
        """The control socket's commands."""

        async def status(_: Mapping[str, Any]) -> Status:
            return self.status()

        return {
            "status": status,
            "retry": self.retry,
            "learned": self.learned,
            "forget": self.forget,
            "log": self.log_levels,
        }

    async def retry(self, request: Mapping[str, Any]) -> list[str]:
        """`ippusbd retry`: the names of the printers that are retried."""
        return self._running().retry(str(request.get("printer", "")))

    async def learned(self, _: Mapping[str, Any]) -> object:
        """`ippusbd quirks`: the learned settings."""
        return self._running().learned()

    async def forget(self, request: Mapping[str, Any]) -> list[str]:
        """`ippusbd forget`: the names of the printers whose learned settings were discarded."""
        return self._running().forget(str(request.get("printer", "")))

    async def trace(self, request: Mapping[str, Any]) -> AsyncGenerator[object, None]:
        """`ippusbd trace`: the events that it writes into files."""
        from ippusbd.daemon.observe.trace import Traces

        if self.traces is None:
            self.traces = Traces()
        printers = [printer for _, printer, _ in self._running().devices() if printer is not None]
        selector, bodies = str(request.get("printer", "")), request.get("bodies") is True
        async with aclosing(self.traces.events(printers, selector, bodies=bodies)) as events:
            async for event in events:
                yield event

    async def log_levels(self, request: Mapping[str, Any]) -> dict[str, str]:
        """`ippusbd log`: sets the level of one area or of all; all levels."""
        level, area = str(request.get("level", "")), str(request.get("area", ""))
        if level and (level not in LEVELS or (area and area not in AREAS)):
            raise IppUsbError(f"levels are {', '.join(LEVELS)}; areas are {', '.join(AREAS)}")
        if level:
            set_level(area, level)
            log.info("log level of %s: %s", area or "all areas", level)
        return levels()

    def _running(self) -> Supervisor:
        if self.supervisor is None:
            raise IppUsbError(kind=Kind.STARTING)
        return self.supervisor

    def summary(self) -> str:
        """The line that `systemctl status` shows."""
        rows = self.printers()
        return f"{sum(row.is_served for row in rows)} of {len(rows)} printers served"

    def newly_ready(self) -> list[PrinterStatus]:
        """Printers announced since the last call."""
        ready = [row for row in self.printers() if row.is_served]
        new = [row for row in ready if row.port not in self._reported]
        self._reported = {row.port for row in ready}
        return new


async def run(
    config: Config,
    host: UsbHost,
    *,
    hotplug: bool = True,
    on_ready: Callable[[list[PrinterStatus], str], None] | None = None,
    on_page: Callable[[str], None] | None = None,
    on_running: Callable[[], None] = lambda: None,
    on_stopping: Callable[[float], None] = lambda within_s: None,
) -> int:
    """Serve printers until SIGTERM or SIGINT; the process's exit status.

    `on_ready` is called with the status of printers when they are announced, and the publisher
    ("avahi", ...); `on_page` with the address of the status page if it is served; `on_running`
    when everything was started; `on_stopping` with the seconds within which the process ends, when
    it begins to. Raises ConfigError or StateError when the daemon cannot start.
    """
    keep_buffers()
    allow_many_files()
    daemon = Daemon(config)
    state_path = state_dir(config, os.environ, os.getuid()) / "printers.json"
    async with AsyncExitStack() as stack:
        await become_only_instance(stack, state_path.with_name("lock"), config)
        daemon.recent = stack.enter_context(collecting())
        await _open_control(daemon, stack)
        if on_page is not None and (page := daemon.endpoints.status().url):
            on_page(page)
        stop = stack.enter_context(stop_on_signals())
        stack.push_async_callback(host.close)
        state = StateFile(state_path, range(config.port_min, config.port_max + 1))
        stack.push_async_callback(state.close)
        alive = asyncio.create_task(keep_running("watchdog", daemon.notify.keep_alive))
        stack.push_async_callback(cancel_and_wait, alive)  # stopping may take a minute
        await _serve(daemon, host, state, stack, hotplug=hotplug, on_ready=on_ready)
        daemon.notify.ready()
        on_running()
        daemon.phase = "running"
        unplugged = await _until_end(daemon, stop, stack)
        on_stopping(_begin_to_stop(daemon))
        return await unplugged.status()


async def _open_control(daemon: Daemon, stack: AsyncExitStack) -> None:
    """The control socket and the HTTP endpoints: they answer while printers are started."""
    control = ControlServer(
        runtime_dir(daemon.config, os.environ, os.getuid()) / "control.sock",
        daemon.commands(),
        group=daemon.config.control_group,
        http=daemon.endpoints.answer,
        streams={"trace": daemon.trace},
    )
    await control.start()
    stack.push_async_callback(control.close)
    await daemon.endpoints.start(stack)


async def _until_end(daemon: Daemon, stop: asyncio.Event, stack: AsyncExitStack) -> Unplugged:
    """Wait for a signal, or until nobody needs the daemon; what knows its exit status."""
    assert daemon.brokering is not None
    assert daemon.supervisor is not None
    unplugged = Unplugged(daemon.supervisor, daemon.config.unplugged_exit_s, stop)
    watching = asyncio.create_task(keep_running("unplugged exit", unplugged.watch))
    stack.push_async_callback(cancel_and_wait, watching)
    await daemon.brokering.until_idle(stop)
    return unplugged


def _begin_to_stop(daemon: Daemon) -> float:
    """Say so; within how many seconds the process ends."""
    from ippusbd.daemon.printer.session import DOCUMENTS_S

    grace_s = daemon.config.grace_s
    daemon.phase = "stopping"
    log.info("stopping: requests in progress have %.0f s to finish", grace_s)
    within_s = grace_s + DOCUMENTS_S + LEAVING_S
    daemon.notify.stopping(within_s)
    return within_s


async def _serve(
    daemon: Daemon,
    host: UsbHost,
    state: StateFile,
    stack: AsyncExitStack,
    *,
    hotplug: bool,
    on_ready: Callable[[list[PrinterStatus], str], None] | None,
) -> None:
    """Start publisher, supervisor and broker; the stack ends them in reverse order."""
    from ippusbd.daemon.brokering import Brokering
    from ippusbd.daemon.printer.printer import Services
    from ippusbd.daemon.supervisor import Supervisor
    from ippusbd.quirks.load import load

    config = daemon.config
    quirks = load(config.quirks_dirs)
    publisher = await _publish(daemon, stack)
    brokering = daemon.brokering = Brokering(config)

    def changed() -> None:
        brokering.changed()
        daemon.notify.status(daemon.summary())
        new = daemon.newly_ready()
        if new and on_ready is not None:
            on_ready(new, publisher.kind)

    services = Services(config, host, publisher, quirks, daemon.sharing)
    supervisor = Supervisor(services, state, on_change=changed)
    daemon.supervisor = supervisor
    stack.push_async_callback(supervisor.close)
    task = asyncio.create_task(supervisor.run(hotplug=hotplug), name="supervisor")
    stack.push_async_callback(cancel_and_wait, task)
    stack.push_async_callback(brokering.close)
    await brokering.start(supervisor, _systemds_sockets())
    await supervisor.looked()


async def _publish(daemon: Daemon, stack: AsyncExitStack) -> Publisher:
    """The publisher that the configuration names, started."""
    from ippusbd.dnssd.scope import loopback
    from ippusbd.dnssd.select import make_publisher
    from ippusbd.proxy.admission.listeners import existing

    config = daemon.config
    publisher: Publisher = make_publisher(
        config.dnssd,
        scope=loopback(existing(config.listen_addresses)),
        static_dir=config.static_dir,
        static_template=config.static_template,
    )
    if config.share_interfaces:
        publisher = await _share(daemon, publisher, stack)
    daemon.publisher = publisher
    stack.push_async_callback(publisher.close)
    await publisher.start()
    return publisher


async def _share(daemon: Daemon, local: Publisher, stack: AsyncExitStack) -> Publisher:
    """Share printers on the network; the publisher that announces them there, too."""
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


def _systemds_sockets() -> list[socket.socket]:
    return [listening for named in take_listen_sockets().values() for listening in named]
