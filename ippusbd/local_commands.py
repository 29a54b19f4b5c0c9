"""The commands that do on this machine what a remedy says: to paste, as they stand.

They follow from the init system, from how ippusbd is installed (package, `ippusbd setup`, source
tree) and from who reads them. `Meaning.of` takes what its template names from here.

Only looks at whether files exist: the daemon's sandbox allows that.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ippusbd.init_system import (
    Init,
    Verb,
    commands,
    has_service,
    is_masked,
    running_init,
    unit_file,
)

SERVICE: Final = "ippusbd"
BROKER: Final = "ippusbd-broker"
AVAHI: Final = "avahi-daemon"
SERVICE_USER: Final = "ippusbd"
PRINTER_GROUP: Final = "lp"
RULE: Final = "71-ippusbd.rules"
RULE_FOLDERS: Final = ("etc/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d")
SYSTEM_FILE: Final = Path("/etc/ippusbd/ippusbd.conf")
LOGS: Final = ("var/log/syslog", "var/log/messages")
SBIN: Final = ":/usr/sbin:/sbin"
SAFE_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # sudo's
_INSTALL: Final = {
    "apt-get": "apt install",
    "dnf": "dnf install",
    "apk": "apk add",
    "pacman": "pacman -S",
    "zypper": "zypper install",
    "xbps-install": "xbps-install",
    "emerge": "emerge",
}
# What distributions call a package where its name is not the same everywhere.
_NAMES: Final = {
    "libusb": {"apt-get": "libusb-1.0-0", "dnf": "libusb1", "zypper": "libusb-1_0-0"},
    "avahi": {"apt-get": "avahi-daemon", "emerge": "net-dns/avahi"},
    "cups": {"apt-get": "cups cups-client"},
    "cryptography": {
        "apt-get": "python3-cryptography",
        "dnf": "python3-cryptography",
        "apk": "py3-cryptography",
        "pacman": "python-cryptography",
        "zypper": "python3-cryptography",
        "xbps-install": "python3-cryptography",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCommands:
    """`config`: the file that was named on the command line; None: the usual one."""

    root: Path = Path("/")
    uid: int = field(default_factory=os.geteuid)
    path: str = field(default_factory=lambda: os.environ.get("PATH", ""))
    sbin: str = SBIN
    argv0: str = field(default_factory=lambda: sys.argv[0])
    config: Path | None = None

    # --- this program

    @property
    def program(self) -> str:
        """What a shell of this user starts this program with."""
        file = Path(self.argv0)
        if file.name == "__main__.py":
            return f"{shlex.quote(sys.executable)} -m ippusbd"
        if file.name != "ippusbd" or _same(shutil.which("ippusbd", path=self.path), file):
            return "ippusbd"
        return shlex.quote(str(file.absolute()))

    def _own(self, *arguments: str) -> str:
        """A command of this program as root, whose path is another one."""
        file, program = Path(self.argv0), self.program
        if self.uid != 0 and file.name == "ippusbd":
            here = shutil.which(self.argv0, path=self.path) or str(file.absolute())
            is_known = _same(shutil.which("ippusbd", path=SAFE_PATH), Path(here))
            program = "ippusbd" if is_known else shlex.quote(here)
        return self.as_root(f"{program} {shlex.join(arguments)}")

    @property
    def again(self) -> str:
        """The command that runs, as root."""
        return self._own(*sys.argv[1:])

    @property
    def setup(self) -> str:
        return self._own("setup")

    @property
    def uninstall(self) -> str:
        return self._own("setup", "--uninstall")

    def _as_reader(self, *arguments: str) -> str:
        """The same as whoever reads it, who may use the daemon; as root if that is the service.

        A user's daemon is not found by root's commands, and the service answers root only.
        """
        if self.uid == _uid_of(SERVICE_USER):
            return self._own(*arguments)
        return f"{self.program} {shlex.join(arguments)}"

    @property
    def doctor(self) -> str:
        return self._as_reader("doctor")

    @property
    def doctor_as_root(self) -> str:
        """Root sees the programs of all users."""
        return self._own("doctor")

    @property
    def check(self) -> str:
        return self._own("check")

    @property
    def report(self) -> str:
        return self._as_reader("doctor", "--report", "ippusbd-report.txt")

    @property
    def retry(self) -> str:
        return self._as_reader("retry")

    @property
    def migrate(self) -> str:
        return self._own("migrate")

    @property
    def password(self) -> str:
        return self._own("password")

    # --- the daemon

    @property
    def init(self) -> Init | None:
        return running_init(self.root)

    @property
    def has_service(self) -> bool:
        """Whether the init system starts the daemon with the configuration that is meant."""
        usual = self.config is None or self.config.absolute() == SYSTEM_FILE
        return usual and self.init is not None and has_service(self.root, self.init, SERVICE)

    @property
    def is_on_demand(self) -> bool:
        """Whether the broker's socket starts the daemon, and nothing else does."""
        return (
            self.has_service
            and self.init is Init.SYSTEMD
            and is_masked(self.root, f"{SERVICE}.service")
            and unit_file(self.root, f"{BROKER}.socket") is not None
        )

    @property
    def start(self) -> str:
        if not self.has_service:
            return self._by_hand()
        if self.is_on_demand:
            return self.service(Verb.ENABLE, f"{BROKER}.socket")
        return self.service(Verb.START, SERVICE)

    @property
    def restart(self) -> str:
        if not self.has_service:
            return f"{self._by_hand()} (end the one that runs first)"
        if self.is_on_demand:
            return self.service(Verb.RESTART, f"{BROKER}.service")
        return self.service(Verb.RESTART, SERVICE)

    @property
    def log(self) -> str:
        """How to read what the daemon told."""
        if not self.has_service:
            return "see the terminal in which it was started"
        if self.init is Init.SYSTEMD:
            return self.as_root(f"journalctl -u {BROKER if self.is_on_demand else SERVICE}")
        files = [Path("/") / path.relative_to(self.root) for path in self.log_files]
        return self.as_root(f"grep ippusbd {files[0] if files else '/var/log/messages'}")

    @property
    def log_files(self) -> list[Path]:
        """Files of the system log, where there is no journal."""
        return [path for each in LOGS if (path := self.root / each).exists()]

    def _by_hand(self) -> str:
        named = f" --config {shlex.quote(str(self.config))}" if self.config else ""
        return f"{self.program} run{named}"

    # --- other services, packages, devices

    def service(self, verb: Verb, *names: str) -> str:
        """The command for services of the system."""
        if self.init is None:
            return f"{verb.value} {' and '.join(names)}"
        if self.init is Init.SYSTEMD:
            names = (" ".join(names),)
        steps = [step for name in names for step in commands(self.root, self.init, verb, name)]
        return self.as_root(*steps)

    def install(self, what: str) -> str:
        """The command that installs a package; `what` is a key of `_NAMES`."""
        for manager, command in _INSTALL.items():
            if shutil.which(manager, path=self.path + self.sbin):
                return self.as_root(f"{command} {_NAMES[what].get(manager, what)}")
        return f"install {what}"

    @property
    def restart_udev(self) -> str:
        name = "systemd-udevd" if self.init is Init.SYSTEMD else "udev"
        return self.service(Verb.RESTART, name)

    @property
    def restart_avahi(self) -> str:
        return self.service(Verb.RESTART, AVAHI)

    @property
    def enable_avahi(self) -> str:
        return self.service(Verb.ENABLE, "dbus", AVAHI)

    @property
    def enable_cups(self) -> str:
        if self.init is Init.SYSTEMD:
            return self.service(Verb.ENABLE, "cups.socket", "cups")
        is_cups = self.init is None or has_service(self.root, self.init, "cups")
        return self.service(Verb.ENABLE, "cups" if is_cups else "cupsd")

    @property
    def disable_ipp_usb(self) -> str:
        return self.service(Verb.DISABLE, "ipp-usb")

    @property
    def mask_ipp_usb(self) -> str:
        if self.init is Init.SYSTEMD:
            return self.as_root("systemctl mask ipp-usb")
        return "remove the package ipp-usb"

    @property
    def loopback_up(self) -> str:
        return self.as_root("ip link set lo up")

    @property
    def install_libusb(self) -> str:
        return self.install("libusb")

    @property
    def install_cryptography(self) -> str:
        return self.install("cryptography")

    @property
    def allow_devices(self) -> str:
        return self.allow_devices_to(self.uid)

    def allow_devices_to(self, uid: int) -> str:
        """The commands after which a user's daemon may open printers."""
        user = pwd.getpwuid(uid).pw_name if _is_known(uid) else SERVICE_USER
        is_member = user in (SERVICE_USER, "root") or _is_in_group(user)
        if not any((self.root / folder / RULE).exists() for folder in RULE_FOLDERS):
            return self.setup
        udev = self.as_root("udevadm trigger --action=change --subsystem-match=usb")
        if is_member:
            return udev
        return f"{self.as_root(f'usermod -aG {PRINTER_GROUP} {user}')} (then log in again)"

    def as_root(self, *steps: str) -> str:
        """The steps, as this user must type them."""
        if self.uid == 0:
            return " && ".join(steps)
        for asker in ("sudo", "doas"):
            if shutil.which(asker, path=self.path):
                return " && ".join(f"{asker} {step}" for step in steps)
        return f"su -c {shlex.quote(' && '.join(steps))}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What templates of remedies name: given facts, else commands of this machine."""

    given: dict[str, object]
    commands: LocalCommands

    def __getitem__(self, name: str) -> object:
        return self.given[name] if name in self.given else getattr(self.commands, name)


def _same(found: str | None, file: Path) -> bool:
    return found is not None and Path(found).resolve() == file.resolve()


def _uid_of(user: str) -> int:
    """-1: there is no such user."""
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return -1


def _is_known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _is_in_group(user: str) -> bool:
    try:
        group = grp.getgrnam(PRINTER_GROUP)
    except KeyError:
        return False
    return user in group.gr_mem or pwd.getpwnam(user).pw_gid == group.gr_gid
