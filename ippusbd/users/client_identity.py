"""Which client a connection belongs to, for fair scheduling and authorization.

A client of a Unix socket is a process; over TCP the kernel reports only the
user, so all programs of a user are one client there. A client on another
machine is known by its address.

Knows connected sockets as asyncio has them; never what is spoken over them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Hashable
from dataclasses import dataclass, replace

from ippusbd.users import accounts
from ippusbd.users.peers import peer_of
from ippusbd.users.tcp_owner import Endpoint, OwnerUnknown, owner, owner_in_tables


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """A connection's other end.

    `uid` is None if it could not be determined. `gids` are the kernel's; None: to be looked up
    in the user database.
    """

    client: Hashable  # equal for connections of the same client
    text: str  # for the log
    uid: int | None = None
    gids: frozenset[int] | None = None
    ends: tuple[Endpoint, Endpoint] | None = None  # client's and ours, of TCP
    unix: bool = False

    @property
    def has_closed(self) -> bool:
        """Whether the other end has closed it, even if unread bytes hide that."""
        if self.uid is None or self.ends is None:
            return False
        try:
            return owner(*self.ends) is None
        except OwnerUnknown:
            return False

    async def known(self, *, by_group: bool) -> ClientIdentity:
        """With the user, and, if they matter, its groups, also where that is slow to find out.

        What is slow runs in a thread.
        """
        identity = self
        if identity.uid is None and identity.ends is not None:
            uid = await asyncio.to_thread(owner_in_tables, *identity.ends)
            identity = identity if uid is None else _user(uid, identity.ends)
        if by_group and identity.gids is None and identity.uid is not None:
            identity = replace(
                identity, gids=await asyncio.to_thread(accounts.groups_of, identity.uid)
            )
        return identity


NOBODY = ClientIdentity("nobody", "a client that has disconnected")


def identify(transport: asyncio.BaseTransport) -> ClientIdentity:
    """The client at the other end of `transport`; takes some microseconds."""
    connection = transport.get_extra_info("socket")
    try:
        if connection.family == socket.AF_UNIX:
            peer = peer_of(connection)
            return ClientIdentity((peer.uid, peer.pid), str(peer), peer.uid, peer.gids, unix=True)
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
