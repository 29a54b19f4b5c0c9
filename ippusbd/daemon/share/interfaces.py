"""The addresses that this machine has on its networks, as they come and go.

Wi-Fi joins late, DHCP gives another address: who serves on an interface must hear of it. The
kernel tells that something changed; what there is, is then asked for as a whole.

Knows netlink sockets; what messages mean is `wire.rtnetlink`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final

from ippusbd.wire import rtnetlink

log = logging.getLogger("ippusbd.daemon")

ALL: Final = "*"
ANSWER_S: Final = 2.0  # the kernel answers from memory


@dataclass(frozen=True, slots=True)
class Address:
    """One address of an interface; `value` has its network, too."""

    interface: str
    index: int
    value: IPv4Interface | IPv6Interface

    @property
    def text(self) -> str:
        """The address alone."""
        return str(self.value.ip)

    @property
    def is_of_link(self) -> bool:
        """It means something on its own interface only."""
        return self.value.version == 6 and self.value.is_link_local


def look(names: Collection[str]) -> tuple[Address, ...]:
    """The addresses of the interfaces called so (ALL: of every one but loopback), now."""
    found = []
    for address in _asked():
        try:
            name = socket.if_indextoname(address.index)
        except OSError:  # gone meanwhile
            continue
        if address.value.is_loopback or not (ALL in names or name in names):
            continue
        found.append(Address(name, address.index, address.value))
    return tuple(found)


def _asked() -> list[rtnetlink.LocalAddress]:
    found: list[rtnetlink.LocalAddress] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
        asking.settimeout(ANSWER_S)
        asking.send(rtnetlink.ask_addresses())
        is_last = False
        while not is_last:
            some, is_last = rtnetlink.addresses(asking.recv(1 << 16))
            found += some
    return found


class Changes:
    """Calls `changed` whenever an interface or an address came or went, until `close`."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """Raises OSError where there is no netlink."""
        self._changed = changed
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        try:
            self._socket.bind((0, rtnetlink.CHANGES))
        except OSError:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket, self._heard)

    def _heard(self) -> None:
        # Too many at once (ENOBUFS) are a change, too.
        with contextlib.suppress(OSError):
            while self._socket.recv(1 << 16):
                pass
        self._changed()

    def close(self) -> None:
        """Hear no more. Idempotent."""
        if self._socket.fileno() != -1:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
