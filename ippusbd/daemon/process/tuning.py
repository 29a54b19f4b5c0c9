"""Limits of this process: memory that the C library keeps, and files that it may open.

glibc gives the end of its heap back and takes it again, so every megabyte of a document
costs 400 page faults. Measured on the daemon alone: with 2 MB kept there are 20, and an upload
takes half the CPU time (1.4 ms per MB, not 2.6); with 1 MB there are 300. Afterwards the process
is as large as before; with 4 MB it stays 3 MB larger.

The usual limit of 1,024 open files exists for programs that call select(2). Each printer has places
for hundreds of clients (`[http] max_clients`), and a daemon without free descriptors accepts none.
"""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress
from typing import Final

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_BYTES: Final = 2 << 20
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
