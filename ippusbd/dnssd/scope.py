"""On which interfaces records are announced, and for which host: by default the loopback alone.

A value, with one callback: Avahi's name for this machine, which may differ from its own ("desk-2"
for the second "desk" of a network), and is the one that clients get.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Scope:
    """Interfaces, and name and addresses of the host there.

    `is_own_host`: it is this machine under its own name; then Avahi's name for it is used, and
    `on_host_name` is called with it.
    """

    interfaces: tuple[str, ...]
    host: str  # like "desk.local"
    addresses: tuple[str, ...]
    is_own_host: bool = False
    on_host_name: Callable[[str], None] = field(default=lambda name: None, compare=False)

    @property
    def ipv4(self) -> tuple[str, ...]:
        """The addresses of IPv4."""
        return tuple(address for address in self.addresses if ":" not in address)


def loopback(addresses: tuple[str, ...]) -> Scope:
    """This machine alone, with the loopback addresses on which it is served."""
    return Scope(("lo",), "localhost.local", addresses)


LOOPBACK: Final = loopback(("127.0.0.1",))
