"""Limits of this process: memory that the C library keeps, and files that it may open.

glibc takes large buffers from the kernel one by one and returns them at once, so every megabyte of
a document costs 250 page faults. Measured under user-mode Linux: with kept buffers uploads are
twice as fast and take less than half the CPU time.

The usual limit of 1,024 open files exists for programs that call select(2). Each printer has places
for hundreds of clients (`[http] max_clients`), and a daemon without free descriptors accepts none.
"""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress
from typing import Final

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_BYTES: Final = 4 << 20  # a multiple of what is in flight at once
MAX_FILES: Final = 65536


def keep_buffers() -> bool:
    """Set glibc's thresholds; False where the C library is another one."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    done = [mallopt(option, KEPT_BYTES) for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD)]
    return all(done)


def allow_many_files(most: int = MAX_FILES) -> None:
    """Raise the soft limit up to `most`; where a sandbox forbids that, its own limit stays."""
    with suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
