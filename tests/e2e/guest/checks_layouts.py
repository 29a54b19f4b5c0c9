"""USB layouts of real devices on the real kernel: each is served, prints and scans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from documents import arrived, jpeg, must_be
from lab import Daemon, Printers, forget_state, stopping
from PIL import Image
from programs import run
from report import Failed, Group

USABLE = {  # interfaces that speak IPP over USB
    "canon-mf745c": 2,
    "canon-selphy-cp1200": 2,
    "epson-et2826": 4,
    "hp-vendor-class": 2,
    "setting-0-only": 2,
    "one-interface": 1,
    "no-serial": 3,
    "no-strings": 3,
}


@contextmanager
def waiting() -> Iterator[Daemon]:
    """A daemon, and nothing plugged in."""
    forget_state()
    daemon = Daemon()
    with stopping(daemon):
        yield daemon


GROUP = Group("USB layouts of real devices", waiting)


def _check(name: str, usable: int) -> Callable[[Daemon], str]:
    def check(daemon: Daemon) -> str:
        printers = Printers("--layout", name)
        with stopping(printers):
            (status,) = daemon.ready()
            found = status["interfaces"]
            if (found["total"], found["broken"]) != (usable, 0):
                raise Failed(f"interfaces {found}, not {usable}")
            result = _prints(printers, int(status["port"])) + ", " + _scans(int(status["port"]))
        daemon.none_left()
        return result

    return check


def _prints(printers: Printers, port: int) -> str:
    run("lpadmin", "-p", "layout", "-E", "-v", f"ipp://localhost:{port}/ipp/print", "-m", "raw")
    before = len(printers.documents())
    run("lp", "-d", "layout", jpeg())
    return must_be(arrived(printers.documents, before), jpeg())


def _scans(port: int) -> str:
    page = Path("/run/layout.png")
    device = f"airscan:escl:layout:http://127.0.0.1:{port}/eSCL/"
    run(
        *("scanimage", "-d", device, "--resolution", "75", "--format=png", "-o", page),
        limit_s=240,
    )
    with Image.open(page) as picture:
        picture.load()
        return f"a page of {picture.width} x {picture.height}"


for layout, count in USABLE.items():
    GROUP.check(f"{layout}: {count} interfaces serve, a photo is printed, a page is scanned")(
        _check(layout, count)
    )
