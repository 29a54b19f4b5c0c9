"""Services as Avahi's clients see them, with the time of each event."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from types import TracebackType

from programs import until


class Browser:
    """`avahi-browse` on one type, running; `names` is what is announced now."""

    def __init__(self, kind: str = "_ipp._tcp") -> None:
        command = ["stdbuf", "-oL", "avahi-browse", "-pk", kind]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._lock = threading.Lock()
        self._seen: dict[str, set[str]] = {}  # name -> interface and protocol
        self.changed_at = time.monotonic()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event, interface, protocol, name = line.rstrip("\n").split(";")[:4]
            with self._lock:
                places = self._seen.setdefault(_plain(name), set())
                (places.add if event == "+" else places.discard)(f"{interface} {protocol}")
                self.changed_at = time.monotonic()

    @property
    def names(self) -> list[str]:
        with self._lock:
            return sorted(name for name, places in self._seen.items() if places)

    def until(
        self, condition: Callable[[list[str]], bool], what: str, limit_s: float = 60
    ) -> float:
        """Waits for names that satisfy `condition`; when the last change to them was."""
        until(lambda: condition(self.names), f"{what}, announced: {self.names}", limit_s)
        return self.changed_at


def _plain(name: str) -> str:
    r"""avahi-browse -p writes a blank as \032, three decimal digits."""
    parts = name.split("\\")
    return parts[0] + "".join(
        chr(int(part[:3])) + part[3:] if part[:3].isdecimal() else part for part in parts[1:]
    )
