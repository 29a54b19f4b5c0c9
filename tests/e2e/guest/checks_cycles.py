"""Unplugged and plugged in again, at every stage of a session.

The stages are those of the daemon: just plugged in, being opened and probed,
served, in the middle of an answer, in the middle of a document, and away.
"""

from __future__ import annotations

import random
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from browse import Browser
from documents import arrived, jpeg, must_be
from lab import Daemon, Printers, forget_state, stopping
from programs import run, until
from report import Failed, Group

WITHDRAWN_S = 1.0
CYCLES = 20


@dataclass
class Cycled:
    """One printer that we plug and unplug, and a browser that watches the network."""

    daemon: Daemon
    printers: Printers
    browser: Browser
    status: dict[str, Any]
    first_s: float = 0.0  # from the first plug-in to the announcement

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.status['port']}"

    def plugged(self) -> None:
        """After any earlier check: it is plugged in, served and announced."""
        self.printers.ask("plug")
        self.must_be_same()

    def plug(self) -> float:
        """Plug in and wait until it is announced; the seconds this took."""
        start = time.monotonic()
        self.printers.ask("plug")
        return self.browser.until(bool, "the printer's name") - start

    def unplug(self) -> float:
        """Unplug and wait until nothing is announced; the seconds this took."""
        start = time.monotonic()
        self.printers.ask("unplug")
        return self.browser.until(lambda names: not names, "no name") - start

    def must_be_same(self) -> None:
        """Served as in the beginning."""
        (row,) = self.daemon.ready()
        for key in ("port", "name", "id", "serial"):
            if row[key] != self.status[key]:
                raise Failed(f"{key} was {self.status[key]}, is {row[key]}")
        if self.browser.names != [self.status["name"]]:
            raise Failed(f"announced: {self.browser.names}")


@contextmanager
def cycled() -> Iterator[Cycled]:
    forget_state()
    daemon, printers = Daemon(), Printers()
    with stopping(daemon, printers), Browser() as browser:
        lab = Cycled(daemon, printers, browser, daemon.ready()[0])
        lab.unplug()
        lab.first_s = lab.plug()
        yield lab


GROUP = Group("unplugged and plugged in again", cycled)


@GROUP.check(f"an unplug withdraws the services within {WITHDRAWN_S:.0f} s")
def withdrawn(lab: Cycled) -> str:
    """Avahi keeps a service for a second after its goodbye, as RFC 6762 (10.1) says."""
    avahi_s = _goodbye_of_avahi()
    took = []
    for _ in range(3):
        took.append(lab.unplug() - avahi_s)
        lab.plug()
    if min(took) > WITHDRAWN_S:
        raise Failed(f"took {took}, and Avahi's own {avahi_s:.2f} s")
    return f"{', '.join(f'{one:.2f} s' for one in took)}, and Avahi's own {avahi_s:.2f} s"


def _goodbye_of_avahi() -> float:
    """From the end of a program that announced something to the moment browsers know."""
    with Browser("_e2e._tcp") as browser:
        publisher = subprocess.Popen(
            ["avahi-publish", "-s", "goodbye", "_e2e._tcp", "9"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        browser.until(bool, "a name")
        start = time.monotonic()
        publisher.kill()
        publisher.wait()
        return browser.until(lambda names: not names, "no name") - start


@GROUP.check("while it is away its port answers 503 and says when to try again")
def away(lab: Cycled) -> None:
    lab.plugged()
    lab.unplug()
    said = run("curl", "-si", f"{lab.url}/ipp/print")
    if " 503 " not in said.splitlines()[0] or "retry-after:" not in said.lower():
        raise Failed(said)
    lab.plug()


@GROUP.check("it comes back as fast as it came first, with the same port and name")
def comes_back(lab: Cycled) -> str:
    lab.plugged()
    took = []
    for _ in range(3):
        lab.unplug()
        took.append(lab.plug())
        lab.must_be_same()
    if min(took) > 2 * lab.first_s + 1:
        raise Failed(f"{took} s after {lab.first_s:.2f} s at first")
    return f"{', '.join(f'{one:.2f} s' for one in took)}; at first {lab.first_s:.2f} s"


@GROUP.check(f"{CYCLES} quick cycles, unplugged at random moments, leave nothing behind")
def quick_cycles(lab: Cycled) -> str:
    chance = random.Random(20)
    lab.plugged()
    before = _open_files(lab)
    for _ in range(CYCLES):
        lab.printers.ask("unplug")
        time.sleep(chance.uniform(0, 0.3))
        lab.printers.ask("plug")
        time.sleep(chance.uniform(0, 2.0))
    lab.must_be_same()
    _must_be_no_more_files(lab, before)
    lab.unplug()
    lab.plug()
    return _serves(lab)


def _during(sentence: str, *curl: object, path: str, traffic: str) -> None:
    @GROUP.check(f"unplugged {sentence}, and served again when it is back")
    def check(lab: Cycled) -> str:
        lab.plugged()
        before = _open_files(lab)
        for _ in range(3):
            moved = lab.printers.ask("stats")[traffic] + 500_000
            client = subprocess.Popen(
                ["curl", "-sSf", "-o/dev/null", *map(str, curl), f"{lab.url}{path}"],
                stderr=subprocess.DEVNULL,
            )
            until(lambda least=moved: lab.printers.ask("stats")[traffic] > least, "traffic")
            lab.unplug()
            if client.wait(30) == 0:
                raise Failed("the client was told that all is well")
            lab.plug()
        lab.must_be_same()
        _must_be_no_more_files(lab, before)
        return _serves(lab)


_during("in the middle of an answer", path="/big?bytes=900000000", traffic="bytes_out")
_during("in the middle of an upload", "-T", "/dev/zero", path="/sink", traffic="bytes_in")


def _serves(lab: Cycled) -> str:
    before = len(lab.printers.documents())
    uri = f"ipp://localhost:{lab.status['port']}/ipp/print"
    run("ipptool", "-tf", jpeg(), uri, "print-job.test")
    return must_be(arrived(lab.printers.documents, before), jpeg())


def _open_files(lab: Cycled) -> Counter[str]:
    """The daemon's open files, without the numbers of the sockets."""
    files: Counter[str] = Counter()
    for entry in Path(f"/proc/{lab.daemon.service.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            files[re.sub(r"\d+", "N", str(entry.readlink()))] += 1
    return files


def _must_be_no_more_files(lab: Cycled, before: Counter[str]) -> None:
    """Connections of clients that have just left take a moment to be closed."""
    try:
        until(lambda: not _open_files(lab) - before, "no more open files than before", 20)
    except Failed as exc:
        left = dict(_open_files(lab) - before)
        pid = f"pid={lab.daemon.service.pid},"
        sockets = [line for line in run("ss", "-Hanp").splitlines() if pid in line]
        raise Failed("\n".join([f"left open: {left}; its sockets now:", *sockets])) from exc
