"""Jobs of the legacy printer setting, where usblp and vendor drivers print raw bytes.

Nothing marks the end of such a job: it ends when the interface is released or its alternate
setting is selected again, or when nothing arrives for `IDLE_S`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from ippusbd.virtual.services.jobs import JobStore
from ippusbd.virtual.usb.device import VirtualInterface

IDLE_S: Final = 1.0
SIZE_MAX: Final = 64 << 20


class RawJobs:
    """Collects what is written to the legacy alternate settings of a device."""

    def __init__(self, jobs: JobStore, clock: Callable[[], float]) -> None:
        self._jobs = jobs
        self._clock = clock
        self._open: dict[int, tuple[bytearray, float]] = {}  # data, time of the last byte
        self._lock = threading.Lock()

    def serve(self, interface: VirtualInterface) -> None:
        """For `VirtualDevice.powered`."""
        if not interface.spec.speaks_ipp or len(interface.pairs) < 2:
            return
        number = interface.number
        interface.pairs[0].out.sink = lambda data: self._keep(number, data)
        interface.restarting.append(lambda: self._finish(number))

    def settle(self) -> None:
        """End the jobs that are idle."""
        now = self._clock()
        with self._lock:
            idle = [one for one, (_, last) in self._open.items() if now - last >= IDLE_S]
        for number in idle:
            self._finish(number)

    def _keep(self, number: int, data: bytes) -> None:
        self.settle()
        with self._lock:
            kept, _ = self._open.get(number, (bytearray(), 0.0))
            if len(kept) + len(data) <= SIZE_MAX:
                kept += data
            self._open[number] = (kept, self._clock())

    def _finish(self, number: int) -> None:
        with self._lock:
            kept, _ = self._open.pop(number, (bytearray(), 0.0))
        if kept:
            self._jobs.keep_raw(bytes(kept))
