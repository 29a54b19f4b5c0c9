"""Tasks for clients that nobody else limits yet: when there are too many, whoever has most loses.

The oldest task of the client with most is cancelled for a new one, so nobody is refused and
nobody keeps others out. Owners have levels, like (uid, pid): the first counts first, so that a
user gains nothing by more processes.

Knows asyncio; nothing of what the tasks do.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable

Owner = tuple[Hashable, ...]


class FairTasks:
    """At most `places` tasks."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._owners: dict[asyncio.Task[None], Owner] = {}  # oldest first
        self._counts: Counter[Owner] = Counter()

    def __len__(self) -> int:
        return len(self._owners)

    def add(self, task: asyncio.Task[None], *owner: Hashable) -> asyncio.Task[None] | None:
        """Count `task` until it ends; returns the task that was cancelled for it, if any."""
        victim = None
        if len(self._owners) >= self._places:
            victim = max(self._owners, key=self._share)  # the oldest among equals
            victim.cancel()
            self._remove(victim)
        self._owners[task] = owner
        self._counts.update(levels(owner))
        task.add_done_callback(self._remove)
        return victim

    def _share(self, task: asyncio.Task[None]) -> list[int]:
        return [self._counts[level] for level in levels(self._owners[task])]

    def _remove(self, task: asyncio.Task[None]) -> None:
        owner = self._owners.pop(task, None)
        if owner is not None:
            self._counts.subtract(levels(owner))
            for level in levels(owner):
                if not self._counts[level]:
                    del self._counts[level]


def levels(owner: Owner) -> list[Owner]:
    """`(uid, pid)` is counted as `(uid,)` and as `(uid, pid)`."""
    return [owner[:length] for length in range(1, len(owner) + 1)]
