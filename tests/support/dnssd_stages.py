"""Places to publish to and to look from, all alike for the conformance suite.

Three need nothing but Python: the fake Avahi, python-zeroconf watched by another python-zeroconf,
and the static publisher's folder read as a parser reads it. Three are real: the same publishers,
watched by avahi-browse through a real Avahi in a network of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from xml.etree import ElementTree

import pytest
from support.avahi_browse import Browse
from support.desktop import Desktop
from support.fake_avahi import FakeAvahi
from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from ippusbd.dnssd.avahi_publisher import AvahiPublisher
from ippusbd.dnssd.avahi_server import GroupState
from ippusbd.dnssd.dbus import Bus
from ippusbd.dnssd.protocols import Publisher
from ippusbd.dnssd.static_publisher import StaticPublisher
from ippusbd.dnssd.zeroconf_publisher import ZeroconfPublisher, wire_name


@dataclass(frozen=True)
class Seen:
    """A service instance, as somebody on the network sees it."""

    name: str
    type: str
    port: int
    txt: frozenset[str]


class Stage(Protocol):
    """Where a publisher plays."""

    publisher: Publisher

    def shown(self, name: str) -> str:
        """How `name` looks to the network."""

    async def seen(self, type_: str) -> set[Seen]:
        """Every instance of `type_` that is there now."""

    async def with_subtype(self, subtype: str, type_: str) -> set[str]:
        """The names of those instances that have `subtype`."""


class FakeAvahiStage:
    """The Avahi publisher before the fake."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.avahi = FakeAvahi()
        self.avahi.start()
        monkeypatch.setattr(Bus, "connect", self.avahi.connect)
        self.publisher: Publisher = AvahiPublisher()

    def shown(self, name: str) -> str:
        return name

    async def seen(self, type_: str) -> set[Seen]:
        return {
            Seen(each.name, each.type, each.port, frozenset(item.decode() for item in each.txt))
            for each in self.avahi.established
            if each.type == type_
        }

    async def with_subtype(self, subtype: str, type_: str) -> set[str]:
        return {
            name
            for group in self.avahi.groups.values()
            if group.state is GroupState.ESTABLISHED
            for name, full in group.subtypes
            if full == f"{subtype}._sub.{type_}"
        }


class FolderStage:
    """The static publisher's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.publisher: Publisher = StaticPublisher(folder)

    def shown(self, name: str) -> str:
        return name

    def _services(self) -> Iterator[tuple[str, ElementTree.Element]]:
        for path in self.folder.glob("*.service"):
            group = ElementTree.parse(path).getroot()
            for service in group.iter("service"):
                yield group.findtext("name", ""), service

    async def seen(self, type_: str) -> set[Seen]:
        return {
            Seen(
                name,
                type_,
                int(service.findtext("port", "")),
                frozenset(item.text or "" for item in service.iter("txt-record")),
            )
            for name, service in self._services()
            if service.findtext("type") == type_
        }

    async def with_subtype(self, subtype: str, type_: str) -> set[str]:
        wanted = f"{subtype}._sub.{type_}"
        return {
            name
            for name, service in self._services()
            if any(each.text == wanted for each in service.iter("subtype"))
        }


class ZeroconfStage:
    """The zeroconf publisher, watched by another responder on the loopback."""

    def __init__(self, watcher: AsyncZeroconf) -> None:
        self.publisher: Publisher = ZeroconfPublisher()
        self._watcher = watcher
        self._browsers: dict[str, AsyncServiceBrowser] = {}
        self._names: dict[str, set[str]] = {}

    def shown(self, name: str) -> str:
        return wire_name(name)

    def _browse(self, full: str) -> set[str]:
        if full not in self._browsers:
            self._names[full] = set()
            self._browsers[full] = AsyncServiceBrowser(
                self._watcher.zeroconf, full, handlers=[self._changed]
            )
        return self._names[full]

    def _changed(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        if state_change is ServiceStateChange.Removed:
            self._names[service_type].discard(name)
        else:
            self._names[service_type].add(name)

    async def seen(self, type_: str) -> set[Seen]:
        seen = set()
        for full in set(self._browse(f"{type_}.local.")):
            info = AsyncServiceInfo(f"{type_}.local.", full)
            if await info.async_request(self._watcher.zeroconf, 500):
                assert info.parsed_addresses() == ["127.0.0.1"]
                seen.add(Seen(full.split(".")[0], type_, info.port or 0, _items(info.text)))
        return seen

    async def with_subtype(self, subtype: str, type_: str) -> set[str]:
        return {name.split(".")[0] for name in self._browse(f"{subtype}._sub.{type_}.local.")}

    async def close(self) -> None:
        for browser in self._browsers.values():
            await browser.async_cancel()


def _items(text: bytes) -> frozenset[str]:
    items = []
    while text:
        length = text[0]
        items.append(text[1 : length + 1].decode())
        text = text[length + 1 :]
    return frozenset(item for item in items if item)


@asynccontextmanager
async def zeroconf_stage() -> AsyncIterator[ZeroconfStage]:
    """On the loopback of this process's network."""
    watcher = AsyncZeroconf(interfaces=["127.0.0.1"], ip_version=IPVersion.V4Only)
    stage = ZeroconfStage(watcher)
    try:
        yield stage
    finally:
        await stage.close()
        await watcher.async_close()


class RealStage:
    """A publisher watched by avahi-browse."""

    def __init__(self, desktop: Desktop, publisher: Publisher) -> None:
        self.publisher = publisher
        self._desktop = desktop
        self._browsers: dict[str, Browse] = {}

    def shown(self, name: str) -> str:
        return wire_name(name) if self.publisher.kind == "zeroconf" else name

    def _browse(self, type_: str) -> Browse:
        if type_ not in self._browsers:
            self._browsers[type_] = Browse(self._desktop, type_)
        return self._browsers[type_]

    async def seen(self, type_: str) -> set[Seen]:
        found = self._browse(type_).found
        # A file names no host: Avahi's own has ::1, too, and either may be resolved first.
        loopback = {"127.0.0.1", "::1"} if self.publisher.kind == "static" else {"127.0.0.1"}
        assert {each.address for each in found} <= loopback, found
        return {Seen(each.name, each.type, each.port, each.txt) for each in found}

    async def with_subtype(self, subtype: str, type_: str) -> set[str]:
        return set(self._browse(f"{subtype}._sub.{type_}").names)

    def close(self) -> None:
        for browser in self._browsers.values():
            browser.stop()


@contextmanager
def real_stage(desktop: Desktop, kind: str) -> Iterator[RealStage]:
    """The publisher called `kind` on `desktop`; needs root for zeroconf."""
    with contextmanager(_publisher)(desktop, kind) as publisher:
        stage = RealStage(desktop, publisher)
        try:
            yield stage
        finally:
            stage.close()


def _publisher(desktop: Desktop, kind: str) -> Iterator[Publisher]:
    if kind == "zeroconf":
        with desktop.network():
            yield ZeroconfPublisher()
    elif kind == "static":
        yield StaticPublisher(desktop.services)
    else:
        yield AvahiPublisher(bus_address=desktop.bus_address)
