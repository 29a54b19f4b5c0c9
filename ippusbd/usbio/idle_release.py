"""How long interfaces stay claimed after the last request.

Vendor drivers and usblp need the interfaces soon; a monitor that polls every few
seconds would have them released and claimed for ever. So the idle time doubles
whenever they are claimed again soon after their release, and falls again.

Pure; times are the caller's.
"""

from __future__ import annotations

from typing import Final

MAX_S: Final = 60.0  # the longest idle time; claimed again within it is "soon"


class IdleRelease:
    """`after_s`: the idle time now, at least `least_s`; 0: never release."""

    def __init__(self, least_s: float) -> None:
        self._least_s = self.after_s = least_s
        self._released_at: float | None = None

    def released(self, now: float) -> None:
        """All idle interfaces were released."""
        self._released_at = now

    def claimed(self, now: float) -> None:
        """An interface was claimed for a request."""
        if self._released_at is None:
            return
        soon = now - self._released_at < MAX_S
        self._released_at = None
        self.after_s = (
            max(self._least_s, min(2 * self.after_s, MAX_S))
            if soon
            else max(self._least_s, self.after_s / 2)
        )
