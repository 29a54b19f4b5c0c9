"""Avahi and D-Bus as seen through `dnssd.bus.Bus`: the other end, with a life of its own.

A test starts, stops, restarts and renames it, takes names away from under it, silences it, or
loses the bus. It keeps what clients registered and emits the signals that Avahi 0.8 emits, in
the order in which it emits them: a group is REGISTERING when committed, and settles later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from ippusbd.dnssd.avahi_server import AVAHI, GROUP, SERVER, GroupState, ServerState
from ippusbd.dnssd.dbus import BUS, CallRefused, Signal
from ippusbd.errors import PublishError

COLLISION = "org.freedesktop.Avahi.CollisionError"
NO_OWNER = "org.freedesktop.DBus.Error.NameHasNoOwner"


@dataclass(frozen=True)
class Entry:
    """A service as it was added."""

    name: str
    type: str
    host: str
    port: int
    txt: tuple[bytes, ...]


@dataclass
class FakeGroup:
    """An entry group as Avahi holds it."""

    client: FakeBus
    services: list[Entry] = field(default_factory=list)
    subtypes: list[tuple[str, str]] = field(default_factory=list)  # name, subtype
    addresses: list[tuple[str, str]] = field(default_factory=list)  # host, address
    state: GroupState = GroupState.UNCOMMITTED


class FakeAvahi:
    """`connect` stands in for `Bus.connect`. Without `start`, Avahi is not on the bus."""

    def __init__(self) -> None:
        self.groups: dict[str, FakeGroup] = {}
        self.taken: set[tuple[str, str]] = set()  # name, type of others on this machine
        self.taken_elsewhere: set[str] = set()  # found out while registering
        self.refusals: dict[str, str] = {}  # method: D-Bus error name
        self.silent = False
        self.bus_is_there = True
        self.calls: list[str] = []
        self._state: ServerState | None = None
        self._serial = count(1)
        self._owner = ""
        self._clients: set[FakeBus] = set()

    # --- what tests do to it

    def start(self, state: ServerState = ServerState.RUNNING) -> None:
        """Appear on the bus, and be in `state`."""
        self._owner = f":1.{next(self._serial)}"
        self._emit(BUS, BUS, "NameOwnerChanged", (AVAHI, "", self._owner))
        self.become(state)

    def stop(self) -> None:
        """Leave the bus, and forget all groups."""
        self._state, old = None, self._owner
        self.groups.clear()
        self._emit(BUS, BUS, "NameOwnerChanged", (AVAHI, old, ""))

    def become(self, state: ServerState) -> None:
        """Change the server's state: RUNNING, REGISTERING under another host name, ..."""
        self._state = state
        self._emit(self._owner, SERVER, "StateChanged", (int(state), ""))

    def pretend(self, sender: str, state: ServerState) -> None:
        """Another client of the bus sends Avahi's signals."""
        self._emit(sender, SERVER, "StateChanged", (int(state), ""))
        for path in self.groups:
            self._emit(sender, GROUP, "StateChanged", (int(GroupState.COLLISION), ""), path)

    def collide(self, name: str) -> None:
        """Somebody on the network turns out to own `name`."""
        for path, group in self.groups.items():
            if any(entry.name == name for entry in group.services):
                self._finish(path, GroupState.COLLISION)

    def fail(self, name: str, error: str) -> None:
        """Give up the group that holds `name`."""
        for path, group in self.groups.items():
            if any(entry.name == name for entry in group.services):
                self._finish(path, GroupState.FAILURE, error)

    def lose_bus(self) -> None:
        """The bus goes, and everything on it."""
        self.bus_is_there = False
        self._state = None
        self.groups.clear()
        for client in list(self._clients):
            client.give_up()

    @property
    def established(self) -> list[Entry]:
        """Every service that the network can see."""
        return [
            entry
            for group in self.groups.values()
            if group.state is GroupState.ESTABLISHED
            for entry in group.services
        ]

    # --- the other end of the bus

    async def connect(
        self,
        _address: str | None,
        on_signal: Callable[[Signal], None],
        on_lost: Callable[[], None],
        *,
        call_s: float,
    ) -> FakeBus:
        """In place of `Bus.connect`."""
        if not self.bus_is_there:
            raise PublishError("no D-Bus: it is not there")
        client = FakeBus(self, on_signal, on_lost, call_s)
        self._clients.add(client)
        return client

    def leave(self, client: FakeBus) -> None:
        """A client is gone: so are its groups."""
        self._clients.discard(client)
        self.groups = {p: g for p, g in self.groups.items() if g.client is not client}

    def answer(
        self, client: FakeBus, to: str, path: str, method: str, body: Sequence[object]
    ) -> tuple[object, ...]:
        """The result of a call."""
        self.calls.append(method)
        if method == "AddMatch":
            return ()
        if method == "GetNameOwner":
            if self._state is None:
                raise CallRefused(NO_OWNER, "no owner")
            return (self._owner,)
        if self._state is None or to != self._owner:
            raise CallRefused(NO_OWNER, f"nobody is {to}")
        if method in self.refusals:
            raise CallRefused(self.refusals[method], "as the test wished")
        if method == "GetState":
            return (int(self._state),)
        if method == "EntryGroupNew":
            path = f"/Client1/EntryGroup{next(self._serial)}"
            self.groups[path] = FakeGroup(client)
            return (path,)
        getattr(self, f"_{method}")(path, *body)
        return ()

    def _AddAddress(self, path: str, *body: object) -> None:
        *_, host, address = body
        self.groups[path].addresses.append((str(host), str(address)))

    def _AddService(self, path: str, *body: object) -> None:
        _, _, _, name, type_, _, host, port, txt = body
        entry = Entry(str(name), str(type_), str(host), port, tuple(txt))  # type: ignore[arg-type]
        others = (e for p, g in self.groups.items() if p != path for e in g.services)
        if (entry.name, entry.type) in self.taken or any(
            (o.name, o.type) == (entry.name, entry.type) and o != entry for o in others
        ):
            raise CallRefused(COLLISION, "Local name collision")
        self.groups[path].services.append(entry)

    def _AddServiceSubtype(self, path: str, *body: object) -> None:
        self.groups[path].subtypes.append((str(body[3]), str(body[6])))

    def _Commit(self, path: str) -> None:
        self._finish(path, GroupState.REGISTERING)
        asyncio.get_running_loop().call_soon(self._probed, path)

    def _probed(self, path: str) -> None:
        group = self.groups.get(path)
        if group is not None and group.state is GroupState.REGISTERING:
            lost = any(entry.name in self.taken_elsewhere for entry in group.services)
            self._finish(path, GroupState.COLLISION if lost else GroupState.ESTABLISHED)

    def _Free(self, path: str) -> None:
        del self.groups[path]

    def _finish(self, path: str, state: GroupState, error: str = "") -> None:
        self.groups[path].state = state
        self._emit(self._owner, GROUP, "StateChanged", (int(state), error), path)

    def _emit(
        self, sender: str, interface: str, member: str, body: tuple[object, ...], path: str = "/"
    ) -> None:
        for client in list(self._clients):
            client.on_signal(Signal(sender, path, interface, member, body))


class FakeBus:
    """A client's connection."""

    def __init__(
        self,
        avahi: FakeAvahi,
        on_signal: Callable[[Signal], None],
        on_lost: Callable[[], None],
        call_s: float,
    ) -> None:
        self.lost = False
        self.on_signal = on_signal
        self._on_lost = on_lost
        self._avahi = avahi
        self._call_s = call_s

    async def call(
        self,
        destination: str,
        path: str,
        member: str,
        _signature: str = "",
        body: Sequence[object] = (),
    ) -> tuple[object, ...]:
        """As `Bus.call`; each takes one turn of the loop, or `call_s` if Avahi is silent."""
        if self._avahi.silent and destination != BUS:
            await asyncio.sleep(self._call_s)
            raise PublishError(f"{member}: no answer in {self._call_s:g} s")
        await asyncio.sleep(0)
        if self.lost:
            raise PublishError("the connection to D-Bus is lost")
        return self._avahi.answer(self, destination, path, member.rpartition(".")[2], body)

    async def match(self, **_wanted: str) -> None:
        """As `Bus.match`."""
        await asyncio.sleep(0)

    async def close(self) -> None:
        """As `Bus.close`."""
        self._avahi.leave(self)
        self.lost = True

    def give_up(self) -> None:
        """The bus hung up."""
        self._avahi.leave(self)
        self.lost = True
        self._on_lost()
