"""Shares printers on the network: TLS listeners on its addresses, and announcements there.

Off unless the configuration names interfaces. Then every printer gets a TLS listener on each of
their addresses, at the port that it has on loopback, and its services are announced there in the
form that network clients may use. Listeners and announcements follow the addresses as they change.

Beside its own name this machine has the one that Avahi gives it now, after a conflict; the last one
may be a neighbour's. Avahi may rename as often as a neighbour wants, so the certificate, which
people compare, gets another name than the first when it has lasted, and is kept when a name goes.

Knows listeners, certificates and publishers; nothing of printers but their sites.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Final

from ippusbd.aio import keep_running
from ippusbd.config import Config
from ippusbd.daemon.observe.status import SharingStatus
from ippusbd.daemon.share import certificate
from ippusbd.daemon.share.interfaces import Address, Changes, look
from ippusbd.dnssd.protocols import Publication, Publisher
from ippusbd.dnssd.rebinding_publisher import RebindingPublisher
from ippusbd.dnssd.scope import Scope
from ippusbd.errors import ConfigError, StateError
from ippusbd.model import ServiceSet
from ippusbd.proxy.access.network import BasicAuth, Network
from ippusbd.proxy.admission.listeners import bind
from ippusbd.proxy.admission.tls_listener import TlsListener
from ippusbd.proxy.server import PrinterSite
from ippusbd.users.passwords import Users
from ippusbd.wire.txt_shared import shared

log = logging.getLogger("ippusbd.daemon")

SETTLE_S: Final = 0.2  # an interface that comes up changes several times
AGAIN_S: Final = 10.0  # retry for addresses whose port is in use
NAME_SETTLES_S: Final = 60.0  # from then on Avahi's name for this machine is in the certificate
RENEWAL_S: Final = 3600.0  # between looks at a certificate of our own

_HOST_NAME: Final = re.compile(r"[a-z0-9.-]+")

Look = Callable[[tuple[str, ...]], tuple[Address, ...]]
_Key = tuple[PrinterSite, Address]


class Sharing:
    """Everything that is shared. `network` is what sites must know of it."""

    def __init__(
        self,
        config: Config,
        tls: ssl.SSLContext,
        publisher: RebindingPublisher,
        *,
        machine: str,
        fingerprint: str = "",
        own_folder: Path | None = None,
        look: Look = look,
        name_settles_s: float = NAME_SETTLES_S,
    ) -> None:
        """`machine`: the host name without domain; `fingerprint`: the certificate's;
        `own_folder`: of a certificate of our own.

        Raises ConfigError for an invalid file of users.
        """
        self._config = config
        self._tls = tls
        self._publisher = publisher
        self._machine = machine
        self._fingerprint = fingerprint
        self._own_folder = own_folder
        self._look = look
        users = config.share_users_file
        gate = BasicAuth(Users(users)) if users is not None else None
        self._names = {machine, f"{machine}.local"}
        self._own_names = frozenset(self._names)
        self._name_settles_s = name_settles_s
        self._settling: asyncio.TimerHandle | None = None
        self._is_named = False  # Avahi told its name
        self.network = Network(self._names, config.share_console, gate)
        self._addresses: tuple[Address, ...] = ()
        self._allowed: tuple[IPv4Network | IPv6Network, ...] = config.share_allow
        self._sites: list[PrinterSite] = []
        self._listeners: dict[_Key, TlsListener] = {}
        self._failed: set[_Key] = set()
        self._wake = asyncio.Event()
        self._changes: Changes | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Follow the interfaces."""
        try:
            self._changes = Changes(self._wake.set)
        except OSError as exc:
            log.warning("address changes are noticed late: no netlink (%s)", exc.strerror)
        self._task = asyncio.create_task(keep_running("sharing", self._follow))

    def share(self, site: PrinterSite) -> None:
        """Share a site that listens, until `unshare` or `close`."""
        self._sites.append(site)
        self._wake.set()

    def unshare(self, site: PrinterSite) -> None:
        """Close what it listens on."""
        self._sites.remove(site)
        self._wake.set()

    async def publish(self, services: ServiceSet) -> Publication:
        """Announce to the network what is announced on this machine."""
        return await self._publisher.publish(
            shared(
                services,
                machine=self._machine,
                host=f"{self._machine}.local",
                console=self.network.console,
                passwords=self.network.gate is not None,
            )
        )

    def status(self) -> SharingStatus:
        return SharingStatus(
            addresses=tuple(address.text for address in self._addresses),
            interfaces=_interfaces(self._addresses),
            listening=tuple(sorted(f"{a.text} port {site.port}" for site, a in self._listeners)),
            passwords=self.network.gate is not None,
            console=self.network.console,
            fingerprint=self._fingerprint,
            publisher=self._publisher.kind,
            trouble=self._publisher.trouble,
        )

    async def close(self) -> None:
        """Close all listeners, withdraw all announcements."""
        if self._changes is not None:
            self._changes.close()
        if self._settling is not None:
            self._settling.cancel()
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
                log.warning("cannot list the addresses of this machine: %s", exc)
            if not self._config.share_allow:
                self._allowed = tuple(address.value.network for address in self._addresses)
            await self._fit_certificate()
            complete = await self._fit_listeners()
            await self._publisher.rebind(self._scope())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEWAL_S if complete and self._changes else AGAIN_S):
                    await self._wake.wait()
            await asyncio.sleep(SETTLE_S)

    async def _fit_certificate(self) -> None:
        """One of our own is made anew when it is due; for the next handshakes."""
        folder = self._own_folder
        if folder is None:
            return
        addresses = [address.text for address in self._addresses]
        aliases = () if self._settling else tuple(self._names)
        try:
            fit = partial(certificate.fit, folder, self._machine, addresses, aliases)
            if await asyncio.to_thread(fit):
                certificate.load(folder, self._tls)
                self._fingerprint = certificate.fingerprint(folder / certificate.OWN_FILE)
                log.info("SHA-256 fingerprint of the certificate: %s", self._fingerprint)
        except (ConfigError, StateError) as exc:
            log.warning("the certificate is not renewed: %s", exc)

    async def _fit_listeners(self) -> bool:
        """Listen on the current addresses; whether all of them could be used."""
        wanted = {(site, address) for site in self._sites for address in self._addresses}
        gone = [self._listeners.pop(key) for key in self._listeners.keys() - wanted]
        await asyncio.gather(*(listener.close() for listener in gone))
        for key in wanted - self._listeners.keys():
            self._open(*key)
        self._failed &= wanted
        return wanted <= self._listeners.keys()

    def _open(self, site: PrinterSite, address: Address) -> None:
        index = address.index if address.is_link_local else 0
        try:
            listening = bind(address.text, site.port, index)
        except OSError as exc:
            if (site, address) not in self._failed:
                self._failed.add((site, address))
                log.warning(
                    "%s is not shared on %s port %d: %s",
                    *(site.label or "a printer", address.text, site.port, exc.strerror),
                )
            return
        log.info("shared on %s port %d (%s)", address.text, site.port, address.interface)
        adopt = partial(_adopt, site, self._tls)
        self._listeners[site, address] = TlsListener(listening, self._admits, adopt)

    def _scope(self) -> Scope | None:
        """Where to announce; None: nowhere."""
        addresses = self._addresses
        everywhere = tuple(address.text for address in addresses if not address.is_link_local)
        scope = Scope(
            _interfaces(addresses),
            f"{self._machine}.local",
            everywhere or tuple(address.text for address in addresses),
            is_own_host=True,
            on_host_name=self._named,
        )
        return scope if addresses else None

    def _named(self, name: str) -> None:
        """Avahi's name for this machine, from now on; certificates have names in ASCII only."""
        name = name.lower()
        names = self._own_names | ({name} if _HOST_NAME.fullmatch(name) else set())
        if names == self._names:
            return
        self._names.clear()
        self._names.update(names)
        if self._settling is not None:
            self._settling.cancel()
        settles_s = self._name_settles_s if self._is_named else 0.0
        self._is_named = True
        self._settling = asyncio.get_running_loop().call_later(settles_s, self._name_lasts)

    def _name_lasts(self) -> None:
        self._settling = None
        self._wake.set()

    def _admits(self, text: str) -> bool:
        address = ip_address(text.partition("%")[0])
        return any(address in network for network in self._allowed)


class SharingPublisher:
    """The local publisher combined with the network's. A printer's name is the local one."""

    def __init__(self, local: Publisher, sharing: Sharing) -> None:
        self._local = local
        self._sharing = sharing

    @property
    def kind(self) -> str:
        """The local publisher's."""
        return self._local.kind

    @property
    def trouble(self) -> str:
        """The local publisher's."""
        return self._local.trouble

    async def start(self) -> None:
        """Start the local publisher; the network's is started by `Sharing`."""
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
        """Close the local publisher; `Sharing` closes the network's."""
        await self._local.close()


class _Both:
    """A set of services, announced on this machine and on the network."""

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
        """Withdraw both."""
        await asyncio.gather(self._here.withdraw(), self._there.withdraw())


async def make_sharing(config: Config, folder: Path, make: Callable[[Scope], Publisher]) -> Sharing:
    """Sharing as configured; `make` makes publishers. Raises ConfigError, StateError."""
    machine = socket.gethostname().partition(".")[0].lower() or "localhost"
    if config.share_certificate is not None and config.share_key is not None:
        path = config.share_certificate
        tls = await asyncio.to_thread(certificate.configured, path, config.share_key)
    else:
        path = folder / certificate.OWN_FILE
        addresses = [address.text for address in look(config.share_interfaces)]
        tls = await asyncio.to_thread(certificate.own, folder, machine, addresses)
    fingerprint = certificate.fingerprint(path)
    log.info("sharing on the network; SHA-256 fingerprint of the certificate: %s", fingerprint)
    publisher = RebindingPublisher(make)
    return Sharing(
        config,
        tls,
        publisher,
        machine=machine,
        fingerprint=fingerprint,
        own_folder=None if config.share_certificate else folder,
    )


async def _adopt(site: PrinterSite, tls: ssl.SSLContext, connection: socket.socket) -> None:
    await site.adopt(connection, tls)


def _interfaces(addresses: Iterable[Address]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(address.interface for address in addresses))
