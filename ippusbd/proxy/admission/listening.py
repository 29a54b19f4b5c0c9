"""The listening sockets of a printer: one port on every loopback address that is served.

A machine without IPv6 is served over IPv4 alone.
"""

from __future__ import annotations

import socket

from ippusbd.proxy.admission.listeners import bind


def bind_all(hosts: list[str], port: int) -> list[socket.socket]:
    """Bound to `port` of all `hosts`; raises OSError when it is taken."""
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
    """Nobody listens on `port` of any of `hosts`."""
    try:
        for listening in bind_all(hosts, port):
            listening.close()
    except OSError:
        return False
    return True
