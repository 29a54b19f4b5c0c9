"""How many transfers the kernel sees, and that none is cancelled where none has to be."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from documents import arrived, jpeg, must_be
from lab import Daemon, Printers, forget_state, stopping
from programs import run, until
from report import Failed, Group
from usbmon import Seen, Usbmon

from ippusbd.wire.ipp_requests import get_printer_attributes

UNLINKED = (-errno.ENOENT, -errno.ECONNRESET)
SMALL = 20
BIG = 10_000_000
SCAN = """<?xml version="1.0"?><scan:ScanSettings xmlns:pwg="http://www.pwg.org/schemas/2010/12/sm"
xmlns:scan="http://schemas.hp.com/imaging/escl/2011/05/03"><scan:XResolution>75</scan:XResolution>
<scan:YResolution>75</scan:YResolution><pwg:InputSource>Platen</pwg:InputSource>
</scan:ScanSettings>"""


@dataclass
class Counted:
    """A printer that is served, and its transfers."""

    daemon: Daemon
    printers: Printers
    usbmon: Usbmon
    row: dict[str, Any]

    @property
    def port(self) -> int:
        return int(self.row["port"])

    def taken(self) -> Counter[str]:
        """Bulk IN transfers since the last call, when nothing moves any more."""
        return Counter(_what(seen) for seen in self.usbmon.taken() if seen.into)

    def released(self) -> None:
        until(lambda: self._counts()["released"] == self._counts()["total"], "their release")

    def _counts(self) -> dict[str, int]:
        return dict(self.daemon.printers()[0]["interfaces"])

    def ask(self, connection: HTTPConnection) -> None:
        body = get_printer_attributes(f"ipp://localhost:{self.port}/ipp/print", ("all",))
        headers = {"Content-Type": "application/ipp", "Host": "localhost"}
        connection.request("POST", "/ipp/print", body, headers)
        if not connection.getresponse().read().startswith(b"\2\0\0\0"):
            raise Failed("Get-Printer-Attributes failed")

    def get(self, path: str) -> None:
        run("curl", "-sSf", "-o/dev/null", f"http://localhost:{self.port}{path}")


def _what(seen: Seen) -> str:
    if seen.begins:
        return "submitted"
    return "cancelled" if seen.status in UNLINKED else "completed"


def serving(*options: object) -> Callable[[], AbstractContextManager[Counted]]:
    return lambda: _serving(*options)


@contextmanager
def _serving(*options: object) -> Iterator[Counted]:
    forget_state()
    with Usbmon() as usbmon:
        printers = Printers(*options)
        with stopping(printers):
            daemon = Daemon()
            with stopping(daemon):
                row = daemon.ready()[0]
                yield Counted(daemon, printers, usbmon, row)


GROUP = Group("transfers", serving())
IGNORES = Group("a printer that ignores cancels", serving("--personality", "ignores-cancel"))
GROUPS = (GROUP, IGNORES)


def told(counts: Counter[str], each: int = 1) -> str:
    names = ("submitted", "completed", "cancelled")
    return ", ".join(f"{counts[name] / each:g} {name}" for name in names)


def at_most(counts: Counter[str], cancelled: int, each: int = 1) -> str:
    if counts["cancelled"] > cancelled or not counts["completed"]:
        raise Failed(f"{told(counts, each)}; at most {cancelled} cancelled")
    return told(counts, each)


@GROUP.check("a start cancels at most the drain's transfer of each interface")
def start(counted: Counted) -> str:
    counted.released()
    return at_most(counted.taken(), int(counted.row["interfaces"]["total"]))


@GROUP.check("a claim for one question, and the release, cancel no transfer")
def claim(counted: Counted) -> str:
    connection = HTTPConnection("localhost", counted.port)
    counted.ask(connection)
    counted.released()
    return at_most(counted.taken(), 0)


@GROUP.check("small answers over one connection cancel no transfer")
def small(counted: Counted) -> str:
    connection = HTTPConnection("localhost", counted.port)
    counted.ask(connection)
    counted.taken()
    for _ in range(SMALL):
        counted.ask(connection)
    return at_most(counted.taken(), 0, SMALL) + " each"


@GROUP.check("a print cancels no transfer")
def printed(counted: Counted) -> str:
    prints(counted)
    return at_most(counted.taken(), 0)


def prints(counted: Counted) -> None:
    before = len(counted.printers.documents())
    run("ipptool", "-tf", jpeg(), f"ipp://localhost:{counted.port}/ipp/print", "print-job.test")
    must_be(arrived(counted.printers.documents, before), jpeg())


@GROUP.check("a large answer with a length cancels no transfer")
def large(counted: Counted) -> str:
    counted.get(f"/big?bytes={BIG}")
    return at_most(counted.taken(), 0)


@GROUP.check("a large answer in chunks cancels only transfers that go beyond its end")
def chunked(counted: Counted) -> str:
    counted.get(f"/big?bytes={BIG}&chunked=1")
    return at_most(counted.taken(), 3)


@GROUP.check("the status counts the transfers that the kernel cancels")
def counts(counted: Counted) -> str:
    connection = HTTPConnection("localhost", counted.port)
    counted.released()
    before = counted.daemon.printers()[0]["transfers"]
    counted.taken()
    counted.get(f"/big?bytes={BIG}&chunked=1")
    counted.ask(connection)
    counted.released()
    kernel, after = counted.taken(), counted.daemon.printers()[0]["transfers"]
    if after["cancelled"] - before["cancelled"] != kernel["cancelled"]:
        raise Failed(f"{before} and then {after}; the kernel: {told(kernel)}")
    return f"{kernel['cancelled']} cancelled"


@IGNORES.check("small answers, a print and a scan work though it ignores cancels")
def ignores(counted: Counted) -> None:
    connection = HTTPConnection("localhost", counted.port)
    for _ in range(SMALL):
        counted.ask(connection)
    prints(counted)
    counted.get(f"/big?bytes={BIG}")
    connection.request("POST", "/eSCL/ScanJobs", SCAN, {"Content-Type": "text/xml"})
    answer = connection.getresponse()
    answer.read()
    path = "/eSCL" + str(answer.getheader("Location")).partition("/eSCL")[2]
    connection.request("GET", f"{path}/NextDocument")
    page = connection.getresponse().read()
    if not page.startswith(b"\xff\xd8") or not page.endswith(b"\xff\xd9"):
        raise Failed(f"a page of {len(page)} bytes: {page[:60]!r}")
