"""The init system of a machine, and its commands for a service.

Only files below `root` are read, so that an image or a folder of a test can be examined, too.

Knows nothing of the project.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

# Where systemd looks for units, the administrator's first.
UNITS: Final = (
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
)
RUNIT_SERVICES: Final = ("etc/runit/sv", "etc/sv")
RUNIT_ENABLED: Final = ("etc/runit/runsvdir/default", "etc/service", "var/service")
PROGRAM_FOLDERS: Final = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")


class Init(StrEnum):
    SYSTEMD = "systemd"
    OPENRC = "openrc"
    RUNIT = "runit"
    SYSVINIT = "sysvinit"


class Verb(StrEnum):
    START = "start"
    RESTART = "restart"
    ENABLE = "enable"  # start it now and at every boot
    DISABLE = "disable"  # stop it now and for good


_COMMANDS: Final[dict[Init, dict[Verb, tuple[str, ...]]]] = {
    Init.SYSTEMD: {
        Verb.START: ("systemctl start {0}",),
        Verb.RESTART: ("systemctl restart {0}",),
        Verb.ENABLE: ("systemctl enable --now {0}",),
        Verb.DISABLE: ("systemctl disable --now {0}",),
    },
    Init.OPENRC: {
        Verb.START: ("rc-service {0} start",),
        Verb.RESTART: ("rc-service {0} restart",),
        Verb.ENABLE: ("rc-update add {0}", "rc-service {0} start"),
        Verb.DISABLE: ("rc-service {0} stop", "rc-update del {0}"),
    },
    Init.RUNIT: {
        Verb.START: ("sv start {0}",),
        Verb.RESTART: ("sv restart {0}",),
        Verb.ENABLE: ("ln -s {1}/{0} {2}/{0}",),
        Verb.DISABLE: ("sv stop {0}", "rm {2}/{0}"),
    },
    Init.SYSVINIT: {
        Verb.START: ("/etc/init.d/{0} start",),
        Verb.RESTART: ("/etc/init.d/{0} restart",),
        Verb.ENABLE: ("update-rc.d {0} defaults", "/etc/init.d/{0} start"),
        Verb.DISABLE: ("/etc/init.d/{0} stop", "update-rc.d {0} disable"),
    },
}


def running_init(root: Path) -> Init | None:
    """The init system that runs; None: none that is known, as in most containers."""
    if (root / "run/systemd/system").is_dir():
        return Init.SYSTEMD
    if (root / "run/openrc").is_dir():
        return Init.OPENRC
    if (root / "run/runit").is_dir() or _text(root / "proc/1/comm").strip() == "runit":
        return Init.RUNIT
    return Init.SYSVINIT if _has_scripts(root) else None


def init_of(root: Path) -> Init | None:
    """The init system that runs, or in an image the one that would; None: it is not known."""
    running = running_init(root)
    link = root / "sbin/init"
    program = link.readlink().name if link.is_symlink() else ""
    installed = {
        "systemd": Init.SYSTEMD,
        "openrc-init": Init.OPENRC,
        "runit-init": Init.RUNIT,
    }.get(program)
    return installed if installed and running in (None, Init.SYSVINIT) else running


def _has_scripts(root: Path) -> bool:
    return has_program(root, "start-stop-daemon") and (root / "etc/init.d").is_dir()


def commands(root: Path, init: Init, verb: Verb, name: str) -> tuple[str, ...]:
    """What root must run, one after the other."""
    services = first_folder(root, RUNIT_SERVICES) or Path("/etc/sv")
    enabled = first_folder(root, RUNIT_ENABLED) or Path("/etc/service")
    return tuple(each.format(name, services, enabled) for each in _COMMANDS[init][verb])


def unit_file(root: Path, name: str) -> Path | None:
    """The file that systemd takes for the unit, a link to /dev/null if it is masked."""
    paths = (root / folder / name for folder in UNITS)
    return next((path for path in paths if path.is_symlink() or path.exists()), None)


def is_masked(root: Path, name: str) -> bool:
    """Whether systemd refuses to start the unit."""
    path = unit_file(root, name)
    return path is not None and path.is_symlink() and str(path.readlink()) == "/dev/null"


def has_service(root: Path, init: Init, name: str) -> bool:
    """Whether the init system has this service, masked or not."""
    match init:
        case Init.SYSTEMD:
            return unit_file(root, f"{name}.service") is not None
        case Init.RUNIT:
            return any((root / folder / name).exists() for folder in RUNIT_SERVICES)
        case _:
            return (root / "etc/init.d" / name).exists()


def first_folder(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((Path("/") / name for name in names if (root / name).is_dir()), None)


def has_program(root: Path, program: str) -> bool:
    return any((root / folder / program).exists() for folder in PROGRAM_FOLDERS)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
