"""The process at the other end of a Unix socket, as the kernel reports it.

The kernel vouches for pid, uid and groups as they were when the client connected
(unix(7), SO_PEERCRED); nothing that a client sends can change them.

Knows sockets; nothing of what is sent over them.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass
from typing import Final, Protocol

_UCRED: Final = struct.Struct("3i")
_SO_PEERGROUPS: Final = 59  # Linux 4.13; Python 3.11 has no name for it
_PYTHON_GROUPS: Final = 256  # as many fit into the 1,024 bytes that Python's getsockopt takes
_KERNEL_GROUPS: Final = 65536  # NGROUPS_MAX


class Connected(Protocol):
    """A socket, or asyncio's wrapper of one."""

    def fileno(self) -> int: ...

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Peer:
    """A client process; `gids` are all its groups, with `gid`, the primary one."""

    pid: int
    uid: int
    gid: int
    gids: frozenset[int] = frozenset()

    def __str__(self) -> str:
        return f"uid {self.uid} gid {self.gid} pid {self.pid}"


def peer_of(connection: Connected) -> Peer:
    """The client process. Raises OSError when the client has left."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(raw)
    return Peer(pid, uid, gid, frozenset((gid, *_supplementary(connection))))


def _supplementary(connection: Connected) -> tuple[int, ...]:
    """The client's supplementary groups; none on a kernel that does not report them."""
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _PYTHON_GROUPS)
    except OSError as exc:
        return _many_groups(connection.fileno()) if exc.errno == errno.ERANGE else ()
    return struct.unpack(f"{len(raw) // 4}I", raw)


def _many_groups(fd: int) -> tuple[int, ...]:
    import ctypes

    groups = (ctypes.c_uint32 * _KERNEL_GROUPS)()
    size = ctypes.c_uint32(ctypes.sizeof(groups))
    getsockopt = ctypes.CDLL(None).getsockopt
    if getsockopt(fd, socket.SOL_SOCKET, _SO_PEERGROUPS, groups, ctypes.byref(size)):
        return ()
    return tuple(groups[: size.value // 4])
