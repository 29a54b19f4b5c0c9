"""The bulk transfers that the kernel sees, by its usbmon."""

from __future__ import annotations

import os
import re
import select
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from programs import run, until

DEBUG = Path("/sys/kernel/debug")
USBMON = DEBUG / "usb/usbmon/0u"
# usbmon's text: tag, time, event, address (type, direction, bus, device, endpoint), status, length
BULK = re.compile(r"^\S+ \d+ ([SC]) B([io]):\d+:\d+:\d+ (-?\d+) (\d+)")
QUIET_S = 0.5


@dataclass(frozen=True)
class Seen:
    """A bulk transfer that begins or has ended."""

    begins: bool
    into: bool
    status: int
    length: int


class Usbmon:
    """Collects the bulk transfers of all buses, from before `with` goes on until its end."""

    def __init__(self) -> None:
        self._seen: list[Seen] = []
        self._last = time.monotonic()
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Usbmon:
        if not USBMON.exists():
            run("mount", "-t", "debugfs", "none", DEBUG)
        self._file = os.open(USBMON, os.O_RDONLY | os.O_NONBLOCK)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join()
        os.close(self._file)

    def _read(self) -> None:
        while not self._ended:
            select.select([self._file], [], [], 0.1)
            try:
                text = os.read(self._file, 65_536).decode("ascii", "replace")
            except BlockingIOError:
                continue
            for line in text.splitlines():
                if found := BULK.match(line):
                    event, way, status, length = found.groups()
                    self._last = time.monotonic()
                    self._seen.append(Seen(event == "S", way == "i", int(status), int(length)))

    def taken(self) -> list[Seen]:
        """The transfers since the last call, when nothing moves any more."""
        until(lambda: time.monotonic() - self._last > QUIET_S, "the bus to be quiet")
        seen, self._seen = self._seen, []
        return seen
