"""From the plug to a service that clients find: udev, permissions, kernel drivers, HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import Daemon, Printers, forget_state, stopping
from programs import run, until
from report import Failed, Group

SYSFS = Path("/sys/bus/usb/devices")
VENDOR, PRODUCT = "1209", "0001"


@dataclass
class Plugged:
    """A running daemon, and a printer with a card reader plugged in then."""

    daemon: Daemon
    printers: Printers
    status: dict[str, Any]
    served_s: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.status['port']}"


@contextmanager
def plugged() -> Iterator[Plugged]:
    forget_state()
    daemon = Daemon()
    with stopping(daemon):
        start = time.monotonic()
        printers = Printers("--vendor-interface")
        with stopping(printers):
            (status,) = daemon.ready()
            yield Plugged(daemon, printers, status, time.monotonic() - start)


def device_folder() -> Path:
    """The printer in sysfs."""
    for product in SYSFS.glob("*/idProduct"):
        vendor = product.with_name("idVendor")
        if vendor.read_text().strip() == VENDOR and product.read_text().strip() == PRODUCT:
            return product.parent
    raise Failed("no printer on the bus")


def driver_of(interface: int) -> str:
    """The kernel driver bound to an interface, "" if none is, "usbfs" if a program has it."""
    device = device_folder()
    link = device / f"{device.name}:1.{interface}" / "driver"
    return link.resolve().name if link.exists() else ""


def node_of(folder: Path) -> Path:
    bus, number = ((folder / name).read_text().strip() for name in ("busnum", "devnum"))
    return Path(f"/dev/bus/usb/{int(bus):03}/{int(number):03}")


GROUP = Group("a printer is plugged in", plugged)


@GROUP.check("the daemon hears of it from udev, probes, serves and announces it")
def hotplug(lab: Plugged) -> str:
    if lab.status["id"] != f"{VENDOR}:{PRODUCT}" or lab.status["interfaces"]["total"] != 3:
        raise Failed(f"unexpected status: {lab.status}")
    return f"{lab.served_s:.2f} s, the start of the virtual printer's process included"


@GROUP.check("it runs as its own user, without capabilities, by the udev rule's permission")
def rights(lab: Plugged) -> str:
    node = node_of(device_folder())
    if (node.group(), node.stat().st_mode & 0o777) != ("lp", 0o660):
        raise Failed(f"{node}: group {node.group()}, mode {node.stat().st_mode:o}")
    process = Path(f"/proc/{lab.daemon.service.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in process.splitlines() if ":\t" in line)
    if fields["Uid"].startswith("0") or int(fields["CapEff"], 16) or int(fields["CapBnd"], 16):
        raise Failed(process)
    return f"{node} is root:lp 0660"


@GROUP.check("the card reader of the same device keeps its driver")
def vendor_interface(lab: Plugged) -> None:
    run("curl", "-sSf", "-o/dev/null", f"{lab.url}/")
    drivers = [driver_of(number) for number in range(4)]
    if drivers[3] != "usb-storage" or "usbfs" not in drivers[:3]:
        raise Failed(f"drivers of the interfaces: {drivers}")


@GROUP.check("it is served on IPv4 and IPv6, and on no other address")
def addresses(lab: Plugged) -> str:
    port = lab.status["port"]
    for host in ("127.0.0.1", "[::1]", "localhost"):
        page = run("curl", "-sSf", f"http://{host}:{port}/")
        if "VirtualJet" not in page:
            raise Failed(f"{host}: {page[:200]}")
    listening = run("ss", "-Hltn", f"sport = :{port}").split("\n")
    local = sorted(line.split()[3] for line in listening if line)
    if local != [f"127.0.0.1:{port}", f"[::1]:{port}"]:
        raise Failed(f"listens on {local}")
    return ", ".join(local)


@GROUP.check("answers of megabytes arrive whole, with a length and chunked")
def big_answers(lab: Plugged) -> str:
    sums = []
    for query in ("bytes=20000000", "bytes=20000000&chunked=1", "bytes=19999744"):
        path = Path("/run/big")
        run("curl", "-sSf", "-o", path, f"{lab.url}/big?{query}")
        sums.append(run("sha256sum", path).split()[0])
        path.unlink()
    expected = _pseudo_random_sha256(20_000_000), _pseudo_random_sha256(19_999_744)
    if sums != [expected[0], expected[0], expected[1]]:
        raise Failed(f"{sums} instead of {expected}")
    return "60 MB, same sha256, one of a multiple of 512 bytes"


def _pseudo_random_sha256(size: int) -> str:
    from ippusbd.virtual.services.console import pseudo_random_sha256

    return pseudo_random_sha256(size)


@GROUP.check("while nobody uses the printer, usblp has its interfaces, until the next request")
def idle(lab: Plugged) -> str:
    until(lambda: [driver_of(n) for n in range(3)] == ["usblp"] * 3, "usblp on all interfaces")
    start = time.monotonic()
    run("curl", "-sSf", "-o/dev/null", f"{lab.url}/")
    took = time.monotonic() - start
    if "usbfs" not in [driver_of(n) for n in range(3)]:
        raise Failed("a request was served, but no interface is ours")
    return f"the request that claimed them again took {took:.2f} s, curl's start included"


@GROUP.check("when the daemon ends, usblp has its interfaces back and prints")
def legacy_driver(lab: Plugged) -> str:
    lab.daemon.stop()
    until(lambda: [driver_of(n) for n in range(4)] == [*["usblp"] * 3, "usb-storage"], "drivers")
    node = until(lambda: next(iter(sorted(Path("/dev/usb").glob("lp*"))), None), "/dev/usb/lp*")
    node.write_bytes(b"raw job\f" * 1000)
    raw = until(lambda: lab.printers.ask("documents")["raw"], "a raw document")
    if raw[0]["size"] != 8000:
        raise Failed(f"arrived as {raw}")
    return f"8000 bytes through {node}"


@GROUP.check("the next daemon takes the interfaces again, with the same port and name")
def started_again(lab: Plugged) -> None:
    lab.daemon.stop()
    daemon = Daemon()
    with stopping(daemon):
        (status,) = daemon.ready()
        run("curl", "-sSf", "-o/dev/null", f"{lab.url}/")
    if (status["port"], status["name"]) != (lab.status["port"], lab.status["name"]):
        raise Failed(f"{status} after {lab.status}")
