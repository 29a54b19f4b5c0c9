"""Who is at the other end of a Unix socket, and whether that is allowed.

The kernel vouches for pid, uid and groups as they were when the client
connected (unix(7), SO_PEERCRED); nothing a client sends can change them.
Root and the daemon's own user always get in: limits that lock out the one
who wrote them would only be worked around.

Knows sockets; never what is spoken over them.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from dataclasses import dataclass
from typing import Final

_UCRED: Final = struct.Struct("3i")
_SO_PEERGROUPS: Final = 59  # Linux 4.13; Python 3.11 has no name for it
_SOME_GROUPS, _ALL_GROUPS = 32, 65536  # the second is the kernel's NGROUPS_MAX


@dataclass(frozen=True, slots=True)
class Peer:
    """A client as the kernel knows it; `gid` is its primary group."""

    pid: int
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"uid {self.uid} gid {self.gid} pid {self.pid}"


@dataclass(frozen=True, slots=True)
class Limits:
    """Users and groups that are served; both empty: whoever the file's mode lets in."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()

    def admit(self, connection: socket.socket, peer: Peer) -> bool:
        """Whether `peer`, at the other end of `connection`, is served."""
        if not self.uids and not self.gids:
            return True
        if peer.uid in (0, os.geteuid()) or peer.uid in self.uids or peer.gid in self.gids:
            return True
        return bool(self.gids) and not self.gids.isdisjoint(_groups(connection))


ANYBODY: Final = Limits()


def peer_of(connection: socket.socket) -> Peer:
    """Who connected. Raises OSError when the client is gone already."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Peer(*_UCRED.unpack(raw))


def _groups(connection: socket.socket) -> tuple[int, ...]:
    """The client's supplementary groups; none on a kernel that does not tell."""
    for room in (_SOME_GROUPS, _ALL_GROUPS):
        try:
            raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * room)
        except OSError as exc:
            if exc.errno == errno.ERANGE:
                continue
            return ()
        return struct.unpack(f"{len(raw) // 4}I", raw)
    return ()
