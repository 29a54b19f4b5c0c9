"""The guest as its administrator sees it: the program, the daemon's status, a printer.

Only the virtual printer is started here; the init system and udev start the rest,
which is what the checks test.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from inits import SERVICE, SYSTEMD
from programs import Service, run, tail, until
from report import Failed

E2E = Path("/e2e")
KIND = (E2E / "kind").read_text()  # what is tested: package, container, or setup under an init
LIB = {
    "package": Path("/usr/lib/ippusbd"),
    "container": Path("/run/unpacked/usr/lib/ippusbd"),  # for the virtual printer alone
}.get(KIND, Path("/usr/local/lib/ippusbd"))
PRINTER_SOCKET = Path("/run/virtual.sock")
CONTROL = Path("/run/ippusbd/control.sock")
CONFIG = Path("/etc/ippusbd/ippusbd.conf")
BROKER_SOCKET = "ippusbd-broker.socket"
BROKER_SERVICE = "ippusbd-broker.service"
VID_PID = "1209_0001"

# Two programs only beside a container: the host has nothing of ours.
IPPUSBD = VIRTUAL = ("ippusbd",)
if KIND == "container":
    IPPUSBD = ("podman", "exec", "ippusbd", "ippusbd")
    VIRTUAL = ("env", f"PYTHONPATH={LIB}:{LIB}/vendor", "python3", "-m", "ippusbd")

os.environ["DEBIAN_FRONTEND"] = "noninteractive"
# What a shell of root's has, and a child of runit or sysvinit not.
os.environ["HOME"] = "/root"
os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def use_installed() -> None:
    """Import the installed control clients; they were not there when this process started."""
    sys.path[:0] = [str(LIB), str(LIB / "vendor")]
    importlib.invalidate_caches()
    sys.path_importer_cache.clear()


def status() -> list[dict[str, Any]]:
    """The printers in `ippusbd status --json`; none while no daemon runs."""
    if KIND == "container":
        said = run(*IPPUSBD, "status", "--json", check=False)
        return list(json.loads(said)["printers"]) if said else []
    from ippusbd.daemon.observe.control_client import ask
    from ippusbd.errors import IppUsbError

    try:
        answer = ask(CONTROL, "status", timeout_s=30)
    except IppUsbError:
        return []
    assert isinstance(answer, dict)
    return list(answer["printers"])


def served() -> dict[str, Any]:
    """The only printer, as soon as it is served and announced."""

    def ready() -> dict[str, Any] | None:
        rows = [one for one in status() if one["state"] == "ready"]
        return rows[0] if rows and rows[0]["announced"] == "established" else None

    return until(ready, "a printer served and announced", 60)


def tell(command: str, **arguments: object) -> dict[str, Any]:
    """One question to the virtual printer."""
    from ippusbd.virtual.control import ask

    return ask(PRINTER_SOCKET, command, timeout_s=60, **arguments)


def documents() -> list[dict[str, Any]]:
    return list(tell("documents")["documents"])


def start_printer() -> Service:
    """The virtual printer's process; its printer is on this kernel's bus when it returns."""
    run("modprobe", "vhci_hcd")
    PRINTER_SOCKET.unlink(missing_ok=True)
    command = (*VIRTUAL, "virtual", "--attach", "--control", PRINTER_SOCKET)
    service = Service("virtual", command, E2E / "virtual.log")
    until(lambda: service.must_run() and PRINTER_SOCKET.exists(), "the virtual printer")
    until(lambda: service.must_run() and on_the_bus(), "the virtual printer on the bus")
    return service


def on_the_bus() -> bool:
    """ipp-usb, for one, ends at once if it is started a moment before."""
    found = Path("/sys/bus/usb/devices").glob("*/idVendor")
    return VID_PID[:4] in {file.read_text().strip() for file in found}


@contextmanager
def printer() -> Iterator[None]:
    """A virtual printer that is plugged in, until the end of the block."""
    service = start_printer()
    try:
        yield
    finally:
        service.stop()


def label_of(pid: int) -> str:
    """What AppArmor confines a process with."""
    return Path(f"/proc/{pid}/attr/apparmor/current").read_text().strip("\0\n")


def denials() -> list[str]:
    """Denials of our AppArmor profile, without those that a check provokes."""
    log = run("journalctl", "-b", "-q", "_TRANSPORT=kernel", "+", "_TRANSPORT=audit", check=False)
    return [
        line
        for line in log.splitlines()
        if 'apparmor="DENIED"' in line and '"ippusbd"' in line and "/etc/shadow" not in line
    ]


def system_log() -> str:
    """What the service and its neighbours wrote, under the init systems without a journal."""
    log = Path("/var/log/syslog")
    return log.read_text(errors="replace") if log.exists() else ""


def told(*command: object) -> str:
    """All output of `ippusbd COMMAND`."""
    words = [*IPPUSBD, *map(str, command)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return str(exc)
    return done.stdout + done.stderr


def words() -> str:
    """Logs that explain most failures."""
    parts = []
    if SYSTEMD:
        for name in (SERVICE, BROKER_SERVICE):
            said = run("journalctl", "-b", "-q", "-n", "15", "-o", "cat", "-u", name, check=False)
            parts.append(f"--- {name}\n{said}")
        with suppress(OSError, Failed):
            parts.append("--- denied\n" + "\n".join(denials()[-10:]))
    else:
        parts.append(f"--- system log\n{tail(system_log())}")
    parts.append("--- status\n" + told("status"))
    return "\n".join(parts)
