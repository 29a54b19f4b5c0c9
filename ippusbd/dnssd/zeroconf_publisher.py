"""Services announced by ourselves, with python-zeroconf, where no Avahi runs.

It speaks multicast DNS on the addresses of its scope only, by default the loopback's, under the
host name that the Avahi publisher uses, too, so that a printer keeps its records when the
announcer changes.

Five of the library's limits shape this module. It listens on every interface (see `fence`). Its
probes do not find a taken name (see `_is_taken`). A registry holds each instance name once, so a
record's first subtype is in a second registry, its second subtype in a third, and so on. A name
is split at every dot, so "HP 3.5" would become two labels: its dots become one-dot leaders
(U+2024), which look the same and give the same queue name in CUPS. And if we are killed, no
goodbyes are sent: a short time to live ends the records.

The only module that knows python-zeroconf, which is loaded with the first set.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ippusbd.dnssd.fence import receive_only_from
from ippusbd.dnssd.limits import LABEL_BYTES, describe, txt_items
from ippusbd.dnssd.naming import NameBook, NameTaken
from ippusbd.dnssd.protocols import ESTABLISHED
from ippusbd.dnssd.publication import TaskPublication, TaskPublisher
from ippusbd.dnssd.scope import LOOPBACK, Scope
from ippusbd.errors import PublishError
from ippusbd.model import ServiceRecord, ServiceSet

if TYPE_CHECKING:
    from zeroconf import ServiceInfo
    from zeroconf.asyncio import AsyncZeroconf

log = logging.getLogger("ippusbd.dnssd")

PROBE_MS = 750  # three questions 250 ms apart, as RFC 6762, 8.1
TTL_S = 60  # asked for again at 80 %; on a loopback that costs nothing
GOODBYE_S = 3.0  # goodbyes take 0.25 s


class ZeroconfPublication(TaskPublication["ZeroconfPublisher"]):
    """One set of services in the responders' registries."""

    async def announce(self) -> None:
        """Announce until cancelled; retry what could not be announced."""
        while True:
            try:
                await self._announce()
            except PublishError as exc:
                self.set_state(str(exc))
                await asyncio.sleep(self._owner.retry_s)

    async def _announce(self) -> None:
        fixed = asyncio.create_task(self._fixed(), name=f"dnssd: fixed of {self.name}")
        try:
            for name in self._owner.book.free(self.name, self.services):
                try:
                    with self._owner.book.held(name):
                        await self._announce_as(name, fixed)
                except NameTaken as exc:
                    log.info("%s", exc)
        finally:
            if not fixed.cancelling():
                fixed.cancel()  # once only: it sends goodbyes
            await asyncio.wait({fixed})

    async def _announce_as(self, name: str, fixed: asyncio.Task[None]) -> None:
        async with self._owner.registered(self.services.renamed(name).records):
            self._name = name
            self.set_state(ESTABLISHED)
            try:
                await asyncio.Event().wait()
            finally:
                fixed.cancel()  # its goodbyes are sent together with ours

    async def _fixed(self) -> None:
        try:
            async with self._owner.registered(self.services.fixed):
                await asyncio.Event().wait()
        except PublishError as exc:  # taken: the other record says the same
            log.info("%s", exc)


class ZeroconfPublisher(TaskPublisher):
    """Announces by itself; needs nothing but the network."""

    kind = "zeroconf"

    def __init__(
        self,
        *,
        scope: Scope = LOOPBACK,
        retry_s: float = 5.0,
        make_responder: Callable[..., AsyncZeroconf] | None = None,
    ) -> None:
        """`retry_s`: the pause after a failure."""
        super().__init__()
        self.book = NameBook()
        self._make_responder = make_responder
        self.retry_s = retry_s
        self.trouble = ""
        self._scope = scope
        self._users = 0
        self._responders: list[AsyncZeroconf] = []  # [0]: services; [n]: their nth subtypes

    async def start(self) -> None:
        """Load the library; `trouble` says if that fails."""
        try:
            await asyncio.to_thread(importlib.import_module, "zeroconf.asyncio")
        except ImportError as exc:
            self.trouble = f"python-zeroconf is not installed ({exc})"

    def publication(self, services: ServiceSet) -> ZeroconfPublication:
        return ZeroconfPublication(self, services)

    @asynccontextmanager
    async def registered(self, records: tuple[ServiceRecord, ...]) -> AsyncIterator[None]:
        """Announce `records` while in the context. NameTaken, if any of their names is."""
        if self.trouble:
            raise PublishError(self.trouble)
        done: list[_Registration] = []
        self._users += 1
        try:
            # Probed at once: one after the other, four records take six seconds.
            probes = (self._register(record, done) for record in records)
            for outcome in await asyncio.gather(*probes, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
            yield
        finally:
            await _unregister(done)
            self._users -= 1
            await self._close_unused()

    async def _close_unused(self) -> None:
        """No sockets, and no cache of a whole network's records, while nothing is announced."""
        if not self._users:
            responders, self._responders = self._responders, []
            await asyncio.gather(*(each.async_close() for each in responders))

    async def _register(self, record: ServiceRecord, done: list[_Registration]) -> None:
        from zeroconf import Error, ServiceNameAlreadyRegistered

        types = (record.type, *(f"{sub}._sub.{record.type}" for sub in record.subtypes))
        try:
            for layer, type_ in enumerate(types):
                responder = await self._responder(layer)
                info = _info(record, type_, self._scope)
                if layer == 0 and await _is_taken(responder, info):
                    raise NameTaken(f"{describe(record)}: the name is taken")
                announced = await responder.async_register_service(
                    info, cooperating_responders=True, strict=layer == 0
                )
                done.append(_Registration(responder, info, asyncio.ensure_future(announced)))
        except ServiceNameAlreadyRegistered as exc:
            raise NameTaken(f"{describe(record)}: the name is taken") from exc
        except (Error, OSError) as exc:
            raise PublishError(f"{describe(record)}: {exc!r}") from exc

    async def _responder(self, layer: int) -> AsyncZeroconf:
        from zeroconf import IPVersion
        from zeroconf.asyncio import AsyncZeroconf

        scope = self._scope
        # Whatever is served there, multicast DNS on a loopback is spoken over 127.0.0.1.
        spoken = ["127.0.0.1"] if scope.interfaces == LOOPBACK.interfaces else list(scope.ipv4)
        version = IPVersion.V4Only if spoken else IPVersion.V6Only
        spoken = spoken or list(scope.addresses)
        while len(self._responders) <= layer:
            make = self._make_responder or AsyncZeroconf
            responder = make(interfaces=spoken, ip_version=version)
            # The library reads its sockets in a later turn of the loop: after the filter is set.
            engine = responder.zeroconf.engine
            sockets = filter(None, (engine._listen_socket, *engine._respond_sockets))
            try:
                receive_only_from(scope.interfaces, sockets)
            except OSError:
                await responder.async_close()
                raise
            self._responders.append(responder)
        return self._responders[layer]


@dataclass(frozen=True, slots=True)
class _Registration:
    responder: AsyncZeroconf
    info: ServiceInfo
    announced: asyncio.Future[None]


async def _is_taken(responder: AsyncZeroconf, info: ServiceInfo) -> bool:
    """Whether another responder has the name.

    The library's own probes ask for answers by unicast. On a loopback all responders share one
    address and port, and the kernel delivers such an answer to any one of them. So we ask again.
    """
    from zeroconf import DNSQuestionType
    from zeroconf.asyncio import AsyncServiceInfo

    other = AsyncServiceInfo(info.type, info.name)
    multicast = DNSQuestionType.QM
    if not await other.async_request(responder.zeroconf, PROBE_MS, question_type=multicast):
        return False
    return (other.server, other.port) != (info.server, info.port)


async def _unregister(done: list[_Registration]) -> None:
    """Send goodbyes for everything in `done`."""
    goodbyes = set()
    for each in done:
        each.announced.cancel()
        goodbye = await each.responder.async_unregister_service(each.info)
        goodbyes.add(asyncio.ensure_future(goodbye))
    if goodbyes:
        await asyncio.wait(goodbyes | {each.announced for each in done}, timeout=GOODBYE_S)


def _info(record: ServiceRecord, type_: str, scope: Scope) -> ServiceInfo:
    from zeroconf import ServiceInfo

    items = txt_items(record) or [b""]
    return ServiceInfo(
        f"{type_}.local.",
        f"{wire_name(record.name)}.{record.type}.local.",
        port=record.port,
        properties=b"".join(bytes([len(item)]) + item for item in items),
        server=f"{scope.host}.",
        host_ttl=TTL_S,
        other_ttl=TTL_S,
        parsed_addresses=list(scope.addresses),
    )


def wire_name(name: str) -> str:
    """The instance name without dots, at most 63 bytes."""
    leaders = name.replace(".", "\N{ONE DOT LEADER}")
    return leaders if len(leaders.encode()) <= LABEL_BYTES else name.replace(".", "_")
