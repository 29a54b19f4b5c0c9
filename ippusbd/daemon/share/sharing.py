"""Printers for the network: doors on its addresses, and announcements beside this machine's own.

Off unless the configuration names interfaces; then every printer gets a door on each of their
addresses, on the port that it has on loopback, and what is announced here is announced there as
others may use it. Addresses come and go while all this runs; what is served follows.

Knows doors, certificates and publishers; nothing of printers but their sites.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any, Final

from ippusbd.config import Config
from ippusbd.daemon.share import certificate
from ippusbd.daemon.share.interfaces import Address, Changes, look
from ippusbd.dnssd.protocols import Publication, Publisher
from ippusbd.dnssd.rebinding_publisher import RebindingPublisher
from ippusbd.dnssd.scope import Scope
from ippusbd.model import ServiceSet
from ippusbd.proxy.access.network import BasicAuth, Network
from ippusbd.proxy.admission.listeners import bind
from ippusbd.proxy.admission.tls_listener import TlsListener
from ippusbd.proxy.server import PrinterSite
from ippusbd.users.passwords import Users
from ippusbd.wire.txt_shared import shared

log = logging.getLogger("ippusbd.daemon")

SETTLE_S: Final = 0.2  # an interface that comes up changes several times
AGAIN_S: Final = 10.0  # for addresses whose port somebody else has

Look = Callable[[tuple[str, ...]], tuple[Address, ...]]
_Key = tuple[PrinterSite, Address]


class Sharing:
    """All that is shared. `network` is what sites must know of it."""

    def __init__(
        self,
        config: Config,
        tls: ssl.SSLContext,
        publisher: RebindingPublisher,
        *,
        machine: str,
        mark: str = "",
        look: Look = look,
    ) -> None:
        """`machine`: this one's name, without domain; `mark`: the certificate's fingerprint.

        Raises ConfigError for a file of users that cannot be used.
        """
        self._config = config
        self._tls = tls
        self._publisher = publisher
        self._machine = machine
        self._mark = mark
        self._look = look
        users = config.share_users_file
        gate = BasicAuth(Users(users)) if users is not None else None
        self._names = {machine, f"{machine}.local"}
        self.network = Network(self._names, config.share_console, gate)
        self._addresses: tuple[Address, ...] = ()
        self._allowed: tuple[IPv4Network | IPv6Network, ...] = config.share_allow
        self._sites: list[PrinterSite] = []
        self._listeners: dict[_Key, TlsListener] = {}
        self._complained: set[_Key] = set()
        self._wake = asyncio.Event()
        self._changes: Changes | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Follow the interfaces from now on."""
        try:
            self._changes = Changes(self._wake.set)
        except OSError as exc:
            log.warning("changes of the network are seen late: no netlink (%s)", exc.strerror)
        self._task = asyncio.create_task(self._follow(), name="sharing")

    def share(self, site: PrinterSite) -> None:
        """Open doors to a site that listens, until `close`."""
        self._sites.append(site)
        self._wake.set()

    async def publish(self, services: ServiceSet) -> Publication:
        """Announce to the network what is announced here."""
        return await self._publisher.publish(
            shared(
                services,
                machine=self._machine,
                host=f"{self._machine}.local",
                console=self.network.console,
                passwords=self.network.gate is not None,
            )
        )

    def status(self) -> dict[str, Any]:
        """For `ippusbd status --json`."""
        return {
            "addresses": [address.text for address in self._addresses],
            "interfaces": list(_interfaces(self._addresses)),
            "doors": sorted(f"{a.text} port {site.port}" for site, a in self._listeners),
            "passwords": self.network.gate is not None,
            "console": self.network.console,
            "fingerprint": self._mark,
            "announcer": self._publisher.kind,
            "trouble": self._publisher.trouble,
        }

    async def close(self) -> None:
        """Shut all doors, take everything back."""
        if self._changes is not None:
            self._changes.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await asyncio.gather(*(listener.close() for listener in self._listeners.values()))
        self._listeners.clear()
        await self._publisher.close()

    # --- following the interfaces

    async def _follow(self) -> None:
        while True:
            self._wake.clear()
            try:
                self._addresses = self._look(self._config.share_interfaces)
            except OSError as exc:
                log.warning("the addresses of this machine are not known: %s", exc)
            if not self._config.share_allow:
                self._allowed = tuple(address.value.network for address in self._addresses)
            complete = await self._fit_doors()
            await self._publisher.rebind(self._scope())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if complete and self._changes else AGAIN_S):
                    await self._wake.wait()
            await asyncio.sleep(SETTLE_S)

    async def _fit_doors(self) -> bool:
        """Doors on the addresses that there are; whether there is one on each."""
        wanted = {(site, address) for site in self._sites for address in self._addresses}
        gone = [self._listeners.pop(key) for key in self._listeners.keys() - wanted]
        await asyncio.gather(*(listener.close() for listener in gone))
        for key in wanted - self._listeners.keys():
            self._open(*key)
        self._complained &= wanted
        return wanted <= self._listeners.keys()

    def _open(self, site: PrinterSite, address: Address) -> None:
        scope = address.index if address.is_of_link else 0
        try:
            listening = bind(address.text, site.port, scope)
        except OSError as exc:
            if (site, address) not in self._complained:
                self._complained.add((site, address))
                log.warning(
                    "%s is not shared on %s port %d: %s",
                    *(site.label or "a printer", address.text, site.port, exc.strerror),
                )
            return
        log.info("shared on %s port %d (%s)", address.text, site.port, address.interface)
        greet = partial(_greet, site, self._tls)
        self._listeners[site, address] = TlsListener(listening, self._admits, greet)

    def _scope(self) -> Scope | None:
        """Where to announce."""
        addresses = self._addresses
        everywhere = tuple(address.text for address in addresses if not address.is_of_link)
        scope = Scope(
            _interfaces(addresses),
            f"{self._machine}.local",
            everywhere or tuple(address.text for address in addresses),
            is_own_host=True,
            on_host_name=lambda name: self._names.add(name.lower()),
        )
        return scope if addresses else None

    def _admits(self, text: str) -> bool:
        address = ip_address(text.partition("%")[0])
        return any(address in network for network in self._allowed)


class SharingPublisher:
    """This machine's publisher, with the network's beside it. A printer's name is the local one."""

    def __init__(self, local: Publisher, sharing: Sharing) -> None:
        self._local = local
        self._sharing = sharing

    @property
    def kind(self) -> str:
        """The local announcer."""
        return self._local.kind

    @property
    def trouble(self) -> str:
        """The local announcer's."""
        return self._local.trouble

    async def start(self) -> None:
        """Start the local announcer; sharing starts by itself."""
        await self._local.start()

    async def publish(self, services: ServiceSet) -> Publication:
        """See `protocols.Publisher.publish`."""
        here = await self._local.publish(services)
        try:
            there = await self._sharing.publish(services.renamed(here.name))
        except BaseException:
            await here.withdraw()
            raise
        return _Both(here, there)

    async def close(self) -> None:
        """Close the local announcer."""
        await self._local.close()


class _Both:
    """A set of services here and in the network."""

    def __init__(self, here: Publication, there: Publication) -> None:
        self._here = here
        self._there = there

    @property
    def name(self) -> str:
        return self._here.name

    @property
    def state(self) -> str:
        return self._here.state

    async def withdraw(self) -> None:
        """Take both back."""
        await asyncio.gather(self._here.withdraw(), self._there.withdraw())


async def make_sharing(config: Config, folder: Path, make: Callable[[Scope], Publisher]) -> Sharing:
    """What the configuration asks for; `make` makes publishers. ConfigError, StateError."""
    machine = socket.gethostname().partition(".")[0].lower() or "localhost"
    if config.share_certificate is not None and config.share_key is not None:
        path = config.share_certificate
        tls = await asyncio.to_thread(certificate.configured, path, config.share_key)
    else:
        path = folder / certificate.OWN_FILE
        addresses = [address.text for address in look(config.share_interfaces)]
        tls = await asyncio.to_thread(certificate.own, folder, machine, addresses)
    mark = certificate.fingerprint(path)
    log.info("sharing to the network: the certificate's SHA-256 fingerprint is %s", mark)
    return Sharing(config, tls, RebindingPublisher(make), machine=machine, mark=mark)


async def _greet(site: PrinterSite, tls: ssl.SSLContext, connection: socket.socket) -> None:
    await site.adopt(connection, tls)


def _interfaces(addresses: Iterable[Address]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(address.interface for address in addresses))
