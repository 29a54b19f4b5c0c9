"""Limits of this process: memory that the C library keeps, open files, and OpenSSL.

glibc gives the end of its heap back and takes it again, so every megabyte of a document costs 400
page faults. Measured on the daemon alone: with 3 MB kept there are none, and an upload takes half
the CPU time (1.4 ms per MB, not 2.6); with 2 MB there are up to 10, with 1 MB 300. Afterwards the
process is 2.4 MB larger than when it was idle.

Holes between blocks in use stay resident: 5 to 10 MB after an hour of faults and hostile clients,
with 10 MB in use all the time. They are given back when an interface is released, not in the middle
of work; that takes 0.3 ms and 1 ms for each 12 MB.

The usual limit of 1,024 open files exists for programs that call select(2). Each printer has places
for hundreds of clients (`[http] max_clients`), and a daemon without free descriptors accepts none.

OpenSSL is 5 MB of a daemon's 46, and only printers that are shared over TLS need it. asyncio,
aiohttp and hashlib load it if it is there, and else do without: Python can be built without it.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from contextlib import suppress
from importlib.util import find_spec
from typing import Final

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_BYTES: Final = 3 << 20
MAX_FILES: Final = 65536
OPENSSL: Final = ("ssl", "_ssl", "_hashlib")
_SHA2: Final = ("_sha2",) if sys.version_info >= (3, 12) else ("_sha256", "_sha512")
# Fedora's Python, for one, has most of them from OpenSSL only.
_OWN_HASHES: Final = ("_md5", "_sha1", *_SHA2, "_sha3", "_blake2")


def keep_buffers() -> bool:
    """Set glibc's thresholds; False where the C library is another one."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    done = [mallopt(option, KEPT_BYTES) for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD)]
    return all(done)


def give_back() -> None:
    """Give holes in the heap back to the system, with glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def allow_many_files(most: int = MAX_FILES) -> None:
    """Raise the soft limit up to `most`; where a sandbox forbids that, its own limit stays."""
    with suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def leave_out_openssl() -> bool:
    """Let imports of OpenSSL fail from now on, for a daemon that shares no printer.

    False, and nothing is changed, where it is loaded or where Python has no hashes of its own.
    """
    if any(name in sys.modules for name in OPENSSL) or not all(map(find_spec, _OWN_HASHES)):
        return False
    # The import system's documented way to say that a module is not there.
    sys.modules.update(dict.fromkeys(OPENSSL))  # type: ignore[arg-type]
    return True
