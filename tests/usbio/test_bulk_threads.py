"""The Channel with threads, on a machine whose threads run late."""

from __future__ import annotations

import time
from array import array
from concurrent.futures import ThreadPoolExecutor

from ippusbd.usbio.bulk_threads import ThreadChannel


class LateIo:
    """Whole packets that no short one follows: they are there when the slice's time is over."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting

    def read_into(self, _: array[int], timeout_s: float) -> int:
        time.sleep(timeout_s + 0.2)
        arrived, self.waiting = self.waiting, 0
        return arrived

    def write(self, data: memoryview, _: float) -> int:
        return len(data)

    def release(self) -> None:
        pass

    clear_halts = recover = release


async def test_a_drain_is_over_after_a_silent_slice_and_not_before():
    with ThreadPoolExecutor(1) as control:
        channel = ThreadChannel(0, LateIo(1024), control)
        assert await channel.drain(0.05, 1 << 20) == 1024
        await channel.close()
