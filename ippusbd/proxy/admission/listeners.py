"""A listening TCP socket as a site wants it. Knows nothing of what is said on it."""

from __future__ import annotations

import contextlib
import socket


def bind(host: str, port: int, scope: int = 0) -> socket.socket:
    """A listening TCP socket; raises OSError when the port is taken.

    `scope` is the interface's index, for an address that means something on it alone.
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
