"""Services announced by the Avahi daemon, kept announced whatever happens to it.

Each set of services has a task of its own that registers it in an entry group, watches the
group, and registers it again in every new session with Avahi. A collision of names is resolved
by the project's own sequence of names, which status and state file know; Avahi's is not used.
Records with a name of their own (`ServiceSet.fixed`) stand in a second group: their collision
must not rename the printer.

Records are registered on the interfaces of their scope. On lo they carry a host name of their
own, whose addresses are those we serve: Avahi's host name may resolve to another interface's
address, at which nobody listens. Avahi refuses plain "localhost".

Knows how Avahi's entry groups are filled; D-Bus, and when Avahi runs, are avahi_server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from ippusbd.dnssd.avahi_server import AvahiServer, AvahiSession, EntryGroup, GroupState
from ippusbd.dnssd.dbus import CallRefused
from ippusbd.dnssd.limits import describe, txt_items
from ippusbd.dnssd.naming import NameBook, NameTaken
from ippusbd.dnssd.protocols import ESTABLISHED, REGISTERING
from ippusbd.dnssd.publication import TaskPublication, TaskPublisher
from ippusbd.dnssd.scope import LOOPBACK, Scope
from ippusbd.errors import PublishError
from ippusbd.model import ServiceRecord, ServiceSet

log = logging.getLogger("ippusbd.dnssd")

ANY_PROTOCOL = -1  # AVAHI_PROTO_UNSPEC
NO_REVERSE = 16  # AVAHI_PUBLISH_NO_REVERSE: 127.0.0.1 keeps its own PTR record
COLLISION = "org.freedesktop.Avahi.CollisionError"


class _Registrar:
    """Registers records on the interfaces of a scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        # An empty name is Avahi's own, whose addresses on a network Avahi knows itself.
        self._host = "" if scope.is_own_host else scope.host

    async def fill(self, group: EntryGroup, records: tuple[ServiceRecord, ...]) -> None:
        """Put the records into `group`. NameTaken, or PublishError naming the record."""
        for interface in self.scope.interfaces:
            try:
                index = socket.if_nametoindex(interface)
            except OSError as exc:
                raise PublishError(f"no network interface {interface!r}") from exc
            await self._fill(group, index, records)

    async def _fill(
        self, group: EntryGroup, index: int, records: tuple[ServiceRecord, ...]
    ) -> None:
        for address in self.scope.addresses if self._host else ():
            try:
                await group.call(
                    "AddAddress", "iiuss", (index, ANY_PROTOCOL, NO_REVERSE, self._host, address)
                )
            except CallRefused as exc:
                raise PublishError(f"host name {self._host!r}: Avahi refuses it: {exc}") from exc
        for record in records:
            try:
                await self._add(group, index, record)
            except CallRefused as exc:
                kind = NameTaken if exc.name == COLLISION else PublishError
                raise kind(f"{describe(record)}: Avahi refuses it: {exc}") from exc

    async def _add(self, group: EntryGroup, index: int, record: ServiceRecord) -> None:
        key = (index, ANY_PROTOCOL, 0, record.name, record.type, "")
        await group.call(
            "AddService", "iiussssqaay", (*key, self._host, record.port, txt_items(record))
        )
        for subtype in record.subtypes:
            await group.call(
                "AddServiceSubtype", "iiussss", (*key, f"{subtype}._sub.{record.type}")
            )


class AvahiPublication(TaskPublication["AvahiPublisher"]):
    """One set of services, announced while Avahi runs and accepts it."""

    async def announce(self) -> None:
        """Register in this session with Avahi, and in each one after it."""
        while True:
            session = await self._session()
            try:
                await self._announce(session)
            except PublishError as exc:
                self.set_state(str(exc))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._owner.refused_s):
                        await session.ended.wait()

    async def _session(self) -> AvahiSession:
        """The current session, or the next one."""
        while (session := self._owner.server.session) is None:
            self.set_state(self._owner.server.trouble)
            await self._owner.changed()
        self.set_state(REGISTERING)
        return session

    async def _announce(self, session: AvahiSession) -> None:
        """Keep the set announced to the end of the session, renaming it as often as needed."""
        async with contextlib.AsyncExitStack() as stack:
            if self.services.fixed:
                fixed = self._registered(session, self.services.fixed)
                with contextlib.suppress(NameTaken):  # the other record says the same
                    await stack.enter_async_context(fixed)
            for name in self._owner.book.free(self.name, self.services):
                try:
                    with self._owner.book.held(name):
                        return await self._announce_as(session, name)
                except NameTaken as exc:
                    log.info("%s", exc)

    async def _announce_as(self, session: AvahiSession, name: str) -> None:
        self._name = name
        records = self.services.renamed(name).records
        if self._owner.registrar.scope.is_own_host:
            records = await self._with_host_name(session, records)
        async with self._registered(session, records) as group:
            await group.left(GroupState.UNCOMMITTED, GroupState.REGISTERING)
            if group.state is GroupState.ESTABLISHED:
                self.set_state(ESTABLISHED)
                await group.left(GroupState.ESTABLISHED)
            if group.state is GroupState.COLLISION:
                raise NameTaken(f"{name!r} is used by another host or program on this network")
            if group.state is not GroupState.LOST:
                raise PublishError(f"{name!r}: Avahi failed to register it: {group.reason}")

    async def _with_host_name(
        self, session: AvahiSession, records: tuple[ServiceRecord, ...]
    ) -> tuple[ServiceRecord, ...]:
        """With Avahi's name for this machine in their links."""
        scope = self._owner.registrar.scope
        host = await session.host_name()
        scope.on_host_name(host)
        ours, theirs = f"https://{scope.host}:", f"https://{host}:"
        return tuple(
            replace(each, txt=tuple((key, v.replace(ours, theirs)) for key, v in each.txt))
            for each in records
        )

    @asynccontextmanager
    async def _registered(
        self, session: AvahiSession, records: tuple[ServiceRecord, ...]
    ) -> AsyncIterator[EntryGroup]:
        group = await session.new_group()
        try:
            await self._owner.registrar.fill(group, records)
            await group.call("Commit")
            yield group
        finally:
            await group.free()


class AvahiPublisher(TaskPublisher):
    """Announces through Avahi; waits for it while it does not run."""

    kind = "avahi"

    def __init__(
        self,
        *,
        scope: Scope = LOOPBACK,
        bus_address: str | None = None,
        patience_s: float = 5.0,
        retry_s: float = 1.0,
        refused_s: float = 30.0,
        call_s: float = 5.0,
    ) -> None:
        """`patience_s`: how long `publish` waits; `retry_s`: between attempts to reach D-Bus;
        `refused_s`: after Avahi refused a set; `call_s`: how long a call to Avahi may take."""
        super().__init__()
        self.patience_s = patience_s
        self.registrar = _Registrar(scope)
        self.book = NameBook()
        self.refused_s = refused_s
        self.server = AvahiServer(
            self._wake, bus_address=bus_address, retry_s=retry_s, call_s=call_s
        )
        self._change = asyncio.Event()

    @property
    def trouble(self) -> str:
        """Why nothing can be announced now."""
        return self.server.trouble

    async def start(self) -> None:
        """Look for Avahi; done when it is known whether it runs."""
        await self.server.start()

    def publication(self, services: ServiceSet) -> AvahiPublication:
        return AvahiPublication(self, services)

    async def close(self) -> None:
        """Withdraw everything and leave the bus."""
        await super().close()
        await self.server.close()

    async def changed(self) -> None:
        """Wait until Avahi starts, ends, or changes its state."""
        await self._change.wait()

    def _wake(self) -> None:
        self._change.set()
        self._change = asyncio.Event()
