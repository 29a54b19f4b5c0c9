"""Settings that are tried on a printer that misbehaves, and kept when they help.

ConnectionTrial: some firmware answers nothing without `Connection: close`, some stops after a few
KB without `Connection: keep-alive`, and nothing shows which. So a session that ends with an
unanswered or half-answered question is followed by one with the next setting, before anything is
reset; the setting with which the printer answers is kept. Nothing is tried where an entry of the
quirk files names this very model, or where no setting helped.

WriteSizeTrial: some firmware loses data when it gets more at once than it has room for:
an upload stalls in the middle, the printer is alive and reports no reason, and after a reset of
the interface all is well until the next document. After the second time within hours transfers
get smaller, and that is kept.

Pure but for what it remembers; time is injected.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from ippusbd.aio import now
from ippusbd.errors import IppUsbError, Unanswered
from ippusbd.quirks.model import Effective

log = logging.getLogger("ippusbd.daemon")

CONNECTION: Final = "connection"
TRIALS: Final[tuple[Mapping[str, object], ...]] = (
    {},  # once is no evidence
    {CONNECTION: "keep-alive"},
    {CONNECTION: "close"},
)


class ConnectionTrial:
    """For one printer, from plug to plug. `learn` keeps a setting."""

    def __init__(self, learn: Callable[[str, object], None]) -> None:
        self._learn = learn
        self._made = 0
        self.current: Mapping[str, object] = {}
        self.under_way = False  # this session is a trial

    def may_go_on(self, quirks: Effective) -> bool:
        """Whether the next session would have another setting than this one, with `quirks`."""
        general = quirks.origins.get(CONNECTION)
        left = self._made < len(TRIALS) and (
            general is None or (general.built_in and general.pattern == "*")
        )
        return left or bool(self.current)

    def answers(self, failure: IppUsbError, name: str, quirks: Effective) -> bool:
        """Whether the next session tries another setting after `failure` of a printer `name`.

        Only one that is new, so without a name, is tried.
        """
        return isinstance(failure, Unanswered) and not name and self.may_go_on(quirks)

    def go_on(self) -> None:
        """The next setting, or, after the last one, none again."""
        left = TRIALS[self._made :]
        self.current = left[0] if left else {}
        self._made += bool(left)
        self.under_way = bool(left)

    def stop(self) -> None:
        """Something else is done to the printer: a success is not the setting's."""
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


WRITE_SIZE: Final = "write_bytes"
STEPS: Final = (16_384, 4_096, 512)
WITHIN_S: Final = 3 * 3600.0  # two stalls, each of which may be looked at for an hour


class WriteSizeTrial:
    """For one session. `write_bytes`: the limit of transfers now; None: no limit."""

    def __init__(
        self,
        write_bytes: int | None,
        learn: Callable[[str, object], None],
        *,
        clock: Callable[[], float] = now,
    ) -> None:
        self.write_bytes = write_bytes
        self._learn = learn
        self._clock = clock
        self._last_at: float | None = None

    def stalled(self, excused_at: float) -> bool:
        """An upload stalled for no known reason; the last reason was known at `excused_at`.

        True: transfers are smaller from now on. A reason that is reported after a stall, because
        the printer could not report it before, explains that stall.
        """
        now, last = self._clock(), self._last_at
        self._last_at = now
        if last is None or now - last > WITHIN_S or excused_at >= last:
            return False
        smaller = [step for step in STEPS if self.write_bytes is None or step < self.write_bytes]
        if not smaller:
            return False
        self.write_bytes, self._last_at = smaller[0], None
        log.warning("learned: large transfers make it stall; the limit is now %d bytes", smaller[0])
        self._learn(WRITE_SIZE, smaller[0])
        return True
