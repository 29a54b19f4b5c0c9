"""Which instance names a printer tries, in which order, and which our printers have.

The sequence is wire.txt's; here it gets an end and a beginning: the name that was in use before
(Avahi restarted, the announcer changed) is tried first, so that a queue keeps its printer. Two
printers of ours never try the same name at once: each could find the other in the way, and both
would move on, for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

from ippusbd.errors import PublishError
from ippusbd.wire import txt

MOST_NAMES = 100  # printers of one model on one desk; beyond it something else is wrong

Names = Callable[[str], Iterator[str]]

own_names: Names = txt.names


class NameTaken(PublishError):
    """Somebody else uses the instance name."""


class NameBook:
    """The names that a publisher's sets hold or try."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._held: set[str] = set()

    def free(self, current: str, base: str) -> Iterator[str]:
        """`current`, then the names for `base`: those that no other set of ours has.

        PublishError at the end: all are taken.
        """
        for name in self._sequence(current, base):
            if name.casefold() not in self._held:
                yield name
        raise PublishError(f"every name like {base!r} is taken")

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Keep other sets of ours from trying `name`; entered in the same turn as `free` told."""
        key = name.casefold()  # DNS tells no case apart
        self._held.add(key)
        try:
            yield
        finally:
            self._held.discard(key)

    def _sequence(self, current: str, base: str) -> Iterator[str]:
        yield current
        for name in islice(self._names(base), MOST_NAMES):
            if name != current:
                yield name
