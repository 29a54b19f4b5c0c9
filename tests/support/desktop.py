"""A desktop's services in a network of the test's own: D-Bus, Avahi, and whatever a test adds.

The real programs read fixed paths (/run/dbus, /run/avahi-daemon, /etc/avahi/services) and speak
multicast, so they get namespaces of their own: network, mounts (an empty /run) and processes.
What is started here can neither meet the machine's own daemons nor outlive the test: the first
process of the namespace ends when the test's end of a pipe is closed, however the test died,
and the kernel then ends all others.

Conditions are waited for, never times: the machine may be slow. As root the namespaces are made
directly, else inside a user namespace. Knows processes and files; nothing of ippusbd.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import pytest
from support.debian import require

WAIT_S = 30.0  # for anything that a healthy desktop does within two seconds
CLONE_NEWNET = 0x40000000
SECOND_ADDRESS = "192.0.2.10"  # of the second interface; TEST-NET-1, goes nowhere
SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"

SETUP = """
set -e
ip link set lo up multicast on
ip route add 224.0.0.0/4 dev lo
if [ -n "$SECOND" ]; then
    ip link add net0 type veth peer name net1
    ip link set net1 addrgenmode none
    ip address add "$SECOND/24" dev net0
    ip link set net0 up
    ip link set net1 up
fi
mount -t tmpfs tmpfs /run
mkdir -p /run/dbus /run/avahi-daemon /run/lock
while [ $# -gt 0 ]; do mount --bind "$2" "$1"; shift 2; done
echo ready
exec cat
"""

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>{system_bus}</listen>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""

AVAHI_CONFIG = """[server]
host-name={host_name}
use-ipv4=yes
use-ipv6=yes
{allow}
[publish]
publish-workstation=no
publish-hinfo=no
"""


class DesktopError(Exception):
    """The desktop could not be made, or something in it did not happen in time."""


class Desktop:
    """Namespaces with a private D-Bus and Avahi; a context manager.

    `second_interface` adds an interface with an address beside lo. `binds` lays files or folders
    over fixed paths (`{"/etc/nsswitch.conf": path}`). `folder`, `bus_address` and `services` (the
    folder of Avahi's static services) are the same inside and outside.
    """

    def __init__(
        self,
        *,
        second_interface: bool = False,
        only_lo: bool = False,
        host_name: str = "desk",
        binds: Mapping[str, Path] | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="desk-"))  # short: socket paths have 107 bytes
        self.services = self.folder / "services"
        self.services.mkdir()
        self.bus_address = f"unix:path={self.folder}/bus"
        self.environ = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": SYSTEM_BUS, "LC_ALL": "C.UTF-8"}
        self._second = SECOND_ADDRESS if second_interface else ""
        self._only_lo = only_lo
        self._host_name = host_name
        self._binds = {"/etc/avahi/services": self.services, **(binds or {})}
        if os.geteuid() != 0:
            self._binds |= self._one_user()
        self._holder: subprocess.Popen[str] | None = None
        self._started: list[subprocess.Popen[str]] = []
        self._bus: subprocess.Popen[str] | None = None
        self._avahi: subprocess.Popen[str] | None = None

    # --- its life

    def __enter__(self) -> Desktop:
        require("unshare", "nsenter", "ip", "dbus-daemon", "dbus-send", "avahi-daemon")
        try:
            self._make_namespaces()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything in the namespaces, and them. Idempotent."""
        for process in reversed(self._started):
            self.stop(process)
        if self._holder is not None:
            assert self._holder.stdin is not None
            assert self._holder.stdout is not None
            self._holder.stdin.close()  # the first process reads end of file and leaves
            _wait_or_kill(self._holder, WAIT_S)
            self._holder.stdout.close()
            self._holder = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_namespaces(self) -> None:
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        spaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        over = [part for target, path in self._binds.items() for part in (target, str(path))]
        self._holder = subprocess.Popen(
            ["unshare", *user, *spaces, "sh", "-c", SETUP, "setup", *over],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**self.environ, "SECOND": self._second, "PATH": _path()},
            text=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            raise DesktopError(
                "no namespaces for a private desktop: this needs root, or a kernel that allows"
                " unprivileged user namespaces (`unshare -rn true` must succeed)"
            )

    def _one_user(self) -> dict[str, Path]:
        """A user database in which Avahi's user is root: a user namespace has no other."""
        binds = {}
        for name in ("passwd", "group"):
            entries = [line.split(":") for line in Path("/etc", name).read_text().splitlines()]
            for entry in entries:
                if entry[0] == "avahi":
                    entry[2] = "0"
            copy = self.folder / name
            copy.write_text("".join(":".join(entry) + "\n" for entry in entries))
            binds[f"/etc/{name}"] = copy
        return binds

    # --- running programs inside

    def _inside(self, argv: Sequence[str]) -> list[str]:
        if self._holder is None:
            raise DesktopError("the desktop is closed")
        here = f"/proc/{self._holder.pid}/ns"
        enter = ["nsenter", f"--net={here}/net", f"--mount={here}/mnt"]
        if os.geteuid() != 0:
            enter += [f"--user={here}/user", "--preserve-credentials"]
        enter += [f"--pid={here}/pid_for_children", f"--wd={Path.cwd()}"]
        return [*enter, "--", *argv]

    def popen(
        self,
        argv: Sequence[str],
        *,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | IO[str] | None = None,
        stderr: int | IO[str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start `argv` inside; ended with the desktop at the latest. Output: a log, if not said."""
        with (self.folder / f"{Path(argv[0]).name}.log").open("a") as log:
            process = subprocess.Popen(
                self._inside(argv),
                stdin=stdin,
                stdout=log if stdout is None else stdout,
                stderr=log if stderr is None else stderr,
                env={**self.environ, "PATH": _path(), **(environ or {})},
                text=True,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def stop(self, process: subprocess.Popen[str], *, kill: bool = False) -> int:
        """End what `popen` started, and what it started; its exit status. Idempotent."""
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)
                os.killpg(process.pid, signal.SIGCONT)  # nsenter stops when its child does
        status = _wait_or_kill(process, WAIT_S)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        with contextlib.suppress(ValueError):
            self._started.remove(process)
        return status

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = WAIT_S,
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `argv` inside to its end. Blocks; from async code through asyncio.to_thread.

        Past `timeout_s` it is ended and the result has status -1 and what it had printed.
        """
        process = self.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, environ=environ)
        try:
            out, err = process.communicate(timeout=timeout_s)
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            status = -1
        finally:
            self.stop(process)
        return subprocess.CompletedProcess(list(argv), status, out, err)

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """The calling thread's new sockets belong to this desktop's network. Needs root."""
        if os.geteuid() != 0:
            pytest.skip("a test that joins another network namespace needs root")
        assert self._holder is not None
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            there = os.open(f"/proc/{self._holder.pid}/ns/net", os.O_RDONLY)
            try:
                _join(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _join(home)
        finally:
            os.close(home)

    @property
    def root(self) -> Path:
        """The root directory inside, as seen from here: its /run is not ours."""
        assert self._holder is not None
        return Path(f"/proc/{self._holder.pid}/root")

    # --- its services

    def start_bus(self) -> None:
        """Start the private system bus."""
        config = self.folder / "bus.conf"
        socket = self.folder / "bus"
        socket.unlink(missing_ok=True)
        config.write_text(BUS_CONFIG.format(system_bus=SYSTEM_BUS, socket=socket))
        self.run(["rm", "-f", SYSTEM_BUS.removeprefix("unix:path=")])
        self._bus = self.popen(
            ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile"]
        )
        self.wait(lambda: self._bus_call("org.freedesktop.DBus", "ListNames") != "", "D-Bus")

    def stop_bus(self) -> None:
        """Take D-Bus away; Avahi loses its connection with it."""
        if self._bus is not None:
            self.stop(self._bus)
            self._bus = None

    def start_avahi(self) -> None:
        """Start Avahi and wait until its host name is established."""
        config = self.folder / "avahi.conf"
        allow = "allow-interfaces=lo" if self._only_lo else ""
        config.write_text(AVAHI_CONFIG.format(host_name=self._host_name, allow=allow))
        # The namespace's mounts protect the machine already; and a user namespace has one user.
        open_doors = ["--no-drop-root", "--no-chroot", "--no-rlimits"]
        self.run(["rm", "-f", "/run/avahi-daemon/pid"])  # of one that was killed
        self._avahi = self.popen(["avahi-daemon", f"--file={config}", *open_doors])
        self.wait(self.avahi_is_running, "Avahi")

    def avahi_is_running(self) -> bool:
        """Its host name is established: clients may register."""
        return "int32 2" in self._bus_call("org.freedesktop.Avahi", "Server.GetState")

    def stop_avahi(self, *, kill: bool = False) -> None:
        """End Avahi: in good order with goodbyes, or killed."""
        if self._avahi is not None:
            self.stop(self._avahi, kill=kill)
            self._avahi = None
            # A new one is refused the name while the bus has not noticed the old one's death.
            self.wait(lambda: not self.avahi_is_there(), "Avahi's name given back")

    def pause_avahi(self) -> None:
        """Avahi keeps its name and answers nothing, until `resume_avahi`."""
        self._signal_avahi(signal.SIGSTOP)

    def resume_avahi(self) -> None:
        """Avahi goes on where it was paused."""
        self._signal_avahi(signal.SIGCONT)

    def _signal_avahi(self, number: signal.Signals) -> None:
        assert self._avahi is not None
        os.killpg(self._avahi.pid, number)

    def avahi_is_there(self) -> bool:
        """Avahi owns its name on the bus."""
        return '"org.freedesktop.Avahi"' in self._bus_call("org.freedesktop.DBus", "ListNames")

    def _bus_call(self, name: str, method: str) -> str:
        """The answer of a method of the object "/", "" if there is none."""
        return self.run(
            ["dbus-send", "--system", "--print-reply", f"--dest={name}", "/", f"{name}.{method}"]
        ).stdout

    # --- waiting

    def wait(self, condition: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> float:
        """Wait until `condition()` is true; the seconds it took. DesktopError names `what`."""
        start = time.monotonic()
        while not condition():
            if time.monotonic() - start > timeout_s:
                raise DesktopError(f"not within {timeout_s} s: {what}\n{self.logs()}")
            time.sleep(0.02)
        return time.monotonic() - start

    def logs(self) -> str:
        """The last lines of every log, for the message of a failed test."""
        parts = [
            f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            for log in sorted(self.folder.glob("*.log"))
        ]
        return "\n".join(part for part in parts if "\n" in part.strip())


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _join(namespace: int) -> None:
    """setns(2) for the calling thread; Python 3.11 has no call for it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _wait_or_kill(process: subprocess.Popen[str], timeout_s: float) -> int:
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        return process.wait()
