"""What `ippusbd setup` installs, as values: files, then commands.

A plan follows from the facts about a system alone, so it can be shown, carried out, or compared
with what is there. The files are those of packaging/, the same as in the Debian package.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ippusbd.init_system import Init
from ippusbd.setup.system import System

LIB: Final = Path("/usr/local/lib/ippusbd")
COMMAND: Final = LIB / "bin/ippusbd"
STATE: Final = Path("/var/lib/ippusbd")
RUNTIME: Final = (Path("/run/ippusbd"), Path("/run/ippusb"))
UNITS: Final = ("ippusbd-broker.socket", "ippusbd-broker.service", "ippusbd.service")
USER: Final = "ippusbd"
ABOUT: Final = "IPP over USB daemon"


@dataclass(frozen=True, slots=True)
class File:
    path: Path
    content: Path | bytes  # where it comes from, or what it contains
    mode: int = 0o644

    def read(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


@dataclass(frozen=True, slots=True)
class Link:
    path: Path
    target: str


@dataclass(frozen=True, slots=True)
class Command:
    argv: tuple[str, ...]
    may_fail: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    items: tuple[File | Link, ...]
    commands: tuple[Command, ...]  # after the files are written


@dataclass(frozen=True, slots=True)
class Removal:
    """`stop` comes before the files are removed, `finish` after."""

    stop: tuple[Command, ...]
    finish: tuple[Command, ...]
    traces: tuple[Path, ...]  # what a running service leaves and nobody needs


def adapted(text: str, python: Path) -> str:
    """A file of packaging/ for the installed copy: the paths of the Debian package are replaced."""
    for packaged, here in (
        ("#!/usr/bin/python3", f"#!{python}"),
        ("/usr/bin/ippusbd", str(COMMAND)),
        ("/usr/lib/ippusbd", str(LIB)),
    ):
        text = text.replace(packaged, here)
    return text


def installation(system: System, python: Path, packaging: Path, program: tuple[File, ...]) -> Plan:
    """Everything that makes a service of `program`, the files below LIB."""

    def file(source: str, target: str, mode: int = 0o644) -> File:
        text = (packaging / source).read_text()
        return File(Path(target), adapted(text, python).encode(), mode)

    launcher = file("debian/launcher", str(COMMAND), 0o755)
    ippusbxd = launcher.read().replace(b"ippusbd.cli.main", b"ippusbd.cli.ippusbxd")
    items: list[File | Link] = [
        *program,
        launcher,
        File(LIB / "bin/ippusbxd", ippusbxd, 0o755),
        Link(Path("/usr/local/bin/ippusbd"), str(COMMAND)),
        Link(Path("/usr/local/bin/ippusbxd"), str(LIB / "bin/ippusbxd")),
        file("ippusbd.conf", "/etc/ippusbd/ippusbd.conf"),
        file("udev/71-ippusbd.rules", "/etc/udev/rules.d/71-ippusbd.rules"),
    ]
    completions = "/usr/local/share/bash-completion/completions"
    items.append(file("bash-completion/ippusbd", f"{completions}/ippusbd"))
    items.append(Link(Path(completions, "ippusbxd"), "ippusbd"))
    for page in sorted((packaging / "man").glob("*.[58]")):
        section = page.suffix[1:]
        items.append(file(f"man/{page.name}", f"/usr/local/share/man/man{section}/{page.name}"))
    if system.cups is not None:
        for kind in ("backend", "driver"):
            items.append(file("cups/ippusb", f"{system.cups}/{kind}/ippusb", 0o755))
    if "systemd-sysusers" in system.programs:
        items.append(file("sysusers/ippusbd.conf", "/etc/sysusers.d/ippusbd.conf"))
    match system.init:
        case Init.SYSTEMD:
            items += [file(f"systemd/{u}", f"/usr/local/lib/systemd/system/{u}") for u in UNITS]
            if system.apparmor:  # only systemd's units apply the profile
                items.append(file("apparmor/ippusbd", "/etc/apparmor.d/ippusbd"))
        case Init.OPENRC:
            items.append(file("openrc/ippusbd", "/etc/init.d/ippusbd", 0o755))
        case Init.SYSVINIT:
            items.append(file("sysvinit/ippusbd", "/etc/init.d/ippusbd", 0o755))
        case Init.RUNIT:
            service = system.runit_services / "ippusbd"
            items.append(file("runit/run", f"{service}/run", 0o755))
            items.append(file("runit/log/run", f"{service}/log/run", 0o755))
            items.append(Link(system.runit_enabled / "ippusbd", str(service)))
    # The service may not write there: without this it would compile itself at every start.
    compiling = Command((str(python), "-I", "-m", "compileall", "-q", str(LIB)), may_fail=True)
    return Plan(tuple(items), (*_accounts(system), compiling, *_activation(system)))


def removal(system: System, *, purge: bool) -> Removal:
    """What to do besides removing files. The user stays as long as its state does."""
    traces = [*RUNTIME]
    stop: list[tuple[str, ...]] = []
    finish: list[tuple[str, ...]] = []
    match system.init:
        case Init.SYSTEMD:
            stop.append(("systemctl", "disable", "--now", *UNITS))
            finish.append(("systemctl", "daemon-reload"))
            if system.apparmor_enabled:
                stop.append(("apparmor_parser", "-R", "/etc/apparmor.d/ippusbd"))
        case Init.OPENRC:
            stop += [("rc-service", "ippusbd", "stop"), ("rc-update", "del", "ippusbd")]
        case Init.SYSVINIT:
            stop.append(("/etc/init.d/ippusbd", "stop"))
            finish.append(("update-rc.d", "ippusbd", "remove"))
        case Init.RUNIT:
            service = system.runit_services / "ippusbd"
            stop.append(("rm", "-f", str(system.runit_enabled / "ippusbd")))
            stop.append(("sv", "-w", "20", "exit", str(service)))
            traces += [service / "supervise", service / "log/supervise"]
    if "udevadm" in system.programs:
        finish.append(("udevadm", "control", "--reload"))
    if purge:
        traces += [STATE, Path("/etc/ippusbd")]
        if "useradd" in system.programs:
            finish += [("userdel", USER), ("groupdel", USER)]
        else:
            finish += [("deluser", USER), ("delgroup", USER)]
    return Removal(_all_may_fail(stop), _all_may_fail(finish), tuple(traces))


def _all_may_fail(commands: list[tuple[str, ...]]) -> tuple[Command, ...]:
    """What is not there any more is no reason to leave the rest."""
    return tuple(Command(argv, may_fail=True) for argv in commands)


def _accounts(system: System) -> Iterator[Command]:
    """The user of the service, a member of the group that may open printers."""
    if "systemd-sysusers" in system.programs:
        yield Command(("systemd-sysusers", "/etc/sysusers.d/ippusbd.conf"))
        return
    if "useradd" in system.programs:
        new_group = ["groupadd", "--system"]
        new_user = ["useradd", "--system", "--gid", USER, "--home-dir", str(STATE)]
        new_user += ["--no-create-home", "--shell", "/sbin/nologin", "--comment", ABOUT, USER]
        join = ["usermod", "-aG", "lp", USER]
    else:  # busybox
        new_group = ["addgroup", "-S"]
        new_user = ["adduser", "-S", "-D", "-H", "-h", str(STATE), "-s", "/sbin/nologin"]
        new_user += ["-G", USER, "-g", ABOUT, USER]
        join = ["addgroup", USER, "lp"]
    for group in sorted({"lp", USER} - system.groups):
        yield Command((*new_group, group))
    if USER not in system.users:
        yield Command(tuple(new_user))
    yield Command(tuple(join))


def _activation(system: System) -> Iterator[Command]:
    """Starts the service, or starts it again; under systemd udev does, if there is a printer."""
    if system.state_of_root:
        yield Command(("chown", "-R", f"{USER}:{USER}", str(STATE)))
    if system.selinux and "restorecon" in system.programs:
        yield Command(("restorecon", "-R", str(LIB)))
    if system.init is Init.SYSTEMD:
        if system.apparmor_enabled and "apparmor_parser" in system.programs:
            yield Command(("apparmor_parser", "-r", "/etc/apparmor.d/ippusbd"))
        yield Command(("systemctl", "daemon-reload"))
    if "udevadm" in system.programs:
        yield Command(("udevadm", "control", "--reload"), may_fail=True)
        yield Command(
            ("udevadm", "trigger", "--subsystem-match=usb", "--action=change"), may_fail=True
        )
    match system.init:
        case Init.SYSTEMD:
            services = (unit for unit in UNITS if unit.endswith(".service"))
            yield Command(("systemctl", "try-restart", *services))
        case Init.OPENRC:
            yield Command(("rc-update", "add", "ippusbd", "default"))
            yield Command(("rc-service", "ippusbd", "restart"))
        case Init.SYSVINIT:
            if "update-rc.d" in system.programs:
                yield Command(("update-rc.d", "ippusbd", "defaults"))
            yield Command(("/etc/init.d/ippusbd", "restart"))
        case Init.RUNIT:
            # Fails before runsvdir has seen a new link, within 5 s, and starts the service.
            service = str(system.runit_services / "ippusbd")
            yield Command(("sv", "restart", service), may_fail=True)
