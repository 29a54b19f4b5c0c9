"""The publisher that announces nothing, as configured."""

from __future__ import annotations

from dataclasses import dataclass

from ippusbd.dnssd.limits import check
from ippusbd.dnssd.protocols import WITHDRAWN
from ippusbd.model import ServiceSet

DISABLED = "not announced: disabled in the configuration"


@dataclass(slots=True)
class NullPublication:
    """A set that is not announced."""

    name: str
    state: str = DISABLED

    async def withdraw(self) -> None:
        """Nothing to withdraw."""
        self.state = WITHDRAWN


class NullPublisher:
    """Announces nothing; sets are still checked, so that faults show in every configuration."""

    kind = "off"
    trouble = DISABLED

    async def start(self) -> None:
        """Nothing to connect to."""

    async def publish(self, services: ServiceSet) -> NullPublication:
        """See `protocols.Publisher.publish`."""
        check(services)
        return NullPublication(services.name)

    async def close(self) -> None:
        """Nothing to disconnect from."""
