"""A publisher whose scope changes: interfaces come and go, and addresses with them.

For every scope there is a publisher of its own; publications outlive it, and go from the old one
to the new with the name that they have. While there is no network they wait.

Knows `select`'s publishers by their protocol only.
"""

from __future__ import annotations

from collections.abc import Callable

from ippusbd.dnssd.protocols import Publisher
from ippusbd.dnssd.scope import Scope
from ippusbd.dnssd.switching import SwitchingPublisher

NOWHERE = "there is no network to announce it on"


class RebindingPublisher(SwitchingPublisher):
    """Announces where `rebind` says, by publishers that `make` makes; `publish` does not wait."""

    patience_s = 0.0

    def __init__(self, make: Callable[[Scope], Publisher]) -> None:
        super().__init__(NOWHERE)
        self._make = make
        self._scope: Scope | None = None

    async def start(self) -> None:
        """Nothing is announced before `rebind`."""

    async def rebind(self, scope: Scope | None) -> None:
        """Announce there from now on; None: nowhere."""
        if scope == self._scope:
            return
        self._scope, old = scope, self.current
        self.use(None)
        if old is not None:
            await old.close()
        if scope is not None:
            new = self._make(scope)
            await new.start()
            self.use(new)

    async def close(self) -> None:
        """Withdraw everything."""
        await super().close()
        await self.rebind(None)
