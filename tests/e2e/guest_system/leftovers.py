"""Everything on the disk, to compare a machine with itself after a purge."""

from __future__ import annotations

import json
import re
from pathlib import Path

from programs import run

SNAPSHOT = Path("/var/lib/e2e-before.json")
ROOTS = ("/etc", "/usr", "/lib", "/var", "/run", "/opt", "/root", "/home")

# What a machine writes while it runs, whoever is installed.
OTHERS = re.compile(
    r"/var/(lib/dpkg|lib/apt|cache|log|lib/systemd/(timers|random-seed|catalog|coredump)|spool/cups"
    r"|lib/e2e|lib/private|tmp|lib/ucf|backups|lib/systemd/timesync|lib/urandom|lib/systemd/rfkill)"
    r"|/run/(?!ippusb|systemd/(system|transient)/.*ippusb)"
    r"|/etc/(cups/|printcap|passwd-|group-|shadow-|gshadow-|subuid|subgid|\.pwd|ld\.so\.cache"
    r"|apparmor\.d/(local|disable)$|mtab|sane\.d)"
    r"|/usr/.*__pycache__|/usr/lib/modules|/lib/modules"
)
# insserv counts all init scripts anew when one is installed, and not when it is removed.
ORDER = re.compile(r"(?<=/etc/rc[0-6S]\.d/[SK])\d\d")


def remember() -> None:
    SNAPSHOT.write_text(json.dumps(_paths()))


def _paths() -> list[str]:
    """Of all files, folders and links."""
    said = run("find", *ROOTS, "-xdev", check=False)
    paths = (ORDER.sub("*", path) for path in said.splitlines())
    return sorted(path for path in paths if not OTHERS.match(path))


def compare() -> list[str]:
    """Paths that are new, or gone, since `remember`."""
    before = json.loads(SNAPSHOT.read_text())
    now = set(_paths())
    new = [path for path in sorted(now - set(before)) if "*" in path or Path(path).exists()]
    return new + [f"gone: {path}" for path in sorted(set(before) - now)]
