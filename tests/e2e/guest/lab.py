"""The guest as a desktop: kernel modules, udev, D-Bus, Avahi, CUPS, and the packages' users.

Started once, in the order of a boot. The virtual printers and the daemon
under test are `Printers` and `Daemon`; as many as a group of checks needs,
one after the other.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from programs import Service, run, until
from report import Failed

from ippusbd.daemon.observe.control_client import ask as ask_daemon
from ippusbd.errors import IppUsbError
from ippusbd.virtual.control import ask as ask_printer

PROJECT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
LOGS = Path("/e2e")
PRINTER_SOCKET = Path("/run/virtual.sock")
STATE, RUN = Path("/var/lib/ippusbd"), Path("/run/ippusbd")

IMPORTS = "import ippusbd.daemon.service, ippusbd.virtual.printer, aiohttp.web, dbus_fast, usb.core"
AVAHI = """\
[server]
use-ipv4=yes
use-ipv6=yes
allow-interfaces=lo
[publish]
publish-workstation=no
publish-hinfo=no
"""


class Desktop:
    """Everything but the printer and the daemon."""

    def __init__(self) -> None:
        self.services: list[Service] = []

    def start(self) -> None:
        self._spawn("warm-up", sys.executable, "-c", IMPORTS)  # while the rest starts
        run("modprobe", "-a", "vhci_hcd", "usblp", "usb_storage", "usbmon")
        self._users()
        self._udev()
        self._bus()
        self._avahi()
        self._cups()
        # SANE's other drivers look for half a minute for hardware that cannot be here.
        Path("/etc/sane.d/dll.conf").write_text("airscan\nescl\n")

    def _spawn(self, name: str, *command: object) -> Service:
        self.services.append(Service(name, command, LOGS / f"{name}.log"))
        return self.services[-1]

    def _users(self) -> None:
        """Create the package's users; make the checkout, maybe in /root, readable."""
        run("systemd-sysusers", PROJECT / "packaging/sysusers/ippusbd.conf")
        for path in (PROJECT, Path(sys.executable).resolve(), Path(sys.executable)):
            for folder in path.parents:
                if not folder.stat().st_mode & 0o001:
                    folder.chmod(folder.stat().st_mode | 0o111)
        user = pwd.getpwnam("ippusbd")
        for folder in (STATE, RUN):
            folder.mkdir(parents=True, exist_ok=True)
            os.chown(folder, user.pw_uid, user.pw_gid)

    def _udev(self) -> None:
        rules = Path("/etc/udev/rules.d")
        rules.mkdir(parents=True, exist_ok=True)
        for rule in (PROJECT / "packaging/udev").glob("*.rules"):
            shutil.copy(rule, rules)
        run("/lib/systemd/systemd-udevd", "--daemon")
        run("udevadm", "trigger", "--action=add")
        run("udevadm", "settle")

    def _bus(self) -> None:
        Path("/run/dbus").mkdir(exist_ok=True)
        run("dbus-uuidgen", "--ensure")
        self._spawn("dbus", "dbus-daemon", "--system", "--nofork", "--nopidfile")
        until(Path("/run/dbus/system_bus_socket").exists, "the system bus")

    def _avahi(self) -> None:
        run("ip", "link", "set", "lo", "multicast", "on")
        run("ip", "route", "add", "224.0.0.0/4", "dev", "lo")
        Path("/run/avahi.conf").write_text(AVAHI)
        Path("/run/avahi-daemon").mkdir(exist_ok=True)
        self.avahi = self._spawn("avahi", "avahi-daemon", "-f", "/run/avahi.conf", "--no-rlimits")
        until(self._avahi_runs, "Avahi's host name")

    def _avahi_runs(self) -> bool:
        self.avahi.must_run()
        name = "org.freedesktop.Avahi"
        send = ("dbus-send", "--system", "--print-reply", f"--dest={name}", "/")
        return "int32 2" in run(*send, f"{name}.Server.GetState", check=False)

    def _cups(self) -> None:
        Path("/run/cups").mkdir(exist_ok=True)
        config = Path("/etc/cups/cupsd.conf")
        config.write_text(config.read_text().replace("LogLevel warn", "LogLevel debug"))
        self.cups = self._spawn("cups", "/usr/sbin/cupsd", "-f")
        until(lambda: "is running" in run("lpstat", "-r", check=False), "the CUPS scheduler")

    def stop(self) -> None:
        for service in reversed(self.services):
            service.stop()


class Printers:
    """`ippusbd virtual --attach` with the options given, until the context ends."""

    def __init__(self, *options: object) -> None:
        command = (BIN / "ippusbd", "virtual", "--attach", "--control", PRINTER_SOCKET, *options)
        PRINTER_SOCKET.unlink(missing_ok=True)
        self.service = Service("virtual", command, LOGS / "virtual.log")
        until(lambda: self.service.must_run() and PRINTER_SOCKET.exists(), "the virtual printer")

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        """One question on the control socket; `printer` is a serial or counts from 1."""
        return ask_printer(PRINTER_SOCKET, command, timeout_s=60, **arguments)

    def documents(self, **arguments: object) -> list[dict[str, Any]]:
        """The printed documents, oldest first."""
        return list(self.ask("documents", **arguments)["documents"])

    def stop(self) -> None:
        self.service.stop()


class Daemon:
    """`ippusbd run` as ippusbd.service has it: its user, no capability, its directories.

    Ready when it notifies systemd; the socket here stands in for systemd.
    """

    def __init__(self, *options: object) -> None:
        notify = Path("/run/notify.sock")
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(notify))
            notify.chmod(0o666)
            listener.settimeout(60)
            self.service = Service("daemon", [*_as_service(notify), *options], LOGS / "daemon.log")
            self._await_ready(listener)

    def _await_ready(self, listener: socket.socket) -> None:
        try:
            while b"READY=1" not in listener.recv(4096).split(b"\n"):
                self.service.must_run()
        except TimeoutError as exc:
            self.service.kill()
            raise Failed(f"the daemon is not ready\n{self.service.words()}") from exc

    def status(self) -> dict[str, Any]:
        """What `ippusbd status --json` shows."""
        answer = ask_daemon(RUN / "control.sock", "status", timeout_s=30)
        assert isinstance(answer, dict)
        return answer

    def printers(self) -> list[dict[str, Any]]:
        return list(self.status()["printers"])

    def ready(self, count: int = 1) -> list[dict[str, Any]]:
        """Status of `count` printers that are served and announced; waits for them."""

        def all_ready() -> list[dict[str, Any]]:
            self.service.must_run()
            try:
                rows = [one for one in self.printers() if one["state"] == "ready"]
            except IppUsbError:
                return []
            done = [one for one in rows if one["announced"] == "established"]
            return done if len(done) == count else []

        return until(all_ready, f"{count} printers served and announced", 90)

    def none_left(self) -> None:
        """Waits until no printer is served."""
        until(lambda: not [one for one in self.printers() if one["state"] == "ready"], "no printer")

    def kill(self) -> None:
        self.service.kill()

    def stop(self) -> None:
        """Stop it with SIGTERM; nothing to do for one that was killed or stopped."""
        running = self.service.running
        status = self.service.stop()
        if running and status:
            raise Failed(f"the daemon ended with status {status}\n{self.service.words()}")


def _as_service(notify: Path) -> list[object]:
    environment = (
        f"NOTIFY_SOCKET={notify}",
        f"STATE_DIRECTORY={STATE}",
        f"RUNTIME_DIRECTORY={RUN}",
        "HOME=/var/lib/ippusbd",
        "PYTHONFAULTHANDLER=1",  # a crash of libusb shows its stack
        "PATH=/usr/bin:/bin",
    )
    user = ("--reuid=ippusbd", "--regid=ippusbd", "--init-groups")
    rights = ("--inh-caps=-all", "--bounding-set=-all", "--no-new-privs")
    return [
        *("env", "-i", *environment, "setpriv", *user, *rights),
        *("sh", "-c", 'umask 077; exec "$@"', "sh"),
        *(BIN / "ippusbd", "run"),
    ]


def forget_state() -> None:
    """As on a machine where the daemon has never run."""
    for path in STATE.iterdir():
        path.unlink()


@contextmanager
def stopping(*services: Printers | Daemon) -> Iterator[None]:
    """Stops them at the end, in reverse order, whatever happened."""
    try:
        yield
    finally:
        for service in reversed(services):
            service.stop()


def logs() -> str:
    """The ends of the logs that explain most failures."""
    parts = []
    for name in ("daemon", "virtual"):
        path = LOGS / f"{name}.log"
        if path.exists():
            lines = path.read_text(errors="replace").splitlines()[-12:]
            parts.append(f"--- {name}.log\n" + "\n".join(lines))
    return "\n".join(parts)
