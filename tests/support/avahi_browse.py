"""What avahi-browse sees, as values; and waiting until it sees what a test expects."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from support.debian import require
from support.desktop import Desktop

WAIT_S = 20.0
ITEM = re.compile(r'"((?:[^"\\]|\\.)*)"')
ESCAPE = re.compile(rb"\\(\d{3}|.)", re.DOTALL)


@dataclass(frozen=True)
class Found:
    """A resolved service instance; TXT items in no order, Avahi turns them about."""

    name: str
    type: str
    host: str
    address: str
    port: int
    txt: frozenset[str]


def plain(text: str) -> str:
    """Without Avahi's escapes: \\DDD is a byte in decimal, \\X is X."""

    def byte(match: re.Match[bytes]) -> bytes:
        return bytes([int(match[1])]) if len(match[1]) == 3 else match[1]

    return ESCAPE.sub(byte, text.encode()).decode()


class Browse:
    """A running `avahi-browse --resolve --parsable TYPE`; stop it with `stop`."""

    def __init__(self, desktop: Desktop, type_: str) -> None:
        require("avahi-browse")
        self._desktop = desktop
        self._output = desktop.folder / f"browse-{type_}-{time.monotonic_ns()}"
        with self._output.open("w") as file:
            self._process = desktop.popen(
                [
                    "stdbuf",
                    "-oL",
                    "avahi-browse",
                    "--resolve",
                    "--parsable",
                    "--no-db-lookup",
                    type_,
                ],
                stdout=file,
            )

    @property
    def found(self) -> set[Found]:
        """What is there now: resolved and not yet removed."""
        there: dict[tuple[str, ...], Found] = {}
        for line in _whole_lines(self._output):
            event, interface, protocol, name, type_, domain, *more = line.split(";", 9)
            key = (interface, protocol, name, type_, domain)
            if event == "=":
                host, address, port, txt = more
                items = frozenset(plain(item) for item in ITEM.findall(txt))
                found = Found(plain(name), type_, host, address, int(port), items)
                there[key] = found
            elif event == "-":
                there.pop(key, None)
        return set(there.values())

    @property
    def names(self) -> list[str]:
        """The instances that are there now."""
        return sorted(each.name for each in self.found)

    def stop(self) -> None:
        """End the program."""
        self._desktop.stop(self._process)


def _whole_lines(path: Path) -> list[str]:
    return path.read_text().split("\n")[:-1]
