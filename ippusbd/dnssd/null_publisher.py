"""Nothing is announced, by configuration: the one publisher that has no troubles."""

from __future__ import annotations

from dataclasses import dataclass

from ippusbd.dnssd.limits import check
from ippusbd.dnssd.protocols import WITHDRAWN
from ippusbd.model import ServiceSet

SWITCHED_OFF = "not announced: switched off in the configuration"


@dataclass(slots=True)
class NullPublication:
    """A set that is known to nobody but us."""

    name: str
    state: str = SWITCHED_OFF

    async def withdraw(self) -> None:
        """Nothing to take back."""
        self.state = WITHDRAWN


class NullPublisher:
    """Announces nothing; sets are still judged, so that faults show in every configuration."""

    kind = "off"
    trouble = SWITCHED_OFF

    async def start(self) -> None:
        """Nothing to connect to."""

    async def publish(self, services: ServiceSet) -> NullPublication:
        """See `ports.Publisher.publish`."""
        check(services)
        return NullPublication(services.name)

    async def close(self) -> None:
        """Nothing to disconnect from."""
