"""Everything on the disk, to compare a machine with itself after a purge."""

from __future__ import annotations

import re
from pathlib import Path

from programs import run

ROOTS = ("/etc", "/usr", "/lib", "/var", "/run", "/opt", "/root", "/home")

# What a machine writes while it runs, whoever is installed.
OTHERS = re.compile(
    r"/var/(lib/dpkg|lib/apt|cache|log|lib/systemd/(timers|random-seed|catalog|coredump)|spool/cups"
    r"|lib/e2e|lib/private|tmp|lib/ucf|backups|lib/systemd/timesync|lib/systemd/rfkill)"
    r"|/run/(?!ippusb|systemd/(system|transient)/.*ippusb)"
    r"|/etc/(cups/|printcap|passwd-|group-|shadow-|gshadow-|subuid|subgid|\.pwd|ld\.so\.cache"
    r"|apparmor\.d/(local|disable)$|mtab|sane\.d)"
    r"|/usr/.*__pycache__|/usr/lib/modules|/lib/modules"
)


def remember() -> list[str]:
    """Paths of all files, folders and links."""
    said = run("find", *ROOTS, "-xdev", check=False)
    return sorted(path for path in said.splitlines() if not OTHERS.match(path))


def compare(before: list[str]) -> list[str]:
    """Paths that are new, or gone."""
    now = set(remember())
    more = [path for path in sorted(now - set(before)) if Path(path).exists(follow_symlinks=True)]
    return more + [f"gone: {path}" for path in sorted(set(before) - now)]
