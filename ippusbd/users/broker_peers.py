"""Which clients of the broker's Unix sockets are served.

Root and the daemon's own user always get in: limits that lock out the one
who wrote them would only be worked around.

Knows `ippusbd.users.peers`; never what is spoken over the sockets.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from ippusbd.users.peers import Connected, Peer, groups_of, peer_of

__all__ = ["ANYBODY", "Limits", "Peer", "peer_of"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Users and groups that are served; both empty: whoever the file's mode lets in."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()

    def admit(self, connection: Connected, peer: Peer) -> bool:
        """Whether `peer`, at the other end of `connection`, is served."""
        if not self.uids and not self.gids:
            return True
        if peer.uid in (0, os.geteuid()) or peer.uid in self.uids or peer.gid in self.gids:
            return True
        return bool(self.gids) and not self.gids.isdisjoint(groups_of(connection))


ANYBODY: Final = Limits()
