"""Clients take turns: a client with fifty requests is served one of them per round.

A request's turn is fixed when it begins to wait: one after the same client's last
request, and never before the turn that is served now. So a new client comes before
every other client's second request, and no request waits for ever: turns only rise,
and a client has one request per turn.

Pure; knows nothing of what is waited for.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

KEPT: Final = 64  # clients that were served and do not wait


class FairQueue:
    """Turn numbers for waiting requests: smallest first, equal ones in order of arrival."""

    def __init__(self) -> None:
        self._now = 0
        self._highest = 0
        self._last: dict[Hashable, int] = {}

    def served_at_once(self, client: Hashable) -> None:
        """Nobody waits: `client` is served without waiting, and has had this turn."""
        self._now = self._highest
        if len(self._last) >= KEPT:
            self._last.clear()
        self._last[client] = self._now

    def next_of(self, client: Hashable) -> int:
        """The turn of one more request of `client`."""
        turn = max(self._last.get(client, -1) + 1, self._now)
        self._highest = max(self._highest, turn)
        self._last[client] = turn
        return turn

    def reached(self, turn: int) -> None:
        """A waiting request is served in `turn`."""
        if turn > self._now:
            self._now = turn
            self._last = {client: last for client, last in self._last.items() if last >= turn}
