"""The package is installed on a machine that never had it."""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from desk import BROKER_SERVICE, E2E, use_installed
from inits import SERVICE, unit
from leftovers import remember
from programs import run
from report import Failed, Group

EXPOSURE_MAX = 1.5


@contextmanager
def fresh() -> Iterator[None]:
    remember()
    yield


GROUP = Group("a fresh machine", fresh)


@GROUP.check("apt installs the package; nothing else is needed")
def install(_: None) -> str:
    said = run("apt-get", "install", "-y", E2E / "ippusbd.deb", limit_s=240)
    if "1 newly installed" not in said:
        raise Failed(said)
    use_installed()
    return run("ippusbd", "--version").strip()


@GROUP.check("its user may use printers and nothing else")
def user(_: None) -> str:
    return of_printers_only()


def of_printers_only() -> str:
    one = pwd.getpwnam("ippusbd")
    groups = [group.gr_name for group in grp.getgrall() if "ippusbd" in group.gr_mem]
    if groups != ["lp"] or one.pw_uid >= 1000 or "nologin" not in one.pw_shell:
        raise Failed(f"{one}, member of {groups}")
    return f"uid {one.pw_uid}, {one.pw_shell}, member of lp"


@GROUP.check("without a printer nothing runs")
def nothing_runs(_: None) -> None:
    for name in (SERVICE, BROKER_SERVICE):
        if (unit(name, "LoadState"), unit(name, "ActiveState")) != ("loaded", "inactive"):
            raise Failed(run("systemctl", "status", name, check=False))


@GROUP.check("systemd-analyze verify finds no fault in the units")
def verify(_: None) -> None:
    said = run("systemd-analyze", "verify", "--man=no", SERVICE, "ippusbd-broker.socket")
    if said:
        raise Failed(said)


@GROUP.check(f"systemd-analyze security: exposure {EXPOSURE_MAX} or less")
def exposure(_: None) -> str:
    found = []
    for name in (SERVICE, BROKER_SERVICE):
        said = run("systemd-analyze", "security", "--no-pager", name)
        match = re.search(r"exposure level for \S+: ([\d.]+)", said)
        if match is None or float(match[1]) > EXPOSURE_MAX:
            raise Failed(said)
        found.append(f"{name} {match[1]}")
    return ", ".join(found)


@GROUP.check("AppArmor has the profile and enforces it")
def profile(_: None) -> str:
    profiles = Path("/sys/kernel/security/apparmor/profiles").read_text().splitlines()
    if "ippusbd (enforce)" not in profiles:
        raise Failed(f"profiles: {profiles}")
    python = ("/usr/bin/python3", "-ISc")
    run("aa-exec", "-p", "ippusbd", "--", *python, "open('/etc/ippusbd/ippusbd.conf')")
    said = run("aa-exec", "-p", "ippusbd", "--", *python, READS_SHADOW)
    return said.strip()


READS_SHADOW = """
try:
    open("/etc/shadow")
except PermissionError as exc:
    print("even for root:", exc)
else:
    raise SystemExit("it could be read")
"""
