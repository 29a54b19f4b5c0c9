"""Which instance names a printer tries, in which order, and which of them our printers use.

The sequence is wire.txt's, with an end and another beginning: the name that was in use before
(Avahi restarted, the announcer changed) is tried first, so that a queue keeps its printer. Two
printers of ours never try the same name at once: each would find it taken by the other, and both
would go on to the next name, without end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from ippusbd.errors import PublishError
from ippusbd.model import ServiceSet
from ippusbd.wire import txt

MOST_NAMES = 100  # printers of one model on one desk; beyond it something else is wrong


class NameTaken(PublishError):
    """The instance name is in use."""


class NameBook:
    """The names that a publisher's sets use or try."""

    def __init__(self) -> None:
        self._held: set[str] = set()

    def free(self, current: str, services: ServiceSet) -> Iterator[str]:
        """`current`, then the names for `services`, without those that other sets of ours use.

        Raises PublishError at the end.
        """
        for name in _sequence(current, services):
            if name.casefold() not in self._held:
                yield name
        raise PublishError(f"every name like {services.name!r} is taken")

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Keep other sets of ours from trying `name`; entered before any await after `free`."""
        key = name.casefold()  # DNS ignores case
        self._held.add(key)
        try:
            yield
        finally:
            self._held.discard(key)


def _sequence(current: str, services: ServiceSet) -> Iterator[str]:
    yield current
    for name in islice(txt.names(services.name, services.suffix), MOST_NAMES):
        if name != current:
            yield name
