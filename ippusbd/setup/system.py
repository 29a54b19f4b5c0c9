"""What `ippusbd setup` must know about a system, found out in one place.

Everything is looked up below a root folder, so that a plan can also be made for an image, and in a
test for a folder. Only files are read; no program is started.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ippusbd.errors import IppUsbError
from ippusbd.init_system import (
    RUNIT_ENABLED,
    RUNIT_SERVICES,
    Init,
    first_folder,
    has_program,
    init_of,
)

PROGRAMS: Final = (
    "systemd-sysusers",
    "useradd",
    "adduser",
    "udevadm",
    "apparmor_parser",
    "restorecon",
    "update-rc.d",
)
# Files that only a distribution's package of ippusbd installs.
PACKAGED: Final = (
    "usr/lib/systemd/system/ippusbd.service",
    "lib/systemd/system/ippusbd.service",
    "usr/lib/udev/rules.d/71-ippusbd.rules",
    "lib/udev/rules.d/71-ippusbd.rules",
    "usr/lib/ippusbd/ippusbd",
)
CUPS: Final = ("usr/lib/cups", "usr/libexec/cups", "usr/lib64/cups")


@dataclass(frozen=True, slots=True)
class System:
    """Paths are those inside the system, without the root folder."""

    init: Init
    programs: frozenset[str] = frozenset()  # of PROGRAMS, those that are there
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    cups: Path | None = None  # the folder of CUPS' backends and drivers
    apparmor: bool = False
    apparmor_enabled: bool = False  # by the running kernel
    selinux: bool = False
    state_of_root: bool = False  # a daemon that root started was here before the service
    runit_services: Path = Path("/etc/sv")
    runit_enabled: Path = Path("/etc/service")


def examined(root: Path, init: Init | None = None) -> System:
    """The system below `root`. Raises IppUsbError if its init system is not known."""
    cups = first_folder(root, CUPS)
    apparmor = (root / "etc/apparmor.d").is_dir()
    return System(
        init=init or _known(init_of(root)),
        programs=frozenset(name for name in PROGRAMS if has_program(root, name)),
        users=_names(root / "etc/passwd"),
        groups=_names(root / "etc/group"),
        cups=cups,
        apparmor=apparmor,
        apparmor_enabled=apparmor and (root / "sys/kernel/security/apparmor").is_dir(),
        selinux=(root / "sys/fs/selinux/enforce").exists(),
        state_of_root=_is_of_root(root / "var/lib/ippusbd"),
        runit_services=first_folder(root, RUNIT_SERVICES) or Path("/etc/sv"),
        runit_enabled=first_folder(root, RUNIT_ENABLED) or Path("/etc/service"),
    )


def package_file(root: Path) -> Path | None:
    """A file of a distribution's package of ippusbd; None if there is none."""
    return next((Path("/") / name for name in PACKAGED if (root / name).exists()), None)


def _known(init: Init | None) -> Init:
    if init is None:
        names = ", ".join(Init)
        raise IppUsbError(
            f"no init system that setup knows is found: name it with --init ({names})"
        )
    return init


def _is_of_root(folder: Path) -> bool:
    return folder.is_dir() and folder.stat().st_uid == 0


def _names(table: Path) -> frozenset[str]:
    """The first column of /etc/passwd or /etc/group."""
    return frozenset(line.partition(":")[0] for line in _text(table).splitlines())


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
