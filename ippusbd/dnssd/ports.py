"""What a publisher of DNS-SD services promises.

Publishing never blocks a printer from serving: a publisher that cannot
announce now keeps the set, says why in `state`, and announces it as soon as
it can (Avahi restarted, host name changed, D-Bus appeared).
"""

from __future__ import annotations

from typing import Protocol

from ippusbd.model import ServiceSet


class Publication(Protocol):
    """One printer's services while they are announced."""

    @property
    def name(self) -> str:
        """The instance name in use, after collisions were resolved."""

    @property
    def state(self) -> str:
        """`established`, `registering`, or a sentence saying why not."""

    async def withdraw(self) -> None:
        """Take the services back, with goodbyes; done when they are gone. Idempotent."""


class Publisher(Protocol):
    """Announces sets of services; several sets at once."""

    @property
    def kind(self) -> str:
        """`avahi`, `zeroconf`, `static` or `off`, for status and logs."""

    async def start(self) -> None:
        """Connect to what announces. Never raises for its absence; `state` says so."""

    async def publish(self, services: ServiceSet) -> Publication:
        """Announce `services`, under a name of `wire.txt.names` that is free.

        Returns when established or after a bounded wait, whichever is first.
        """

    async def close(self) -> None:
        """Withdraw everything and disconnect."""
