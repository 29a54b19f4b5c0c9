"""Which user owns the other end of a TCP connection within this machine.

The kernel reports it over netlink (sock_diag(7)), in 20 us however many connections
there are; where a sandbox forbids netlink, the tables in /proc contain it and have to
be read to the end. Both show uid 0 for a socket that its program has closed: an end
without an inode belongs to nobody, never to root.

Knows sockets and netlink; nothing of what is sent over them.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

Endpoint = tuple[str, int]
"""Address and port of one end."""

TABLES: Final = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))

_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_REQUEST: Final = 1  # NLM_F_REQUEST
_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_QUESTION: Final = struct.Struct("=BBBBI")  # family, protocol, extensions, padding, states
_ANY_STATE, _NO_COOKIE = 0xFFFFFFFF, b"\xff" * 8
_OWNER: Final = struct.Struct("=II")  # uid and inode
_OWNER_AT: Final = _HEADER.size + 4 + 48 + 12  # behind state, ends, timer and queues


class OwnerUnknown(Exception):
    """The kernel does not report it over netlink; the tables may contain it."""


def owner(client: Endpoint, server: Endpoint) -> int | None:
    """The uid at `client`'s end of its connection to `server`; None: no user of this machine.

    Never waits. Raises OwnerUnknown where netlink cannot be used.
    """
    address = _plain(client[0])
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    ends = struct.pack("!HH", client[1], server[1])
    ends += address.packed.ljust(16, b"\0") + _plain(server[0]).packed.ljust(16, b"\0")
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0, _ANY_STATE)
    question += ends + struct.pack("=I", 0) + _NO_COOKIE
    head = _HEADER.pack(_HEADER.size + len(question), _SOCK_DIAG_BY_FAMILY, _REQUEST, 1, 0)
    answer = _asked(head + question)
    if len(answer) < _OWNER_AT + _OWNER.size or _kind(answer) != _SOCK_DIAG_BY_FAMILY:
        if _errno(answer) == -2:  # ENOENT: no such connection here
            return None
        raise OwnerUnknown(os.strerror(-_errno(answer)))
    uid, inode = _OWNER.unpack_from(answer, _OWNER_AT)
    return uid if inode else None


def owner_in_tables(
    client: Endpoint, server: Endpoint, tables: tuple[Path, ...] = TABLES
) -> int | None:
    """As `owner`, from the tables in /proc. Blocks for milliseconds; runs in a thread."""
    wanted = (_plain(client[0]), client[1], _plain(server[0]), server[1])
    for table in tables:
        for local, remote, uid, inode in _rows(table):
            if (*_end(local), *_end(remote)) == wanted:
                return uid if inode else None
    return None


def _asked(question: bytes) -> bytes:
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    try:
        with socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG) as netlink:
            netlink.send(question)  # the answer is there before this returns
            return netlink.recv(4096)
    except OSError as exc:
        raise OwnerUnknown(str(exc)) from exc


def _kind(answer: bytes) -> int:
    return int(_HEADER.unpack_from(answer)[1]) if len(answer) >= _HEADER.size else 0


def _errno(answer: bytes) -> int:
    """The error number of an NLMSG_ERROR; 0 for any other message."""
    if len(answer) < _HEADER.size + 4 or _kind(answer) != 2:
        return 0
    (number,) = struct.unpack_from("=i", answer, _HEADER.size)
    return int(number)


def _rows(table: Path) -> Iterator[tuple[str, str, int, int]]:
    try:
        lines = table.read_text("ascii").splitlines()
    except OSError:
        return
    for line in lines[1:]:
        fields = line.split()
        yield fields[1], fields[2], int(fields[7]), int(fields[9])


def _end(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    """`0100007F:1F90`: words of the address in the machine's order, the port as a number."""
    address, _, port = text.partition(":")
    words = struct.unpack(f">{len(address) // 8}I", bytes.fromhex(address))
    packed = struct.pack(f"={len(words)}I", *words)
    return _unmapped(ip_address(packed)), int(port, 16)


def _plain(address: str) -> IPv4Address | IPv6Address:
    """Without the scope of a link-local address; an IPv4-mapped IPv6 address as IPv4."""
    return _unmapped(ip_address(address.partition("%")[0]))


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
