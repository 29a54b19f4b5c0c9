"""Avahi in the simulation: a `Publisher` that can be away, and then announces what it was told."""

from __future__ import annotations

from ippusbd.dnssd.protocols import ESTABLISHED, WITHDRAWN
from ippusbd.model import ServiceSet

AWAY = "Avahi is not running"


class SimulatedAvahi:
    """`announced` has the names that the network sees now."""

    kind = "avahi"

    def __init__(self) -> None:
        self.up = True
        self._publications: dict[str, SimulatedPublication] = {}

    @property
    def trouble(self) -> str:
        return "" if self.up else AWAY

    @property
    def announced(self) -> set[str]:
        return set(self._publications) if self.up else set()

    async def start(self) -> None:
        pass

    async def publish(self, services: ServiceSet) -> SimulatedPublication:
        name, number = services.name, 2
        while name in self._publications:
            name, number = f"{services.name} {number}", number + 1
        one = self._publications[name] = SimulatedPublication(self, name)
        return one

    def withdraw(self, name: str) -> None:
        self._publications.pop(name, None)

    async def close(self) -> None:
        self._publications.clear()


class SimulatedPublication:
    def __init__(self, avahi: SimulatedAvahi, name: str) -> None:
        self._avahi = avahi
        self._withdrawn = False
        self.name = name

    @property
    def state(self) -> str:
        if self._withdrawn:
            return WITHDRAWN
        return ESTABLISHED if self._avahi.up else AWAY

    async def withdraw(self) -> None:
        if not self._withdrawn:
            self._withdrawn = True
            self._avahi.withdraw(self.name)
