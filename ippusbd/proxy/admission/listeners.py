"""Listening TCP sockets: one port on every loopback address that is served.

A port is bound on all of them or on none: of half a port the other half is somebody else's, whom
a client of `localhost` may reach. Only an address that the machine does not have (IPv6 is switched
off) is left out. Knows nothing of what is sent.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Final

ABSENT: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


def bind(host: str, port: int, scope: int = 0) -> socket.socket:
    """A listening TCP socket; raises OSError when the port is in use.

    `scope`: the interface's index, for a link-local address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port, 0, scope) if scope else (host, port))
        bound.listen(128)
        bound.setblocking(False)
    except BaseException:
        with contextlib.suppress(OSError):
            bound.close()
        raise
    return bound


def bind_all(hosts: list[str], port: int) -> list[socket.socket]:
    """Sockets on `port` of the `hosts` that exist; raises OSError when it is in use at one."""
    bound: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for host in hosts:
            try:
                bound.append(bind(host, port))
            except OSError as exc:
                if exc.errno not in ABSENT:
                    raise
                absent = exc
        if absent is not None and not bound:
            raise absent
    except OSError:
        for other in bound:
            other.close()
        raise
    return bound


def existing(hosts: list[str]) -> tuple[str, ...]:
    """Those of `hosts` that this machine has."""

    def exists(host: str) -> bool:
        try:
            bind(host, 0).close()
        except OSError as exc:
            return exc.errno not in ABSENT
        return True

    return tuple(filter(exists, hosts))


def is_free(hosts: list[str], port: int) -> bool:
    """Whether no program listens on `port` of any of `hosts`."""
    try:
        for listening in bind_all(hosts, port):
            listening.close()
    except OSError:
        return False
    return True
