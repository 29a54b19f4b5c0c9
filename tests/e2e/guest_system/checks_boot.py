"""The machine boots with the printer plugged in; in the end nothing of ours is left on it."""

from __future__ import annotations

import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from checks_plug import QUEUE, kept, prints
from desk import PRINTER_SOCKET, denials, use_installed
from inits import SERVICE, SYSTEMD, active, daemons, unit
from leftovers import compare
from programs import run, until
from report import Failed, Group

PRINTER_AT_BOOT = Path(
    "/etc/systemd/system/sysinit.target.wants/e2e-printer.service"
    if SYSTEMD
    else "/var/lib/e2e-printer-at-boot"
)


@contextmanager
def booted() -> Iterator[None]:
    use_installed()
    until(PRINTER_SOCKET.exists, "the virtual printer")
    yield


GROUP = Group("the machine starts with the printer plugged in", booted)


@GROUP.check("the service runs without a plug, the printer has its port and name")
def at_boot(_: None) -> str:
    until(active, "the service")
    kept()
    if not SYSTEMD:
        return ""
    since = unit(SERVICE, "ActiveEnterTimestampMonotonic")
    return f"active {int(since) / 1e6:.1f} s after the kernel's start"


@GROUP.check("the queue of before prints: same sha256")
def queue(_: None) -> str:
    return prints(QUEUE)


@GROUP.check("AppArmor had to deny nothing")
def nothing_denied(_: None) -> None:
    if SYSTEMD and (denied := denials()):
        raise Failed("\n".join(denied[:20]))


def plug_at_boot() -> None:
    if not SYSTEMD:
        PRINTER_AT_BOOT.touch()
        return
    PRINTER_AT_BOOT.parent.mkdir(exist_ok=True)
    PRINTER_AT_BOOT.symlink_to("/etc/systemd/system/e2e-printer.service")


def end_printer() -> None:
    """The one of the boot: it runs our program."""
    PRINTER_AT_BOOT.unlink()
    if SYSTEMD:
        run("systemctl", "stop", "e2e-printer.service", check=False)
    else:
        run("pkill", "-f", "ippusbd virtual", check=False)


def nothing_left() -> None:
    """Neither files, nor a user, nor a profile, nor processes, nor units."""
    if left := compare():
        raise Failed("\n".join(left[:40]))
    if "ippusbd" in {user.pw_name for user in pwd.getpwall()}:
        raise Failed("the user is there")
    if processes := daemons():
        raise Failed(f"processes {processes}")
    if SYSTEMD:
        if "ippusbd" in Path("/sys/kernel/security/apparmor/profiles").read_text():
            raise Failed("the profile is loaded")
        units = run("systemctl", "list-units", "--all", "--plain", "--no-legend", "ippusbd*")
        if left := [line for line in units.splitlines() if "not-found" not in line]:
            raise Failed("\n".join(left))
