"""Who is let in while there are more connections than places.

A place is never refused to a client that has fewer than others: when all are
taken, another connection of its own or of a client with more gives way. First goes who has
asked for nothing for longest, then who lets a request wait in the middle, then
the last of those that wait for a printer, if its client holds two more than the
newcomer's. Whoever is being served stays. Else the newcomer is told to come
again.

Every decision is one synchronous step; time is injected. Knows nothing of
sockets and HTTP.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable
from enum import Enum

log = logging.getLogger("ippusbd.http")

IDLE_S = 1.0  # so long after an answer a connection is not taken for idle: more may follow


class Doing(Enum):
    """What a connection is at."""

    NOTHING = "nothing"  # its client is to ask something, or has begun to
    SENDING = "sending"  # the client is to send more of a request
    WAITING = "waiting"  # for an interface
    SERVED = "served"


class Connection:
    """One connection. `leave` closes it, telling its client to come again if told to."""

    def __init__(self, client: Hashable, leave: Callable[[bool], None], now: float) -> None:
        self.client = client
        self.leave = leave
        self.doing = Doing.NOTHING
        self.since = now  # of what it does; of its last progress, while it sends


class ConnectionLimit:
    """At most `places` connections."""

    def __init__(
        self, places: int, *, stall_s: float, clock: Callable[[], float], name: str = ""
    ) -> None:
        self._places = places
        self._stall_s = stall_s
        self._clock = clock
        self._name = name
        self._connections: dict[Connection, None] = {}  # in the order of their coming
        self._counts: Counter[Hashable] = Counter()
        self._told = False

    def __len__(self) -> int:
        return len(self._connections)

    def admit(self, client: Hashable, leave: Callable[[bool], None]) -> Connection | None:
        """A place for a connection of `client`; None: there is none."""
        if len(self._connections) >= self._places and not self._make_room(client):
            return None
        client_connection = Connection(client, leave, self._clock())
        self._connections[client_connection] = None
        self._counts[client] += 1
        return client_connection

    def left(self, client_connection: Connection) -> None:
        """Its connection is closed. Idempotent."""
        if client_connection in self._connections:
            del self._connections[client_connection]
            self._counts[client_connection.client] -= 1
            if not self._counts[client_connection.client]:
                del self._counts[client_connection.client]
        if len(self._connections) < self._places * 3 // 4:
            self._told = False

    def now(self, client_connection: Connection, doing: Doing) -> None:
        """`guest` does so from now on, or still, and has made progress."""
        client_connection.doing = doing
        client_connection.since = self._clock()

    def _make_room(self, client: Hashable) -> bool:
        victim = self._to_leave(client)
        if not self._told:
            self._told = True
            what = "others give way" if victim else "some are refused"
            log.warning("%sall %d places for clients are taken: %s", self._name, self._places, what)
        if victim is None:
            return False
        self.left(victim)
        victim.leave(victim.doing is not Doing.NOTHING)
        return True

    def _to_leave(self, client: Hashable) -> Connection | None:
        held, now = self._counts[client], self._clock()
        rich = [g for g in self._connections if g.client == client or self._count(g) > held]
        idle = [
            client_connection for client_connection in rich if self._is_idle(client_connection, now)
        ]
        if idle:
            return min(
                idle,
                key=lambda client_connection: (
                    -self._count(client_connection),
                    client_connection.since,
                ),
            )
        waiting = [
            client_connection
            for client_connection in rich
            if client_connection.doing is Doing.WAITING
        ]
        greedy = [
            client_connection
            for client_connection in waiting
            if self._count(client_connection) >= held + 2
        ]
        return max(reversed(greedy), key=self._count, default=None)

    def _count(self, client_connection: Connection) -> int:
        return self._counts[client_connection.client]

    def _is_idle(self, client_connection: Connection, now: float) -> bool:
        allowed_s = {Doing.NOTHING: IDLE_S, Doing.SENDING: self._stall_s}.get(
            client_connection.doing
        )
        return allowed_s is not None and now - client_connection.since >= allowed_s
