"""Which instance names a printer tries, in which order, and which of them our printers use.

The sequence is wire.txt's, with an end and another beginning: the name that was in use before
(Avahi restarted, the announcer changed) is tried first, so that a queue keeps its printer. Two
printers of ours never try the same name at once: each would find it taken by the other, and both
would go on to the next name, without end.
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
    """The instance name is in use."""


class NameBook:
    """The names that a publisher's sets use or try."""

    def __init__(self, names: Names = own_names) -> None:
        self._names = names
        self._held: set[str] = set()

    def free(self, current: str, base: str) -> Iterator[str]:
        """`current`, then the names for `base`, without those that other sets of ours use.

        Raises PublishError at the end.
        """
        for name in self._sequence(current, base):
            if name.casefold() not in self._held:
                yield name
        raise PublishError(f"every name like {base!r} is taken")

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Keep other sets of ours from trying `name`; entered before any await after `free`."""
        key = name.casefold()  # DNS ignores case
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
