"""The machine boots with the printer plugged in; then the package is upgraded, and purged."""

from __future__ import annotations

import json
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from checks_install import SNAPSHOT
from checks_plug import QUEUE, kept, prints
from desk import CONFIG, E2E, PRINTER_SOCKET, SERVICE, active, denials, main_pid, unit, use_package
from leftovers import compare
from programs import run, until
from report import Failed, Group

PRINTER_AT_BOOT = Path("/etc/systemd/system/sysinit.target.wants/e2e-printer.service")


@contextmanager
def booted() -> Iterator[None]:
    use_package()
    until(PRINTER_SOCKET.exists, "the virtual printer")
    yield


GROUP = Group("the machine starts with the printer plugged in", booted)


@GROUP.check("the service runs without a plug, the printer has its port and name")
def at_boot(_: None) -> str:
    until(active, "the service")
    kept()
    since = unit(SERVICE, "ActiveEnterTimestampMonotonic")
    return f"active {int(since) / 1e6:.1f} s after the kernel's start"


@GROUP.check("the queue of before prints: same sha256")
def queue(_: None) -> str:
    return prints(QUEUE)


@GROUP.check("AppArmor had to deny nothing")
def nothing_denied(_: None) -> None:
    if denied := denials():
        raise Failed("\n".join(denied[:20]))


@GROUP.check("an upgrade restarts it; port, name and the administrator's configuration stay")
def upgrade(_: None) -> str:
    CONFIG.write_text(CONFIG.read_text() + "\n# kept by hand\n")
    pid = main_pid()
    run("apt-get", "install", "-y", E2E / "ippusbd-next.deb", limit_s=240)
    until(lambda: main_pid() not in (0, pid) and active(), "the new daemon")
    kept()
    if "# kept by hand" not in CONFIG.read_text():
        raise Failed("the configuration was replaced")
    version = run("dpkg-query", "-W", "-f", "${Version}", "ippusbd")
    return f"{version}; {prints(QUEUE)}"


@GROUP.check("it ends in good order when the package is removed, and leaves the state")
def remove(_: None) -> None:
    pid = main_pid()
    run("apt-get", "remove", "-y", "ippusbd", limit_s=240)
    if Path(f"/proc/{pid}").exists():
        raise Failed("the daemon runs on")
    if not CONFIG.exists() or not Path("/var/lib/ippusbd/printers.json").exists():
        raise Failed("a removal is no purge")


@GROUP.check("a purge leaves nothing behind")
def purge(_: None) -> str:
    run("systemctl", "stop", "e2e-printer.service", check=False)
    run("dpkg", "--purge", "ippusbd", limit_s=240)
    PRINTER_AT_BOOT.unlink()
    if left := compare(json.loads(SNAPSHOT.read_text())):
        raise Failed("\n".join(left[:40]))
    if "ippusbd" in {user.pw_name for user in pwd.getpwall()}:
        raise Failed("the user is there")
    if "ippusbd" in Path("/sys/kernel/security/apparmor/profiles").read_text():
        raise Failed("the profile is loaded")
    if processes := [one.parent.name for one in Path("/proc").glob("[0-9]*/cmdline") if ours(one)]:
        raise Failed(f"processes {processes}")
    units = run("systemctl", "list-units", "--all", "--plain", "--no-legend", "ippusbd*")
    if left := [line for line in units.splitlines() if "not-found" not in line]:
        raise Failed("\n".join(left))
    return f"{len(json.loads(SNAPSHOT.read_text()))} paths compared with those of before"


def ours(command_line: Path) -> bool:
    try:
        return b"/usr/bin/ippusbd" in command_line.read_bytes()
    except OSError:
        return False
