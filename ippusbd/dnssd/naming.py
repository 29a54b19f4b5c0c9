"""Which instance names a printer tries, in which order.

The sequence is wire.txt's; here it gets an end and a beginning: the name that was in use before
(Avahi restarted, the announcer changed) is tried first, so that a queue keeps its printer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

MOST_NAMES = 100  # printers of one model on one desk; beyond it something else is wrong

Names = Callable[[str], Iterator[str]]


def own_names(base: str) -> Iterator[str]:
    """The project's names for a printer called `base`, the plain one first."""
    from ippusbd.wire import txt

    return txt.names(base)


def candidates(current: str, base: str, names: Names) -> Iterator[str]:
    """`current`, then the names for `base`, none twice."""
    yield current
    for name in islice(names(base), MOST_NAMES):
        if name != current:
            yield name
