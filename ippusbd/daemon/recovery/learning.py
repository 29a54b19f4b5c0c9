"""Settings that are tried on a printer which takes questions and never answers one whole.

Some firmware says nothing without `Connection: close`, some stops after a few
KB without `Connection: keep-alive`, and nothing tells which. So each life that
ends like this is followed by one with the next setting, before anything is
reset; the one with which the printer answers is learned. Where an entry of the
quirk files speaks of this very model, or none of them helped, nothing is tried.

Pure but for what it remembers; lives and their ends are `care`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from ippusbd.quirks.model import Effective

log = logging.getLogger("ippusbd.daemon")

CONNECTION: Final = "connection"
TRIALS: Final[tuple[Mapping[str, object], ...]] = (
    {},  # once is no evidence
    {CONNECTION: "keep-alive"},
    {CONNECTION: "close"},
)


class Trials:
    """Of one printer, from plug to plug. `learn` keeps a setting."""

    def __init__(self, learn: Callable[[str, object], None]) -> None:
        self._learn = learn
        self._made = 0
        self.current: Mapping[str, object] = {}
        self.under_way = False  # this life is a trial

    def may_go_on(self, quirks: Effective) -> bool:
        """Whether another life would have another setting than this one, which has `quirks`."""
        general = quirks.origins.get(CONNECTION)
        left = self._made < len(TRIALS) and (general is None or general.pattern == "*")
        return left or bool(self.current)

    def go_on(self) -> None:
        """The next setting, or, after the last one, none again."""
        left = TRIALS[self._made :]
        self.current = left[0] if left else {}
        self._made += bool(left)
        self.under_way = bool(left)

    def stop(self) -> None:
        """Something else is done to the printer, and shall have the credit."""
        self.current, self.under_way = {}, False

    def worked(self) -> None:
        """The printer answered: what was tried for it is learned."""
        for setting, value in self.current.items():
            log.warning("learned: it answers with %s = %s", setting, value)
            self._learn(setting, value)
        self.current, self.under_way = {}, False

    def afresh(self) -> None:
        """Another start: everything may be tried again."""
        self._made, self.current, self.under_way = 0, {}, False
