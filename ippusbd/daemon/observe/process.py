"""What the kernel says of this very process, under Prometheus' own names."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

SELF = Path("/proc/self")


def usage() -> dict[str, float]:
    """Memory, processor time and open files; what cannot be read is left out."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    told = {"process_cpu_seconds_total": round(used.ru_utime + used.ru_stime, 3)}
    with suppress(OSError, ValueError, IndexError):
        pages = int((SELF / "statm").read_text().split()[1])
        told["process_resident_memory_bytes"] = pages * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError):
        told["process_open_fds"] = len(os.listdir(SELF / "fd")) - 1  # noqa: PTH208 -- names only
    return told
