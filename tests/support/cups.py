"""A private cupsd in a Desktop, with the project's backend installed, and `ippusbd run` beside it.

Everything is where it is on a real machine: the backend in /usr/lib/cups/backend (a copy of the
folder, mounted over it), the broker in /run/ippusb. Needs root: cupsd will not start without, and
runs backends and filters as the user lp.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.debian import require
from support.desktop import Desktop

from ippusbd.virtual.control import ask

ROOT = Path(__file__).parents[2]
IPPUSBD = ROOT / ".venv" / "bin" / "ippusbd"
BACKEND = ROOT / "packaging" / "cups" / "ippusb"
BROKER_DIR = "/run/ippusb"
SERVERBIN = Path("/usr/lib/cups")

CUPSD_CONF = """
Listen /run/cups/cups.sock
LogLevel debug
MaxLogSize 0
Browsing Off
WebInterface No
JobRetryInterval 2
JobRetryLimit 100
DefaultAuthType None
<Location />
  Order allow,deny
  Allow all
</Location>
<Policy default>
  JobPrivateAccess all
  <Limit All>
    Order allow,deny
    Allow all
  </Limit>
</Policy>
"""
FILES_CONF = """
ServerRoot /run/cups/etc
RequestRoot /run/cups/spool
CacheDir /run/cups/cache
StateDir /run/cups
TempDir /run/cups/tmp
ErrorLog {log}
AccessLog /run/cups/access
PageLog /run/cups/page
SystemGroup root
"""
DAEMON_CONF = """
[daemon]
state_dir = "/run/ippusbd/state"
[listen]
port_min = 61000
[printers]
retry_max_s = 1.0
[usb]
poll_s = 0.2
[dnssd]
publisher = "off"
"""


class PrintDesk:
    """What runs: cupsd, and the daemon with virtual printers while it is started."""

    def __init__(self, desktop: Desktop) -> None:
        self.desktop = desktop
        self.folder = desktop.folder
        self.error_log = self.folder / "cups-error.log"
        self.store = self.folder / "printed"
        self._daemon: subprocess.Popen[str] | None = None

    @property
    def root(self) -> Path:
        """The desktop's root directory, as seen from here."""
        return self.desktop.root

    def run(self, *argv: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """A program inside; fails the test unless it succeeds."""
        done = self.desktop.run(argv, timeout_s=timeout_s)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}\n{self.log_tail()}"
        return done

    def log(self) -> str:
        """All of cupsd's log, which begins with its first line."""
        return self.error_log.read_text(errors="replace") if self.error_log.exists() else ""

    def log_tail(self, lines: int = 60) -> str:
        """The end of cupsd's log."""
        return "\n".join(self.log().splitlines()[-lines:])

    # --- cupsd

    def start_cups(self) -> None:
        """Start cupsd and wait until it answers."""
        for name in ("etc", "spool", "spool/tmp", "cache", "tmp"):
            (self.root / "run/cups" / name).mkdir(parents=True, exist_ok=True)
        for name in ("run", "run/cups", "run/cups/tmp"):
            (self.root / name).chmod(0o1777 if name.endswith("tmp") else 0o755)
        config, files = self.folder / "cupsd.conf", self.folder / "cups-files.conf"
        config.write_text(CUPSD_CONF)
        files.write_text(FILES_CONF.format(log=self.error_log))
        self.desktop.popen(["cupsd", "-f", "-c", str(config), "-s", str(files)])
        self.desktop.wait(
            lambda: self.desktop.run(["lpstat", "-r"]).stdout.startswith("scheduler is"), "cupsd"
        )

    def queue_state(self, queue: str) -> str:
        """`lpstat -p`'s words: idle, printing, disabled and why."""
        return self.run("lpstat", "-p", queue).stdout

    def pending(self) -> list[str]:
        """Jobs not completed."""
        return re.findall(r"^\S+-\d+", self.run("lpstat", "-o").stdout, re.MULTILINE)

    def add_everywhere(self, queue: str, uri: str, *env: str, timeout_s: float = 60.0) -> None:
        """`lpadmin -m everywhere`, and wait: CUPS asks the printer when lpadmin is over.

        Until then it has no filters for the queue, and aborts its jobs or prints them unfiltered.
        `env` are settings of lpadmin's environment, NAME=VALUE.
        """
        ready, logged_before = f'Printer "{queue}" is now available', len(self.log())
        self.run("env", *env, "lpadmin", "-p", queue, "-E", "-v", uri, "-m", "everywhere")
        self.wait(lambda: ready in self.log()[logged_before:], "CUPS' own PPD", timeout_s)

    # --- the daemon

    def start_daemon(self, *options: str, wait: bool = True, **environ: str) -> None:
        """`ippusbd run --virtual` with more `options`; wait until its broker listens."""
        config = self.folder / "ippusbd.conf"
        config.write_text(DAEMON_CONF)
        self._daemon = self.desktop.popen(
            [
                *(str(IPPUSBD), "run", "--verbose", "--config", str(config)),
                *([] if "--virtual" in options else ["--virtual"]),
                *("--virtual-control", str(self.folder / "virtual.sock")),
                *("--store", str(self.store), *options),
            ],
            environ=environ,
        )
        if wait:
            self.desktop.wait(lambda: self.broker.exists(), "the broker's socket")

    @property
    def broker(self) -> Path:
        return self.root / "run/ippusb/ippusb_manager.sock"

    @property
    def is_serving(self) -> bool:
        return self._daemon is not None and self._daemon.poll() is None

    def stop_daemon(self) -> None:
        """End the daemon, and wait until it gave everything back."""
        assert self._daemon is not None
        self.desktop.stop(self._daemon)
        # What was stopped is the program that entered the namespaces; the daemon may take longer.
        control = self.root / "run/ippusbd/control.sock"
        self.desktop.wait(lambda: not control.exists() and not self.broker.exists(), "its end")

    def ask_virtual(self, command: str, **arguments: object) -> dict[str, Any]:
        """A question to the virtual printers' control socket."""
        return ask(self.folder / "virtual.sock", command, **arguments)

    def unplug(self) -> None:
        """Take the only printer away; the daemon knows it."""
        self.ask_virtual("unplug")
        status = [str(IPPUSBD), "status", "--json", "--config", str(self.folder / "ippusbd.conf")]
        self.wait(
            lambda: '"state": "away"' in self.desktop.run(status).stdout, "the daemon knows it"
        )

    def printed(self, **printer: str) -> list[dict[str, Any]]:
        """Documents that arrived whole."""
        documents = self.ask_virtual("documents", **printer)["documents"]
        return [d for d in documents if d["completed"]]

    def printed_hashes(self, printer: str = "") -> set[str]:
        """sha256 of documents that arrived whole at the only printer, or the named one."""
        named = {"printer": printer} if printer else {}
        return {d["sha256"] for d in self.printed(**named)}

    def wait(self, condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> float:
        """As the desktop's, with cupsd's log in the message."""
        return self.desktop.wait(condition, f"{what}\n{self.log_tail()}", timeout_s)


@contextmanager
def print_desk(binds: Mapping[str, Path] | None = None) -> Iterator[PrintDesk]:
    """A desk with cupsd running."""
    require("cupsd", "lpadmin", "lp", "lpinfo", "lpstat", "driverless", "ipptool")
    if os.geteuid() != 0:
        pytest.skip("cupsd starts only as root")
    with ExitStack() as stack:
        server_bin = _server_bin(stack)
        desktop = stack.enter_context(Desktop(binds={str(SERVERBIN): server_bin, **(binds or {})}))
        desktop.folder.chmod(0o755)
        desk = PrintDesk(desktop)
        desk.start_cups()
        yield desk


def _server_bin(stack: ExitStack) -> Path:
    """CUPS' programs with ours among them, as packages would lay them."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cupsbin-")))
    folder.chmod(0o755)
    made = folder / "cups"
    shutil.copytree(SERVERBIN, made, symlinks=True)
    for kind in ("backend", "driver"):
        shutil.copy(BACKEND, made / kind / "ippusb")
        (made / kind / "ippusb").chmod(0o755)
    return made
