"""What a publisher of DNS-SD services promises.

Publishing never blocks a printer from serving: a publisher that cannot
announce now keeps the set, says why in `state`, and announces it as soon as
it can (Avahi restarted, host name changed, D-Bus appeared).
"""

from __future__ import annotations

from typing import Final, Protocol

from ippusbd.model import ServiceSet

ESTABLISHED: Final = "established"
REGISTERING: Final = "registering"
WITHDRAWN: Final = "withdrawn"


class Publication(Protocol):
    """One printer's services while they are announced."""

    @property
    def name(self) -> str:
        """The instance name in use, after collisions were resolved."""

    @property
    def state(self) -> str:
        """`established`, `registering`, `withdrawn`, or a sentence saying why not."""

    async def withdraw(self) -> None:
        """Take the services back, with goodbyes; done when they are gone. Idempotent."""


class Publisher(Protocol):
    """Announces sets of services; several sets at once."""

    @property
    def kind(self) -> str:
        """What announces now: `avahi`, `zeroconf`, `static` or `off`; for status and logs."""

    @property
    def trouble(self) -> str:
        """Why nothing can be announced now, as a sentence; empty while it can."""

    async def start(self) -> None:
        """Connect to what announces. Never raises for its absence; `trouble` says so."""

    async def publish(self, services: ServiceSet) -> Publication:
        """Announce `services`, under a name of `wire.txt.names` that is free.

        Returns when established or after a bounded wait, whichever is first. PublishError, which
        names the record, if the set can never be announced (a name of 64 bytes).
        """

    async def close(self) -> None:
        """Withdraw everything and disconnect."""
