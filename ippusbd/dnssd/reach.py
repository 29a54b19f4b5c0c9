"""Where records are seen, and under which host name: on this machine alone, as a rule.

Values only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Reach:
    """Interfaces, and what a host is called and has for addresses there.

    `is_machines_own`: `host` is what Avahi calls this machine, too.
    """

    interfaces: tuple[str, ...]
    host: str  # like "desk.local"
    addresses: tuple[str, ...]
    is_machines_own: bool = False

    @property
    def ipv4(self) -> tuple[str, ...]:
        """The addresses of IPv4."""
        return tuple(address for address in self.addresses if ":" not in address)


LOOPBACK: Final = Reach(("lo",), "localhost.local", ("127.0.0.1",))
