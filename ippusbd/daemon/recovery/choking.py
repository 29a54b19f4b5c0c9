"""Finds out that a printer chokes on large OUT transfers, and how small they have to be.

Some firmware loses its way when it gets more at once than it has room for: an
upload stands still in the middle, the printer lives and has no reason to give,
and after a reset of the interface all is well until the next document. Twice
within an hour is no accident: transfers get smaller, and that is remembered.

Knows nothing of channels; time is injected.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

log = logging.getLogger("ippusbd.daemon")

SETTING: Final = "write_bytes"
STEPS: Final = (16_384, 4_096, 512)
WITHIN_S: Final = 3600.0


class Choking:
    """Of one printer's life. `write_bytes`: what transfers are limited to now; None: not."""

    def __init__(
        self,
        write_bytes: int | None,
        learn: Callable[[str, object], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.write_bytes = write_bytes
        self._learn = learn
        self._clock = clock
        self._last_at: float | None = None

    def stood_still(self) -> bool:
        """An upload did, for no reason. True: transfers are smaller from now on."""
        now, last = self._clock(), self._last_at
        self._last_at = now
        if last is None or now - last > WITHIN_S:
            return False
        smaller = [step for step in STEPS if self.write_bytes is None or step < self.write_bytes]
        if not smaller:
            return False
        self.write_bytes, self._last_at = smaller[0], None
        log.warning("learned: it chokes on large transfers; from now on %d bytes", smaller[0])
        self._learn(SETTING, smaller[0])
        return True
