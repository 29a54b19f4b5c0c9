"""Where records are seen, and under which host name: on this machine alone, as a rule.

Values, but for one word back: what Avahi calls this machine, which may be another name than it has
("desk-2" for the second "desk" of a network), and is the one that clients learn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Scope:
    """Interfaces, and what a host is called and has for addresses there.

    `is_machines_own`: this machine's own name and addresses, so that Avahi's name for it holds;
    `on_called` is then told that.
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


LOOPBACK: Final = Scope(("lo",), "localhost.local", ("127.0.0.1",))
