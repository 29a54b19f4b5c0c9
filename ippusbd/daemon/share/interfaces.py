"""The addresses that this machine has on its networks, as they come and go.

Wi-Fi joins late, DHCP assigns another address: sharing must follow. The kernel reports that
something changed; all addresses are then listed again.

Knows the library ifaddr, and netlink sockets (rtnetlink(7)) only as far as to be woken by them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Final

from ifaddr import Adapter, get_adapters

ALL: Final = "*"
CHANGES: Final = 0x1 | 0x10 | 0x100  # groups: links, IPv4 addresses, IPv6 addresses


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
    def is_link_local(self) -> bool:
        """Whether it is valid on its own interface only."""
        return self.value.version == 6 and self.value.is_link_local

    @property
    def is_usable(self) -> bool:
        """Whether a socket can be bound to it: not before duplicate address detection is over."""
        family = socket.AF_INET if self.value.version == 4 else socket.AF_INET6
        scope = (0, self.index) if self.value.version == 6 else ()
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((self.text, 0, *scope))
            except OSError:
                return False
        return True


def look(
    names: Collection[str], adapters: Callable[[], Iterable[Adapter]] = get_adapters
) -> tuple[Address, ...]:
    """The usable addresses of these interfaces (ALL: of every one but loopback), now."""
    found = [
        Address(adapter.name, adapter.index, _interface(ip.ip, ip.network_prefix))
        for adapter in adapters()
        if adapter.index is not None and (ALL in names or adapter.name in names)
        for ip in adapter.ips
    ]
    return tuple(each for each in found if not each.value.is_loopback and each.is_usable)


def _interface(ip: str | tuple[str, int, int], prefix: int) -> IPv4Interface | IPv6Interface:
    """`ip` as ifaddr has it: a string, or for IPv6 address, flow and scope."""
    return ip_interface((ip if isinstance(ip, str) else ip[0], prefix))


class Changes:
    """Calls `changed` whenever an interface or an address came or went, until `close`."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """Raises OSError where there is no netlink."""
        self._changed = changed
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        try:
            self._socket.bind((0, CHANGES))
        except OSError:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket, self._on_change)

    def _on_change(self) -> None:
        # Too many at once (ENOBUFS) are a change, too.
        with contextlib.suppress(OSError):
            while self._socket.recv(1 << 16):
                pass
        self._changed()

    def close(self) -> None:
        """Stop watching. Idempotent."""
        if self._socket.fileno() != -1:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
