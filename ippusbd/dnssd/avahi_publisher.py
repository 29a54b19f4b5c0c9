"""Services announced by the Avahi daemon, kept announced whatever happens to it.

Each set of services has a task of its own that registers it in an entry group, watches the
group, and registers it anew in every session of Avahi's life. A collision of names is resolved
by the project's own sequence of names, which status and state file know; Avahi's is not used.
Records with a name of their own (`ServiceSet.fixed`) stand in a second group: their collision
must not rename the printer.

Records are registered on the interfaces of their reach. On lo they carry a host name of their
own, whose only address is the loopback's: Avahi's own host name may resolve to another interface's
address, at which nobody listens. Avahi refuses plain "localhost".

Knows how Avahi's entry groups are filled; D-Bus and Avahi's comings and goings are avahi_server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from ippusbd.dnssd.avahi_server import AvahiServer, Group, GroupState, Session
from ippusbd.dnssd.dbus import CallRefused
from ippusbd.dnssd.limits import check, describe, txt_items
from ippusbd.dnssd.naming import NameBook, Names, NameTaken, own_names
from ippusbd.dnssd.protocols import ESTABLISHED, REGISTERING
from ippusbd.dnssd.publication import KeptPublication
from ippusbd.dnssd.scope import LOOPBACK, Scope
from ippusbd.errors import PublishError
from ippusbd.model import ServiceRecord, ServiceSet

log = logging.getLogger("ippusbd.dnssd")

ANY_PROTOCOL = -1  # AVAHI_PROTO_UNSPEC
NO_REVERSE = 16  # AVAHI_PUBLISH_NO_REVERSE: 127.0.0.1 keeps its own PTR record
COLLISION = "org.freedesktop.Avahi.CollisionError"


class _Where:
    """Registers records where a reach says."""

    def __init__(self, reach: Scope) -> None:
        self.reach = reach
        # Avahi's own is said by none; out there Avahi knows it and its addresses better.
        self._host = "" if reach.is_machines_own else reach.host

    async def fill(self, group: Group, records: tuple[ServiceRecord, ...]) -> None:
        """Put the records into `group`. NameTaken, or PublishError naming the record."""
        for interface in self.reach.interfaces:
            try:
                index = socket.if_nametoindex(interface)
            except OSError as exc:
                raise PublishError(f"no network interface {interface!r}") from exc
            await self._fill(group, index, records)

    async def _fill(self, group: Group, index: int, records: tuple[ServiceRecord, ...]) -> None:
        for address in self.reach.addresses if self._host else ():
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

    async def _add(self, group: Group, index: int, record: ServiceRecord) -> None:
        key = (index, ANY_PROTOCOL, 0, record.name, record.type, "")
        await group.call(
            "AddService", "iiussssqaay", (*key, self._host, record.port, txt_items(record))
        )
        for subtype in record.subtypes:
            await group.call(
                "AddServiceSubtype", "iiussss", (*key, f"{subtype}._sub.{record.type}")
            )


class AvahiPublication(KeptPublication):
    """One set of services, announced while Avahi lets us."""

    def __init__(
        self,
        owner: AvahiPublisher,
        services: ServiceSet,
        forget: Callable[[KeptPublication], None],
    ) -> None:
        self._owner = owner
        super().__init__(services, forget)

    async def keep(self) -> None:
        """Register in this session of Avahi's, and in the next, and so on."""
        while True:
            session = await self._session()
            try:
                await self._announce(session)
            except PublishError as exc:
                self.say(str(exc))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._owner.refused_s):
                        await session.ended.wait()

    async def _session(self) -> Session:
        """The session that is, or the next that comes."""
        while (session := self._owner.server.session) is None:
            self.say(self._owner.server.trouble)
            await self._owner.changed()
        self.say(REGISTERING)
        return session

    async def _announce(self, session: Session) -> None:
        """Keep the set announced to the end of the session, renaming it as often as needed."""
        async with contextlib.AsyncExitStack() as stack:
            if self.services.fixed:
                fixed = self._registered(session, self.services.fixed)
                with contextlib.suppress(NameTaken):  # whoever took it says the same as we
                    await stack.enter_async_context(fixed)
            for name in self._owner.book.free(self.name, self.services.name):
                try:
                    with self._owner.book.held(name):
                        return await self._announce_as(session, name)
                except NameTaken as exc:
                    log.info("%s", exc)

    async def _announce_as(self, session: Session, name: str) -> None:
        self.name = name
        records = self.services.renamed(name).records
        if self._owner.where.reach.is_machines_own:
            records = await self._as_called(session, records)
        async with self._registered(session, records) as group:
            await group.left(GroupState.UNCOMMITTED, GroupState.REGISTERING)
            if group.state is GroupState.ESTABLISHED:
                self.say(ESTABLISHED)
                await group.left(GroupState.ESTABLISHED)
            if group.state is GroupState.COLLISION:
                raise NameTaken(f"{name!r} is taken by somebody else on this network")
            if group.state is not GroupState.LOST:
                raise PublishError(f"{name!r}: Avahi gave it up: {group.reason}")

    async def _as_called(
        self, session: Session, records: tuple[ServiceRecord, ...]
    ) -> tuple[ServiceRecord, ...]:
        """With Avahi's name for this machine in their links."""
        reach = self._owner.where.reach
        called = await session.host_name()
        reach.on_called(called)
        ours, theirs = f"https://{reach.host}:", f"https://{called}:"
        return tuple(
            replace(each, txt=tuple((key, v.replace(ours, theirs)) for key, v in each.txt))
            for each in records
        )

    @asynccontextmanager
    async def _registered(
        self, session: Session, records: tuple[ServiceRecord, ...]
    ) -> AsyncIterator[Group]:
        group = await session.new_group()
        try:
            await self._owner.where.fill(group, records)
            await group.call("Commit")
            yield group
        finally:
            await group.free()


class AvahiPublisher:
    """Announces through Avahi; waits for it where it is not (yet) there."""

    kind = "avahi"

    def __init__(
        self,
        *,
        reach: Scope = LOOPBACK,
        bus_address: str | None = None,
        names: Names = own_names,
        patience_s: float = 5.0,
        retry_s: float = 1.0,
        refused_s: float = 30.0,
        call_s: float = 5.0,
    ) -> None:
        """`patience_s`: how long `publish` waits; `retry_s`: for D-Bus; `refused_s`: after Avahi
        refused a set; `call_s`: how long a call to Avahi may take."""
        self.where = _Where(reach)
        self.book = NameBook(names)
        self.refused_s = refused_s
        self.server = AvahiServer(
            self._wake, bus_address=bus_address, retry_s=retry_s, call_s=call_s
        )
        self._publications: set[KeptPublication] = set()
        self._patience_s = patience_s
        self._change = asyncio.Event()

    @property
    def trouble(self) -> str:
        """Why nothing can be announced now."""
        return self.server.trouble

    async def start(self) -> None:
        """Find Avahi; done when it is known whether it runs."""
        await self.server.start()

    async def publish(self, services: ServiceSet) -> AvahiPublication:
        """See `ports.Publisher.publish`. Returns at once where there is no Avahi."""
        check(services)
        publication = AvahiPublication(self, services, self._publications.discard)
        self._publications.add(publication)
        await publication.settled(self._patience_s)
        return publication

    async def close(self) -> None:
        """Withdraw everything and leave the bus."""
        await asyncio.gather(*(each.withdraw() for each in list(self._publications)))
        await self.server.close()

    async def changed(self) -> None:
        """Wait until Avahi came, went, or said why it cannot be used."""
        await self._change.wait()

    def _wake(self) -> None:
        self._change.set()
        self._change = asyncio.Event()
