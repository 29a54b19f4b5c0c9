"""The Avahi daemon as it starts, ends, restarts and changes its host name.

What a client registers with Avahi is valid as long as Avahi's process, its D-Bus connection and
its host name; after any change it must be registered again (a group registered under an old host
name stays "established" and no longer resolves). Such a period is a session. It ends when the
first sign of a change arrives, and is never resumed; a new one begins when Avahi is found running.

    no D-Bus --connected--> no Avahi --owner, state RUNNING--> Session --any sign--> look again

Signs are hints: after one, the bus is asked who owns Avahi's name and what state it is in. Calls
go to the owner's unique name, so that they never start Avahi by D-Bus activation.

Knows Avahi's D-Bus interface 0.8; never services or names.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from enum import IntEnum

from ippusbd.aio import keep_running
from ippusbd.dnssd.dbus import BUS, BUS_PATH, Bus, CallRefused, Signal
from ippusbd.errors import PublishError

log = logging.getLogger("ippusbd.dnssd")

AVAHI = "org.freedesktop.Avahi"
SERVER = f"{AVAHI}.Server"
GROUP = f"{AVAHI}.EntryGroup"
SIGNS = {"NameOwnerChanged", "StateChanged"}


class ServerState(IntEnum):
    """AvahiServerState."""

    INVALID = 0
    REGISTERING = 1
    RUNNING = 2
    COLLISION = 3
    FAILURE = 4


class GroupState(IntEnum):
    """AvahiEntryGroupState; LOST is ours: the session ended, and the group with it."""

    LOST = -1
    UNCOMMITTED = 0
    REGISTERING = 1
    ESTABLISHED = 2
    COLLISION = 3
    FAILURE = 4


class EntryGroup:
    """An entry group: records that Avahi establishes or refuses together."""

    def __init__(self, session: AvahiSession, path: str) -> None:
        self.state = GroupState.UNCOMMITTED
        self.reason = ""  # Avahi's error name, after FAILURE
        self._session = session
        self._path = path
        self._changed = asyncio.Event()

    async def call(self, method: str, signature: str = "", body: tuple[object, ...] = ()) -> None:
        """Call one of the group's methods. PublishError, or CallRefused with Avahi's error."""
        if self._session.over:
            raise PublishError("Avahi ended, or changed its host name")
        await self._session.call(self._path, f"{GROUP}.{method}", signature, body)

    async def left(self, *states: GroupState) -> GroupState:
        """Wait until the state is none of `states`; the new one."""
        while self.state in states:
            await self._changed.wait()
            self._changed.clear()
        return self.state

    async def free(self) -> None:
        """Free the group; Avahi sends goodbyes for what was established. Never raises.

        Also after the session's end: an Avahi that only changed its host name still has it.
        """
        self._session.groups.pop(self._path, None)
        with contextlib.suppress(PublishError):  # then the end of Avahi or of D-Bus freed it
            await self._session.call(self._path, f"{GROUP}.Free")

    def changed_to(self, state: GroupState, reason: str = "") -> None:
        """Take note of a signal."""
        self.state, self.reason = state, reason
        self._changed.set()


class AvahiSession:
    """A period in which Avahi keeps what was registered with it."""

    def __init__(self, bus: Bus, owner: str) -> None:
        self.groups: dict[str, EntryGroup] = {}
        self.ended = asyncio.Event()
        self._bus = bus
        self._owner = owner

    @property
    def over(self) -> bool:
        """Nothing of this session exists any more."""
        return self.ended.is_set()

    async def new_group(self) -> EntryGroup:
        """An empty group; PublishError if Avahi grants none."""
        (path,) = await self.call("/", f"{SERVER}.EntryGroupNew")
        group = EntryGroup(self, str(path))
        self.groups[str(path)] = group
        if self.over:
            group.changed_to(GroupState.LOST)
        return group

    async def host_name(self) -> str:
        """What Avahi calls this machine, like "desk.local"; the same for the whole session."""
        (name,) = await self.call("/", f"{SERVER}.GetHostNameFqdn")
        return str(name)

    async def call(
        self, path: str, member: str, signature: str = "", body: tuple[object, ...] = ()
    ) -> tuple[object, ...]:
        """Call the Avahi of this session."""
        return await self._bus.call(self._owner, path, member, signature, body)

    def on_signal(self, signal: Signal) -> None:
        """Pass a group's change of state to the group."""
        group = self.groups.get(signal.path)
        if group is None or signal.sender != self._owner:
            return
        state, reason = signal.body
        if isinstance(state, int):
            group.changed_to(GroupState(state), str(reason))

    def end(self) -> None:
        """Mark every group of it as lost. Idempotent."""
        self.ended.set()
        for group in self.groups.values():
            group.changed_to(GroupState.LOST)


class AvahiServer:
    """Follows Avahi from `start` to `close`; `session` is None while it cannot be used.

    `on_change` is called, in the loop, whenever `session` or `trouble` changed.
    """

    def __init__(
        self,
        on_change: Callable[[], None],
        *,
        bus_address: str | None = None,
        retry_s: float = 1.0,
        call_s: float = 5.0,
    ) -> None:
        self.session: AvahiSession | None = None
        self.trouble = "not started"  # why there is no session
        self.is_there = False  # Avahi has its name on the bus, ready or not
        self._owner = ""  # Avahi's unique name; others on the bus could pretend to be it
        self._on_change = on_change
        self._bus_address = bus_address
        self._retry_s = retry_s
        self._call_s = call_s
        self._hint = asyncio.Event()
        self._known = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_owned(self) -> bool:
        """A process had Avahi's name when the bus was asked last, even if it does not answer."""
        return bool(self._owner)

    async def start(self) -> None:
        """Begin to follow; done when it is known whether Avahi is there."""
        self._task = asyncio.create_task(keep_running("follow Avahi", self._keep_connected))
        await self._known.wait()

    async def close(self) -> None:
        """Stop following, and leave the bus: Avahi then withdraws what is still there."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _keep_connected(self) -> None:
        try:
            while True:
                try:
                    await self._one_connection()
                except PublishError as exc:
                    self._end(str(exc))
                self._known.set()
                await asyncio.sleep(self._retry_s)
        finally:
            self._end("stopped")

    async def _one_connection(self) -> None:
        bus = await Bus.connect(
            self._bus_address, self._on_signal, self._hint.set, call_s=self._call_s
        )
        try:
            await bus.match(sender=BUS, interface=BUS, member="NameOwnerChanged", arg0=AVAHI)
            await bus.match(sender=AVAHI, interface=SERVER, member="StateChanged")
            await bus.match(sender=AVAHI, interface=GROUP, member="StateChanged")
            await self._follow(bus)
            self._end("the connection to D-Bus is lost")
        finally:
            self.is_there = False
            await bus.close()

    async def _follow(self, bus: Bus) -> None:
        while not bus.lost:
            self._hint.clear()
            if self.session is None:
                await self._find_avahi(bus)
            self._known.set()
            await self._hint.wait()

    async def _find_avahi(self, bus: Bus) -> None:
        """Find out whether Avahi runs; begin a session if it does."""
        try:
            (owner,) = await bus.call(BUS, BUS_PATH, f"{BUS}.GetNameOwner", "s", [AVAHI])
            self._owner = str(owner)
            (state,) = await bus.call(self._owner, "/", f"{SERVER}.GetState")
        except CallRefused:
            self._owner, self.is_there = "", False
            self._end("Avahi is not running")
            return
        self.is_there = True
        if self._hint.is_set():
            return  # it changed while we asked: ask again
        if state != ServerState.RUNNING:
            name = ServerState(state).name.lower() if isinstance(state, int) else state
            self._end(f"Avahi is not ready: its host name is {name}")
            return
        self.session, self.trouble = AvahiSession(bus, self._owner), ""
        log.info("Avahi is running")
        self._on_change()

    def _on_signal(self, signal: Signal) -> None:
        if signal.interface == GROUP:
            if self.session is not None:
                self.session.on_signal(signal)
            return
        if signal.sender in {BUS, self._owner} and signal.member in SIGNS:
            self._end("Avahi restarted or changed its host name")
            self._hint.set()

    def _end(self, trouble: str) -> None:
        if self.session is not None:
            log.info("announcements withdrawn: %s", trouble)
            self.session.end()
        self.session, changed = None, self.session is not None or self.trouble != trouble
        self.trouble = trouble
        if changed:
            self._on_change()
