"""Who is at the other end of a Unix socket, as the kernel knows it.

It vouches for pid, uid and groups as they were when the client connected
(unix(7), SO_PEERCRED); nothing a client sends can change them.

Knows sockets; never what is spoken over them.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass
from typing import Final, Protocol

_UCRED: Final = struct.Struct("3i")
_SO_PEERGROUPS: Final = 59  # Linux 4.13; Python 3.11 has no name for it
_SOME_GROUPS, _ALL_GROUPS = 32, 65536  # the second is the kernel's NGROUPS_MAX


class Connected(Protocol):
    """A socket, or asyncio's wrapper of one."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Peer:
    """A client as the kernel knows it; `gid` is its primary group."""

    pid: int
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"uid {self.uid} gid {self.gid} pid {self.pid}"


def peer_of(connection: Connected) -> Peer:
    """Who connected. Raises OSError when the client is gone already."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Peer(*_UCRED.unpack(raw))


def groups_of(connection: Connected) -> tuple[int, ...]:
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
