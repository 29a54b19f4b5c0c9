"""Imports aiohttp without the system's TLS certificates, which nobody here needs.

aiohttp is a client too, and makes a TLS context while it is imported: all certificates that the
system trusts are read and parsed, 60 ms and 2 MB for a daemon that speaks plain HTTP on loopback.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # OpenSSL looks there, if they are set


@contextmanager
def no_certificates() -> Iterator[None]:
    """Within it, OpenSSL's default certificates are none. For imports, before threads start."""
    before = {name: os.environ.get(name) for name in _CERTIFICATES}
    os.environ.update(dict.fromkeys(_CERTIFICATES, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
