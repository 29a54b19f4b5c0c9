"""The daemon is killed, or finds a printer with an unfinished exchange."""

from __future__ import annotations

import subprocess
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import usb.core
import usb.util
from browse import Browser
from checks_plug import driver_of
from documents import jpeg, must_be
from lab import Daemon, Printers, forget_state, stopping
from programs import run, until
from report import Failed, Group


@dataclass
class Crashing:
    """One printer that stays plugged in, and daemons that start and end."""

    printers: Printers
    browser: Browser
    status: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def daemon(self) -> Iterator[Daemon]:
        daemon = Daemon()
        with stopping(daemon):
            (row,) = daemon.ready()
            self.status = self.status or row
            for key in ("port", "name"):
                if row[key] != self.status[key]:
                    raise Failed(f"{key} was {self.status[key]}, is {row[key]}")
            yield daemon

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.status['port']}"

    def must_serve(self) -> str:
        """The next client gets its own answer, and prints."""
        page = run("curl", "-sSf", f"{self.url}/")
        if not page.startswith("<!DOCTYPE html>"):
            raise Failed(f"not the page that was asked for: {page[:200]!r}")
        before = len(self.printers.documents())
        uri = f"ipp://localhost:{self.status['port']}/ipp/print"
        run("ipptool", "-tf", jpeg(), uri, "print-job.test")
        documents = lambda: [d for d in self.printers.documents() if d["completed"]]  # noqa: E731
        return must_be(until(lambda: documents()[-1:], f"document {before + 1}")[0], jpeg())


@contextmanager
def crashing() -> Iterator[Crashing]:
    forget_state()
    printers = Printers()
    with stopping(printers), Browser() as browser:
        yield Crashing(printers, browser)


GROUP = Group("killed, and started again", crashing)


@GROUP.check("kill -9 in the middle of a job: printer usable, port and name kept, nothing stale")
def killed_in_a_job(lab: Crashing) -> str:
    with lab.daemon() as daemon:
        upload = subprocess.Popen(
            ["curl", "-sS", "-o/dev/null", "-T", "/dev/zero", f"{lab.url}/sink"],
            stderr=subprocess.DEVNULL,
        )
        received = lab.printers.ask("stats")["bytes_in"]
        until(lambda: lab.printers.ask("stats")["bytes_in"] > received + 500_000, "an upload")
        start = time.monotonic()
        daemon.kill()
        gone = lab.browser.until(lambda names: not names, "no name") - start
        upload.wait(30)
    with lab.daemon():
        lab.browser.until(lambda names: names == [lab.status["name"]], "the same name")
        said = lab.must_serve()
    return f"withdrawn after {gone:.2f} s; {said}"


@GROUP.check("kill -9 in the middle of an answer: the first client of the next gets its own")
def killed_in_an_answer(lab: Crashing) -> str:
    with lab.daemon() as daemon:
        command = ["curl", "-sS", "-o/dev/null", f"{lab.url}/big?bytes=900000000"]
        download = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        sent = lab.printers.ask("stats")["bytes_out"]
        until(lambda: lab.printers.ask("stats")["bytes_out"] > sent + 500_000, "a download")
        daemon.kill()
        download.wait(30)
    with lab.daemon():
        return lab.must_serve()


def _stale(size: int, sentence: str) -> None:
    @GROUP.check(f"{sentence} nobody fetched are thrown away at the start")
    def check(lab: Crashing) -> str:
        for interface in range(3):
            _ask_and_leave(interface, size)
        with lab.daemon():
            return lab.must_serve()


def _ask_and_leave(interface: int, size: int) -> None:
    """Another program that requests this much on one interface and leaves without reading."""
    device = usb.core.find(idVendor=0x1209)
    assert device is not None
    if driver_of(interface) == "usblp":
        device.detach_kernel_driver(interface)
    usb.util.claim_interface(device, interface)
    device.set_interface_altsetting(interface, 1)
    question = f"GET /big?bytes={size} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    device.write(1 + interface, array("B", question), 10_000)
    usb.util.dispose_resources(device)


_stale(50, "200 bytes that")
_stale(100_000, "100 KB that")


@GROUP.check("a printer left without a driver is found and served")
def no_driver(lab: Crashing) -> str:
    device = usb.core.find(idVendor=0x1209)
    assert device is not None
    for interface in range(3):
        if driver_of(interface) == "usblp":
            device.detach_kernel_driver(interface)
    usb.util.dispose_resources(device)
    with lab.daemon():
        return lab.must_serve()
