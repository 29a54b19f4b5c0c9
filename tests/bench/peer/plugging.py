"""Times from the plug to the first answer and announcement; from the unplug to the withdrawal.

Times start before the virtual printer is told: they include the kernel's
enumeration of the device, the same for both daemons. Announcements are what
avahi-browse prints, with the time of the line.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import dataclass

from clients import Clients, Figures
from lab import Printers
from programs import until
from report import Failed
from servers import Running

SETTLE_S = 3.0  # a person is not quicker, and ipp-usb loses its port to quick cycles
LIMIT_S = 40.0


@dataclass(frozen=True)
class Event:
    """A service appeared (`+`) or went (`-`) at a time of the monotonic clock."""

    at_s: float
    sign: str
    key: str


class Browse:
    """avahi-browse for one type, running until `stop`."""

    def __init__(self, kind: str) -> None:
        words = ("stdbuf", "-oL", "avahi-browse", "--parsable", "--no-db-lookup", kind)
        self._process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._events: list[Event] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            sign, _, key = line.partition(";")
            self._events.append(Event(time.monotonic(), sign, key))

    def appeared(self, since_s: float) -> float | None:
        """When the first service appeared after `since_s`."""
        return next((e.at_s for e in self._events if e.sign == "+" and e.at_s > since_s), None)

    def vanished(self, since_s: float) -> float | None:
        """When the last one had gone; None while one is there, or none has gone since."""
        there: set[str] = set()
        for event in tuple(self._events):
            (there.add if event.sign == "+" else there.discard)(event.key)
        gone = [event.at_s for event in self._events if event.sign == "-"]
        return gone[-1] if gone and gone[-1] > since_s and not there else None

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


def cycle(printers: Printers, clients: Clients, running: Running, browse: Browse) -> Figures:
    """Unplug and plug once; seconds for each."""
    until(lambda: browse.appeared(0), "the first advertisement", LIMIT_S)
    time.sleep(SETTLE_S)
    unplugged = time.monotonic()
    printers.ask("unplug")
    gone = until(lambda: browse.vanished(unplugged), "the withdrawal", LIMIT_S)
    time.sleep(SETTLE_S)
    plugged = time.monotonic()
    first = subprocess.Popen(clients.first_command(running.port), stdout=subprocess.PIPE)
    printers.ask("plug")
    seen = until(lambda: browse.appeared(plugged), "the advertisement", LIMIT_S)
    return {
        "withdrawn_s": gone - unplugged,
        "advertised_s": seen - plugged,
        "answered_s": _answered(first) - plugged,
    }


def _answered(first: subprocess.Popen[bytes]) -> float:
    said, _ = first.communicate(timeout=LIMIT_S)
    if first.returncode:
        raise Failed("no answer 200 after the plug")
    return float(json.loads(said)["at_s"])
