"""One interface to four, twins without serial numbers, eight printers at once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from browse import Browser
from documents import arrived, jpeg, must_be
from lab import Daemon, Printers, forget_state, stopping
from programs import run
from report import Failed, Group

Row = dict[str, Any]


@dataclass
class Many:
    """Printers of one kind, all served."""

    daemon: Daemon
    printers: Printers
    rows: list[Row]


def many(count: int, *options: object) -> Callable[[], AbstractContextManager[Many]]:
    """The context of `count` printers."""

    @contextmanager
    def context() -> Iterator[Many]:
        forget_state()
        printers = Printers("--printers", count, *options)
        with stopping(printers):
            daemon = Daemon()
            with stopping(daemon):
                yield Many(daemon, printers, daemon.ready(count))

    return context


def send(row: Row) -> None:
    """Print the photo without CUPS: one request."""
    uri = f"ipp://localhost:{row['port']}/ipp/print"
    run("ipptool", "-tf", jpeg(), uri, "print-job.test")


def in_parallel(urls: list[str]) -> list[str]:
    """Sizes in bytes of the answers to GET requests made at the same time."""
    command = ["curl", "-sSf", "-o/dev/null", "-w", "%{size_download}"]
    running = [subprocess.Popen([*command, url], stdout=subprocess.PIPE, text=True) for url in urls]
    return [one.communicate(timeout=120)[0] for one in running]


# --- how many interfaces


@contextmanager
def waiting_daemon() -> Iterator[Daemon]:
    """A daemon whose printers are plugged and unplugged."""
    forget_state()
    daemon = Daemon()
    with stopping(daemon):
        yield daemon


INTERFACES = Group("printers with one interface and more", waiting_daemon)


def _interfaces(count: int) -> None:
    @INTERFACES.check(
        f"{count} of {count} interfaces serve twelve requests at once, and a document"
    )
    def serves(daemon: Daemon) -> str:
        printers = Printers("--interfaces", count)
        with stopping(printers):
            (row,) = daemon.ready()
            if row["interfaces"]["total"] != count or row["interfaces"]["broken"]:
                raise Failed(f"unexpected status: {row}")
            sizes = in_parallel([f"http://localhost:{row['port']}/big?bytes=200000"] * 12)
            if sizes != ["200000"] * 12:
                raise Failed(f"sizes of the answers: {sizes}")
            send(row)
            said = must_be(arrived(printers.documents, 0), jpeg())
        daemon.none_left()
        return said


for _count in (1, 2, 3, 4):
    _interfaces(_count)


# --- twins

TWINS = Group("two identical printers without serial numbers", many(2, "--no-serial"))


@TWINS.check("each has a port and a name of its own, and both are announced")
def apart(lab: Many) -> str:
    if len({row["port"] for row in lab.rows}) != 2 or len({row["name"] for row in lab.rows}) != 2:
        raise Failed(f"not apart: {lab.rows}")
    with Browser() as browser:
        browser.until(lambda names: names == sorted(r["name"] for r in lab.rows), "both names")
    return ", ".join(f"{row['name']} on {row['port']}" for row in lab.rows)


@TWINS.check("a document sent to one is printed by one, and by the same one again")
def right_one(lab: Many) -> None:
    for row in (*lab.rows, *lab.rows):
        before = _counts(lab)
        send(row)
        after = _counts(lab)
        if sorted(b - a for a, b in zip(before, after, strict=True)) != [0, 1]:
            raise Failed(f"{before} documents became {after}")
    if _counts(lab) != [2, 2]:
        raise Failed(f"documents by printer: {_counts(lab)}")


def _counts(lab: Many) -> list[int]:
    return [len(lab.printers.documents(printer=number)) for number in (1, 2)]


@TWINS.check("a restart of the daemon changes neither ports nor names")
def kept(lab: Many) -> None:
    lab.daemon.stop()
    daemon = Daemon()
    with stopping(daemon):
        rows = daemon.ready(2)
    if _identities(rows) != _identities(lab.rows):
        raise Failed(f"{_identities(rows)} after {_identities(lab.rows)}")


def _identities(rows: list[Row]) -> list[tuple[str, int, str]]:
    return sorted((row["address"], row["port"], row["name"]) for row in rows)


# --- eight

EIGHT = Group("eight printers at once", many(8))


@EIGHT.check("all are served and announced, each under its own name")
def all_served(lab: Many) -> str:
    ports = {row["port"] for row in lab.rows}
    with Browser() as browser:
        browser.until(lambda names: len(names) == 8, "eight names")
    if len(ports) != 8:
        raise Failed(f"ports: {ports}")
    return f"ports {min(ports)} to {max(ports)}"


@EIGHT.check("all answer at the same time")
def at_once(lab: Many) -> None:
    urls = [f"http://localhost:{row['port']}/big?bytes=100000" for row in lab.rows] * 2
    if (sizes := in_parallel(urls)) != ["100000"] * 16:
        raise Failed(f"sizes of the answers: {sizes}")


GROUPS = [INTERFACES, TWINS, EIGHT]
