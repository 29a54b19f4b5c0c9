"""How many bytes the next bulk IN transfer asks for, so that as few as possible are cancelled.

Real firmware loses data when a transfer is cancelled. One that ends by itself needs no cancel:

    nothing known         one packet: any byte ends it, however long the printer is silent
    so much is to come    whole packets of that: no transfer goes beyond it
    a large answer whose  several at once, of full size: chunks of 4 KB must not come in
    end is not known      transfers of 4 KB

Only the last go beyond what is due. They are cancelled at the end of the answer, and in a
silence, because an answer of k x 512 bytes without a zero-length packet does not end one.

These have the size that ends by itself after `PACE_S` at the pace of the printer: bytes of a slow
scanner would wait in larger ones until they are cancelled for them, and each transfer costs the
machine as much as the bytes of a small one, so those of a fast printer are large.

Knows numbers; no transfers.
"""

from __future__ import annotations

from collections.abc import Callable

IN_FLIGHT = 3
PACE_S = 0.02  # a fraction of the silence that cancels a transfer


class ReadSizes:
    """For one answer after the other; `rest` is between them."""

    def __init__(
        self, packet_bytes: int, usual_bytes: int, fast_bytes: int, clock: Callable[[], float]
    ) -> None:
        """`clock`: in seconds; it is read only in large answers."""
        self._packet = packet_bytes
        self._clock = clock
        self._usual, self._fast = usual_bytes, fast_bytes
        self._full = usual_bytes
        self._received = 0  # bytes of this answer
        self._measured, self._since = 0, 0.0  # bytes, from when on
        self._last = 0.0  # when some came
        self._due, self._exact = 0, False  # bytes to come that the reader does not have yet
        self.beyond = False  # a transfer is posted that may not end by itself
        self.silent = False  # nothing came since such transfers were cancelled

    def rest(self) -> None:
        self._received = 0
        self._full = min(self._full, self._usual)
        self.silent = False

    def expect(self, due: int, *, exact: bool) -> None:
        """See `Channel.read`."""
        self._due, self._exact = due, exact

    def taken(self, size: int) -> None:
        """The reader has `size` bytes more."""
        self._due -= size

    def awaited(self) -> None:
        """The printer may send again: what passed before was the reader's time."""
        if self._received >= self._usual:
            self._since = self._last = self._clock()
            self._measured = 0

    def arrived(self, size: int, *, cut: bool = False) -> None:
        """`size` bytes came; `cut`: in a cancelled transfer."""
        was_small = self._received < self._usual
        self._received += size
        if was_small:  # it may have waited for the printer's thoughts
            self.awaited()
            return
        if cut:
            self._measured, self._since = 0, self._last
        self._last = at = self._clock()
        self._measured += size
        took_s = at - self._since
        if not cut and took_s < PACE_S and self._measured < 2 * self._full:
            return
        full = int(self._measured * PACE_S / max(took_s, 1e-6))
        if not cut:  # a pause tells little, and so do transfers that were seen late
            full = min(max(full, self._full // 4), self._full * 2)
        self._full = min(max(full // self._packet, 1) * self._packet, self._fast)
        self._measured, self._since = 0, at

    def patience(self, largest: int) -> float:
        """How many times as long as one of usual size a transfer of `largest` bytes may take."""
        return max(largest / self._usual, 1.0)

    def next(self, ahead: int) -> int:
        """Size of a further transfer; 0: none is needed.

        `ahead`: bytes that the reader has not taken, and those that posted transfers ask for.
        """
        beyond = self._received >= self._usual and not self._exact and not self.silent
        full = self._full if beyond else max(self._full, self._usual)
        if ahead + full > IN_FLIGHT * full:
            return 0
        due = self._due - ahead
        if beyond:
            self.beyond |= due < full
            return full
        if due > 0:
            return min(-(-due // self._packet) * self._packet, full)
        return 0 if ahead else self._packet
