"""What the process holds, measured when nothing is going on.

Two gauges for memory: the kernel's, after the C library gave back what it can,
and the number of Python's own objects, which no allocator blurs.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import threading
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Held:
    """`rss` in MiB; the others are counts, `fds` without sockets that listen for known printers."""

    rss: float
    objects: int
    fds: int
    threads: int
    tasks: int

    def __str__(self) -> str:
        return (
            f"{self.rss:.1f} MiB, {self.objects} objects, {self.fds} fds, "
            f"{self.threads} threads, {self.tasks} tasks"
        )


@dataclass(frozen=True, slots=True)
class Slack:
    """By how much a flat line may rise."""

    rss: float = 8.0
    objects: int = 6000
    fds: int = 4
    threads: int = 4
    tasks: int = 4


def measure(listening: int) -> Held:
    """Now, without garbage; `listening` sockets are there for good."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return Held(
        rss=int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / (1 << 20),
        objects=len(gc.get_objects()),
        fds=len(list(Path("/proc/self/fd").iterdir())) - listening,
        threads=threading.active_count(),
        tasks=len(asyncio.all_tasks()),
    )


def risen(before: Held, after: Held, slack: Slack | None = None) -> list[str]:
    """What is not flat."""
    slack = slack or Slack()
    return [
        f"{name} rose from {was:g} to {now:g}"
        for name in ("rss", "objects", "fds", "threads", "tasks")
        if (now := getattr(after, name)) > (was := getattr(before, name)) + getattr(slack, name)
    ]
