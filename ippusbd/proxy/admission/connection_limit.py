"""The limit of connections, and which one is closed for a new one when it is reached.

A client with fewer connections than others is never refused: another connection
of its own, or of a client with more, is closed instead. The first choice is the
connection that has been idle for longest, then one that stalls in the middle of
a request or an answer, then the last of those that wait for a printer, if its client has two
more connections than the new one's. A connection that is being served is never
closed. If none can be closed, the new client is refused with 503.

Every decision is one synchronous step; time is injected. Knows nothing of
sockets and HTTP.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable
from enum import Enum

log = logging.getLogger("ippusbd.http")

IDLE_S = 1.0  # after an answer a connection is not idle for this long: another request may follow


class Doing(Enum):
    """The state of a connection."""

    NOTHING = "nothing"  # no complete request head yet
    SENDING = "sending"  # the client has to send more of a request
    WAITING = "waiting"  # for an interface
    SERVED = "served"
    READING = "reading"  # the client has to read the rest of an answer; no interface is held


class Connection:
    """One connection. `leave(refused)` closes it; if `refused`, with a response 503."""

    def __init__(self, client: Hashable, leave: Callable[[bool], None], now: float) -> None:
        self.client = client
        self.leave = leave
        self.doing = Doing.NOTHING
        self.since = now  # of this state; of the last progress, while it sends


class ConnectionLimit:
    """At most `places` connections."""

    def __init__(self, places: int, *, stall_s: float, clock: Callable[[], float]) -> None:
        self._places = places
        self._stall_s = stall_s
        self._clock = clock
        self._connections: dict[Connection, None] = {}  # in the order of arrival
        self._counts: Counter[Hashable] = Counter()
        self._logged = False

    def __len__(self) -> int:
        return len(self._connections)

    def admit(self, client: Hashable, leave: Callable[[bool], None]) -> Connection | None:
        """Count a connection of `client`; None: the limit is reached."""
        if len(self._connections) >= self._places and not self._make_room(client):
            return None
        connection = Connection(client, leave, self._clock())
        self._connections[connection] = None
        self._counts[client] += 1
        return connection

    def left(self, connection: Connection) -> None:
        """The connection is closed. Idempotent."""
        if connection in self._connections:
            del self._connections[connection]
            self._counts[connection.client] -= 1
            if not self._counts[connection.client]:
                del self._counts[connection.client]
        if len(self._connections) < self._places * 3 // 4:
            self._logged = False

    def now(self, connection: Connection, doing: Doing) -> None:
        """The connection is in state `doing`, and has made progress."""
        connection.doing = doing
        connection.since = self._clock()

    def _make_room(self, client: Hashable) -> bool:
        victim = self._to_leave(client)
        if not self._logged:
            self._logged = True
            what = "others are closed" if victim else "new ones are refused"
            log.warning("all %d client connections are in use: %s", self._places, what)
        if victim is None:
            return False
        self.left(victim)
        victim.leave(victim.doing in (Doing.SENDING, Doing.WAITING))
        return True

    def _to_leave(self, client: Hashable) -> Connection | None:
        held, now = self._counts[client], self._clock()
        rich = [c for c in self._connections if c.client == client or self._count(c) > held]
        idle = [c for c in rich if self._is_idle(c, now)]
        if idle:
            return min(idle, key=lambda c: (-self._count(c), c.since))
        waiting = [c for c in rich if c.doing is Doing.WAITING]
        greedy = [c for c in waiting if self._count(c) >= held + 2]
        return max(reversed(greedy), key=self._count, default=None)

    def _count(self, connection: Connection) -> int:
        return self._counts[connection.client]

    def _is_idle(self, connection: Connection, now: float) -> bool:
        allowed_s = {
            Doing.NOTHING: IDLE_S,
            Doing.SENDING: self._stall_s,
            Doing.READING: self._stall_s,
        }.get(connection.doing)
        return allowed_s is not None and now - connection.since >= allowed_s
