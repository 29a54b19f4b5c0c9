"""Identifies printers permanently: the key of each device, and the port that it listens on.

A key is vendor, product and serial number. Some vendors give the same serial number to every
unit: the key of the second of two such printers contains its USB port too, and keeps it when both
are plugged in again, whichever is opened first.

Knows the state file and the sockets; nothing of sessions and plug events.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from ippusbd.aio import now, run_to_end
from ippusbd.config import Config, state_dir
from ippusbd.daemon.printer.printer import Printer
from ippusbd.daemon.printer.states import State
from ippusbd.daemon.state import cancels_file, ipp_usb_import
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.errors import IppUsbError, StateError
from ippusbd.exchange.pending_cancels import boottime
from ippusbd.kinds import Kind
from ippusbd.model import BusAddress, DeviceFacts
from ippusbd.proxy.access.network import Network
from ippusbd.proxy.access.rules import access_of
from ippusbd.proxy.admission.listeners import bind_all, is_free
from ippusbd.proxy.server import SiteSettings

if TYPE_CHECKING:
    from ippusbd.daemon.share.sharing import Sharing

log = logging.getLogger("ippusbd.daemon")

MAX_UNPLUGGED: Final = 16  # printers that listen; a device may show a new serial at every plug


class Registry:
    """All printers that are plugged in, and the last ones that were.

    Raises ConfigError for users and groups in [access] that are not known here.
    """

    def __init__(
        self,
        config: Config,
        state: StateFile,
        sharing: Sharing | None = None,
        boottime: Callable[[], float] = boottime,
    ) -> None:
        self._config = config
        self._state = state
        self._sharing = sharing
        self._boottime = boottime
        network = sharing.network if sharing else Network()
        self._settings = replace(_settings(config), network=network, spool_dir=state.folder)
        self._printers: dict[str, Printer] = {}
        self._making = asyncio.Lock()
        self._kept: cancels_file.Kept | None = None  # of the daemon before this one

    def __iter__(self) -> Iterator[Printer]:
        return iter(self._printers.values())

    def key_for(self, facts: DeviceFacts, taken: Collection[str]) -> str:
        """The key of a device; `taken` are the keys of the other devices that are plugged in."""
        with_port = f"{facts.key}@{facts.address.place}"
        if facts.key in taken or with_port in self._state.printers():
            return with_port
        return facts.key

    async def inherit(self, key: str, facts: DeviceFacts) -> None:
        """Import what ipp-usb knew of a printer that is new here."""
        folder = self._config.ipp_usb_dir
        if folder is None or key in self._state.printers():
            return
        found = await asyncio.to_thread(ipp_usb_import.find, folder, facts)
        if found is not None and key not in self._state.printers():
            log.info("%s: imported port %d and name %r of ipp-usb", key, found.port, found.name)
            self._state.inherit(key, found.port, found.name)

    async def printer(self, key: str) -> Printer:
        """The printer of that key, listening. Raises StateError when it cannot listen."""
        async with self._making:  # its device may be replugged meanwhile
            if key not in self._printers:  # one that listens unknown would keep the port for ever
                await run_to_end(self._make(key))
            return self._printers[key]

    async def _make(self, key: str) -> None:
        await self._close_unplugged()
        printer = Printer(
            key, self._settings, host=self._config.listen_host, boottime=self._boottime
        )
        printer.name = self._state.name_for(key)
        printer.name_taken_over = self._state.name_taken_over(key)
        sockets = self._sockets(key)
        try:
            await printer.site.start(sockets)
        except BaseException:
            await printer.site.close()
            for one in sockets:
                one.close()
            raise
        await self._restore(printer)
        printer.site.traffic.on_document = partial(self._note_document, printer)
        self._printers[key] = printer
        if self._sharing is not None:
            self._sharing.share(printer.site)

    async def _close_unplugged(self) -> None:
        """Keep the last ones. A closed one gets its port and name back when it is plugged in."""
        idle = [p for p in self if p.state is State.AWAY and not p.lock.locked()]
        for printer in [p for p in idle if not p.site.in_progress][:-MAX_UNPLUGGED]:
            log.info("%s: its port is closed until it is plugged in", printer.label)
            del self._printers[printer.key]
            if self._sharing is not None:
                self._sharing.unshare(printer.site)
            await printer.site.close()
            if self._kept is not None:
                self._kept[printer.key] = printer.pending_cancels.kept()

    async def close(self) -> None:
        """Stop listening."""
        await asyncio.gather(*(printer.site.close() for printer in self))
        for printer in self:
            if printer.has_printed():
                printer.evidence.nothing_prints()  # the next daemon need not wait for it
        kept = {printer.key: printer.pending_cancels.kept() for printer in self}
        await asyncio.to_thread(
            cancels_file.save, self._state.folder, (self._kept or {}) | kept, self._boottime
        )

    async def _restore(self, printer: Printer) -> None:
        """The daemon before this one may have left cancellations."""
        if self._kept is None:
            self._kept = await asyncio.to_thread(
                cancels_file.take, self._state.folder, self._boottime
            )
        printer.pending_cancels.restore(self._kept.pop(printer.key, []))

    # --- documents that a daemon after this one has to know of

    def document_at(self, address: BusAddress) -> float:
        """When the last whole document went to the device there since its plug, in the loop's time.

        -inf: none is known. One from before the machine was started is none: a boot resets the bus.
        """
        age_s = self._state.document_age_s(str(address))
        return now() - age_s if age_s < self._boottime() else -math.inf

    def _note_document(self, printer: Printer) -> None:
        """There is another last document: once for each, and when one was refused."""
        if printer.facts is not None:
            age_s = now() - printer.site.traffic.document_at
            self._state.set_document(printer.key, str(printer.facts.address), age_s)

    # --- sockets

    def _sockets(self, key: str) -> list[socket.socket]:
        """Sockets on the printer's own port of every loopback address that is served."""
        hosts = self._config.listen_addresses
        port = self._state.port_for(key, is_free=lambda candidate: is_free(hosts, candidate))
        try:
            return bind_all(hosts, port)
        except OSError as exc:
            raise StateError(f"port {port} of {key}: {exc.strerror}", kind=Kind.PORTS) from exc


# --- selectors, as in `ippusbd retry PRINTER`


class NoSuchPrinter(IppUsbError):
    """No printer matches a selector, or several do."""


def names_of(printer: Printer) -> list[str]:
    """What a selector is compared with: name, model, key (VID:PID:SERIAL), serial and port."""
    serial = printer.facts.serial if printer.facts else ""
    names = [printer.name, printer.label, printer.key, printer.key[:9], serial]
    return [*filter(None, names), str(printer.site.port)]


def matches(selector: str, names: Iterable[str]) -> bool:
    """Whether `selector` is part of one of the names, in any case; an empty one matches all."""
    return any(selector.lower() in name.lower() for name in names) or not selector


def chosen(printers: Iterable[Printer], selector: str) -> Printer:
    """The only printer that `selector` matches, exactly or in part. Raises NoSuchPrinter."""
    known = list(printers)
    found = [each for each in known if matches(selector, names_of(each))]
    exact = [each for each in found if selector.lower() in map(str.lower, names_of(each))]
    if len(exact) == 1:
        return exact[0]
    if len(found) != 1:
        names = ", ".join(sorted(f"{each.name or each.label} ({each.key})" for each in known))
        what = "several printers match" if found else "no printer matches"
        raise NoSuchPrinter(f"{what} {selector!r}; there are: {names or 'none'}")
    return found[0]


# --- settings of a printer's site


def _settings(config: Config) -> SiteSettings:
    folder = state_dir(config, os.environ, os.getuid())
    return SiteSettings(
        small_body=config.small_body,
        lease_wait_s=config.lease_wait_s,
        client_stall_s=config.client_stall_s,
        upload_stall_s=config.upload_stall_s,
        min_bytes_s=config.min_bytes_s,
        spool_bytes=config.spool_mb << 20,
        idle_client_s=config.idle_client_s,
        head_timeout_s=config.head_timeout_s,
        max_clients=config.max_clients,
        hosts=frozenset(config.hosts),
        access=access_of(config, ipp_usb_import.access(config, folder)),
        retry_after_s=config.retry_after_s,
        grace_s=config.grace_s,
        max_header_bytes=config.max_header_bytes,
    )
