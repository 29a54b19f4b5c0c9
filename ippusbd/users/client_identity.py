"""Identifies the client of a connection, for fair queueing and for access rules.

A client of a Unix socket is a process. Over TCP the kernel reports only the
user, so all programs of a user are one client. A client on another machine is
identified by its address.

Knows connected sockets as asyncio shows them; nothing of what is sent over them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, IPv6Network, ip_address
from pathlib import Path

from ippusbd.users import accounts
from ippusbd.users.peers import peer_of
from ippusbd.users.tcp_owner import Endpoint, OwnerUnknown, owner, owner_in_tables


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """The other end of a connection.

    `uid` is None when it could not be determined. `gids` are those that the kernel reports; None:
    the user database has to be asked for the groups of `uid`.
    """

    client: Hashable  # equal for connections of the same client
    text: str  # for the log
    uid: int | None = None
    gids: frozenset[int] | None = None
    ends: tuple[Endpoint, Endpoint] | None = None  # client's and ours, of TCP
    unix: bool = False
    pid: int = 0  # of a client of a Unix socket

    @property
    def owner(self) -> tuple[Hashable, ...]:
        """Whose share of the places it takes: levels, the first of which counts first."""
        if self.uid is not None:
            return self.uid, self.pid
        return (self.client,) if self.ends is None else host(self.ends[0][0])

    @property
    def program(self) -> str:
        """The name of its process; empty where the kernel does not report that."""
        if self.pid:
            with suppress(OSError):  # it ended
                return Path(f"/proc/{self.pid}/comm").read_text("utf-8", "replace").strip()
        return ""

    @property
    def has_closed(self) -> bool:
        """The client closed the connection, even if bytes that it sent are still unread."""
        if self.uid is None or self.ends is None:
            return False
        try:
            return owner(*self.ends) is None
        except OwnerUnknown:
            return False

    async def known(self, *, by_group: bool) -> ClientIdentity:
        """With the user, and with its groups if `by_group`; slow look-ups run in a thread."""
        identity = self
        if identity.uid is None and identity.ends is not None:
            uid = await asyncio.to_thread(owner_in_tables, *identity.ends)
            identity = identity if uid is None else _user(uid, identity.ends)
        if by_group and identity.gids is None and identity.uid is not None:
            identity = replace(
                identity, gids=await asyncio.to_thread(accounts.groups_of, identity.uid)
            )
        return identity


def host(address: str) -> tuple[Hashable, ...]:
    """The levels of a client at `address`.

    All of the network are one to the users of this machine. On IPv6 a machine has as many
    addresses of its link as it wants, so the link (a /64) comes before the address.
    """
    plain = ip_address(address.partition("%")[0])
    if plain.is_loopback:  # a user that the kernel does not tell
        return (address,)
    link = IPv6Network((plain, 64), strict=False) if isinstance(plain, IPv6Address) else address
    return "network", link, address


NOBODY = ClientIdentity("nobody", "a client that has left")


def identify(transport: asyncio.BaseTransport) -> ClientIdentity:
    """The client of `transport`; takes a few microseconds."""
    connection = transport.get_extra_info("socket")
    try:
        if connection.family == socket.AF_UNIX:
            peer = peer_of(connection)
            client = (peer.uid, peer.pid)
            return ClientIdentity(client, str(peer), peer.uid, peer.gids, unix=True, pid=peer.pid)
        ends = connection.getpeername()[:2], connection.getsockname()[:2]
    except OSError:
        return NOBODY
    try:
        uid = owner(*ends)
    except OwnerUnknown:
        uid = None
    return ClientIdentity(ends[0][0], ends[0][0], ends=ends) if uid is None else _user(uid, ends)


def _user(uid: int, ends: tuple[Endpoint, Endpoint]) -> ClientIdentity:
    return ClientIdentity(uid, f"uid {uid}", uid, ends=ends)
