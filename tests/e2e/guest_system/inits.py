"""The init system of the guest: what the service does, and how an administrator says it.

The checks are the same for all. systemd starts the service for a printer and ends it without one;
under OpenRC, runit and sysvinit it always runs, and only sysvinit does not start it again.
"""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

from programs import run, until

SERVICE = "ippusbd.service"
INIT = next(
    (
        name
        for name, trace in {"systemd": "systemd/system", "openrc": "openrc"}.items()
        if Path("/run", trace).is_dir()
    ),
    "runit" if Path("/proc/1/comm").read_text().strip() == "runit" else "sysvinit",
)
SYSTEMD = INIT == "systemd"
RESPAWNS = INIT != "sysvinit"
COMMANDS = {
    "systemd": ("systemctl", "{}", "ippusbd"),
    "openrc": ("rc-service", "ippusbd", "{}"),
    "runit": ("sv", "{}", "ippusbd"),
    "sysvinit": ("service", "ippusbd", "{}"),
}
REBOOT = {
    "systemd": ("systemctl", "reboot", "--force"),  # units are killed, disks synced
    "openrc": ("openrc-shutdown", "--reboot", "now"),
}


def tell_init(verb: str) -> None:
    """start, stop or restart."""
    run(*_words(verb), limit_s=120)


def unit(name: str, what: str) -> str:
    """A property of a unit, as systemctl shows it."""
    return run("systemctl", "show", "-P", what, name).strip()


def active(name: str = SERVICE) -> bool:
    return unit(name, "ActiveState") == "active" if SYSTEMD else main_pid() != 0


def main_pid(name: str = SERVICE) -> int:
    """0 if it does not run."""
    return int(unit(name, "MainPID")) if SYSTEMD else next(iter(daemons()), 0)


def daemons() -> list[int]:
    return [
        int(line.parent.name) for line in Path("/proc").glob("[0-9]*/cmdline") if _is_daemon(line)
    ]


def _is_daemon(line: Path) -> bool:
    try:
        words = line.read_text(errors="replace").split("\0")
    except OSError:
        return False
    return any(pair[0].endswith("bin/ippusbd") and pair[1] == "run" for pair in pairwise(words))


def says_running() -> bool:
    done = subprocess.run(_words("status"), capture_output=True, text=True, check=False)
    return done.returncode == 0 and not done.stdout.startswith("down")  # as sv says


def _words(verb: str) -> list[str]:
    return [word.format(verb) for word in COMMANDS[INIT]]


def must_stop() -> None:
    tell_init("stop")
    until(lambda: not active() and not daemons(), "the service stops", 30)


def reboot() -> None:
    run(*REBOOT.get(INIT, ("reboot",)), limit_s=120)
