"""Which instance names a printer tries, in which order.

The sequence is wire.txt's; here it gets an end and a beginning: the name that was in use before
(Avahi restarted, the announcer changed) is tried first, so that a queue keeps its printer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from ippusbd.errors import PublishError
from ippusbd.wire import txt

MOST_NAMES = 100  # printers of one model on one desk; beyond it something else is wrong

Names = Callable[[str], Iterator[str]]


own_names: Names = txt.names


class NameTaken(PublishError):
    """Somebody else uses the instance name."""


def candidates(current: str, base: str, names: Names) -> Iterator[str]:
    """`current`, then the names for `base`, none twice."""
    yield current
    for name in islice(names(base), MOST_NAMES):
        if name != current:
            yield name
