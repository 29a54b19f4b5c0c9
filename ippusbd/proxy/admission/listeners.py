"""Listening TCP sockets: one port on every loopback address that is served.

A machine without IPv6 is served over IPv4 alone. Knows nothing of what is sent.
"""

from __future__ import annotations

import contextlib
import socket


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
    """Sockets on `port` of all `hosts`; raises OSError when it is in use."""
    bound: list[socket.socket] = []
    try:
        for host in hosts:
            bound.append(bind(host, port))
    except OSError:
        for other in bound:
            other.close()
        if bound and ":" in host:  # a machine without IPv6
            return [bind(hosts[0], port)]
        raise
    return bound


def is_free(hosts: list[str], port: int) -> bool:
    """Whether no program listens on `port` of any of `hosts`."""
    try:
        for listening in bind_all(hosts, port):
            listening.close()
    except OSError:
        return False
    return True
