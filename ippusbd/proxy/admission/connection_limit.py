"""The limit of connections, and which one is closed for a new one when it is reached.

A client with fewer connections than others is never refused: another connection of its own, or
of a client with more, is closed instead. The first choice is the connection that has been idle
for longest, or stalls in the middle of a request or an answer. Clients with two connections more
than the new one's are given less time for that; then they lose those that still send a request,
and the last of those that wait for a printer. A connection that is being served is never closed.
If none can be closed, the new client is refused with 503.

Clients are owners with levels, as in `fair_tasks`: more processes gain a user nothing, nor more
addresses a network.

Every decision is one synchronous step; time is injected. Knows nothing of
sockets and HTTP.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable
from enum import Enum

from ippusbd.fair_tasks import Owner, levels

log = logging.getLogger("ippusbd.http")

GREEDY = 2  # so many more than the new client's
IDLE_S = 1.0  # after an answer a connection is not idle for this long: another request may follow
READING_S = 10.0  # without progress, of a greedy client; radio networks pause


class Doing(Enum):
    """The state of a connection."""

    NOTHING = "nothing"  # no complete request head yet
    SENDING = "sending"  # the client has to send more of a request
    WAITING = "waiting"  # for an interface
    SERVED = "served"
    READING = "reading"  # the client has to read the rest of an answer; no interface is held


class Connection:
    """One connection. `leave(refused)` closes it; if `refused`, with a response 503."""

    def __init__(self, owner: Owner, leave: Callable[[bool], None], now: float) -> None:
        self.owner = owner
        self.leave = leave
        self.doing = Doing.NOTHING
        self.has_asked = False
        self.since = now  # of this state; of the last progress, while it sends


class ConnectionLimit:
    """At most `places` connections."""

    def __init__(self, places: int, *, stall_s: float, clock: Callable[[], float]) -> None:
        self._places = places
        self._stall_s = stall_s
        self._clock = clock
        self._connections: dict[Connection, None] = {}  # in the order of arrival
        self._counts: Counter[Owner] = Counter()
        self._logged = False

    def __len__(self) -> int:
        return len(self._connections)

    def admit(self, owner: Owner, leave: Callable[[bool], None]) -> Connection | None:
        """Count a connection of `owner`; None: the limit is reached."""
        if len(self._connections) >= self._places and not self._make_room(owner):
            return None
        connection = Connection(owner, leave, self._clock())
        self._connections[connection] = None
        self._counts.update(levels(owner))
        return connection

    def left(self, connection: Connection) -> None:
        """The connection is closed. Idempotent."""
        if connection in self._connections:
            del self._connections[connection]
            for level in levels(connection.owner):
                self._counts[level] -= 1
                if not self._counts[level]:
                    del self._counts[level]
        if len(self._connections) < self._places * 3 // 4:
            self._logged = False

    def now(self, connection: Connection, doing: Doing) -> None:
        """The connection is in state `doing`, and has made progress."""
        connection.doing = doing
        connection.has_asked = True
        connection.since = self._clock()

    def _make_room(self, owner: Owner) -> bool:
        victim = self._to_leave(owner)
        if not self._logged:
            self._logged = True
            what = "others are closed" if victim else "new ones are refused"
            log.warning("all %d client connections are in use: %s", self._places, what)
        if victim is None:
            return False
        self.left(victim)
        victim.leave(victim.doing in (Doing.SENDING, Doing.WAITING))
        return True

    def _to_leave(self, owner: Owner) -> Connection | None:
        now, leads = self._clock(), self._leads(owner)
        rich = [c for c in self._connections if c.owner == owner or leads[c.owner] > 0]
        greedy = {other for other, lead in leads.items() if lead >= GREEDY}
        idle = [c for c in rich if self._is_idle(c, c.owner in greedy, now)]
        if idle:
            return max(idle, key=lambda c: (self._share(c.owner), -c.since))
        unserved = [
            c for c in rich if c.owner in greedy and c.doing in (Doing.SENDING, Doing.WAITING)
        ]
        return max(
            reversed(unserved),
            key=lambda c: (self._share(c.owner), c.doing is Doing.SENDING),
            default=None,
        )

    def _leads(self, owner: Owner) -> dict[Owner, int]:
        """How many connections more than `owner` each has, at the first level that they differ."""
        leads = {}
        for other in {connection.owner for connection in self._connections}:
            pairs = zip(levels(other), levels(owner), strict=False)
            differ = ((theirs, ours) for theirs, ours in pairs if theirs != ours)
            theirs, ours = next(differ, (other, other))
            leads[other] = self._counts[theirs] - self._counts[ours]
        return leads

    def _share(self, owner: Owner) -> list[int]:
        return [self._counts[level] for level in levels(owner)]

    def _is_idle(self, connection: Connection, greedy: bool, now: float) -> bool:
        allowed_s = {
            Doing.NOTHING: 0.0 if greedy and not connection.has_asked else IDLE_S,
            Doing.SENDING: self._stall_s,
            Doing.READING: min(READING_S if greedy else math.inf, self._stall_s),
        }.get(connection.doing)
        return allowed_s is not None and now - connection.since >= allowed_s
