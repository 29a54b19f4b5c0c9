"""The contract of a publisher of DNS-SD services.

A printer is served whether or not it is announced: a publisher that cannot
announce a set now keeps it, gives the reason in `state`, and announces it as
soon as it can (Avahi restarted, host name changed, D-Bus available).
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
        """`established`, `registering`, `withdrawn`, or the reason in words."""

    async def withdraw(self) -> None:
        """Withdraw the services, with goodbyes; done when they are gone. Idempotent."""


class Publisher(Protocol):
    """Announces sets of services; several sets at once."""

    @property
    def kind(self) -> str:
        """What announces now: `avahi`, `zeroconf`, `static` or `off`; for status and logs."""

    @property
    def trouble(self) -> str:
        """Why nothing can be announced now, in words; empty while it can."""

    async def start(self) -> None:
        """Connect to the announcer. If there is none, `trouble` says so; nothing is raised."""

    async def publish(self, services: ServiceSet) -> Publication:
        """Announce `services`, under a name of `wire.txt.names` that is free.

        Returns when established or after a bounded wait, whichever is first. Raises PublishError,
        which names the record, if the set can never be announced (a name of 64 bytes).
        """

    async def close(self) -> None:
        """Withdraw everything and disconnect."""
