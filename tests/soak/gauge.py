"""The daemon's resources, measured in its process, at rest.

Memory has three gauges. What the C library has given out and the number of Python's
containers tell a leak of bytes and of objects exactly. What the kernel counts is what a user
sees; holes between blocks are in it, too.
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
    """`rss` and `heap` in MiB; the others are counts."""

    rss: float
    heap: float
    objects: int
    fds: int
    threads: int
    tasks: int

    def __str__(self) -> str:
        return (
            f"{self.rss:.1f} MiB, {self.heap:.1f} of them given out, {self.objects} objects, "
            f"{self.fds} fds, {self.threads} threads, {self.tasks} tasks"
        )


@dataclass(frozen=True, slots=True)
class Slack:
    """How much a flat line may rise."""

    rss: float = 8.0
    heap: float = 6.0
    objects: int = 6000
    fds: int = 4
    threads: int = 4
    tasks: int = 4


class _MallInfo(ctypes.Structure):
    """The result of mallinfo2(3); used for the allocated bytes, from heaps and mapped."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def _heap_mib() -> float:
    """0 where the C library has no mallinfo2."""
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        return 0.0
    ask.restype = _MallInfo
    told = ask()
    return float(told.uordblks + told.hblkhd) / (1 << 20)


def measure() -> Held:
    """Measure now, after a garbage collection."""
    gc.collect()
    return Held(
        rss=int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / (1 << 20),
        heap=_heap_mib(),
        objects=len(gc.get_objects()),
        fds=len(list(Path("/proc/self/fd").iterdir())),
        threads=threading.active_count(),
        tasks=len(asyncio.all_tasks()),
    )


def risen(before: Held, after: Held, slack: Slack | None = None) -> list[str]:
    """What is not flat."""
    slack = slack or Slack()
    return [
        f"{name} rose from {was:g} to {now:g}"
        for name in ("rss", "heap", "objects", "fds", "threads", "tasks")
        if (now := getattr(after, name)) > (was := getattr(before, name)) + getattr(slack, name)
    ]
