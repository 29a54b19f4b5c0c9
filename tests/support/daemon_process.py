"""`ippusbd run` as a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from support.ports import FIRST_PORT
from support.waiting import until_true

import ippusbd

Start = Callable[..., "DaemonProcess"]


def python_of_everybody() -> tuple[str, dict[str, str]]:
    """The system's Python of our version, which other users may start, with our packages."""
    ours = [path for path in sys.path if path and not path.startswith(sys.base_prefix)]
    source = str(Path(ippusbd.__file__).parents[1])
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return f"/usr/bin/{version}", {"PYTHONPATH": os.pathsep.join([source, *ours])}


class DaemonProcess:
    """A running `ippusbd run OPTIONS REDIRECTION`; standard error is in `log`.

    `own` is added to the section [daemon] of its configuration, `more` at the end.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        redirection: str = "",
        more: str = "",
        own: str = "",
        user: int | None = None,
    ) -> None:
        self.config = folder / "ippusbd.conf"
        self.config.write_text(
            f'[daemon]\nstate_dir = "{folder}/state"\nruntime_dir = "{folder}/run"\n{own}'
            f'[listen]\nport_min = {FIRST_PORT}\n[dnssd]\npublisher = "off"\n{more}'
        )
        self._log = (folder / "log").open("a")
        python, environ = (sys.executable, {}) if user is None else python_of_everybody()
        argv = [python, "-m", "ippusbd", "run", "--config", str(self.config), *options]
        self.process = subprocess.Popen(
            ["sh", "-c", f"exec {shlex.join(argv)} {redirection}"],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **environ},
            user=user,
            group=user,
            extra_groups=None if user is None else (),
            cwd="/",
        )

    def lines(self, until: str) -> list[str]:
        """Standard output, up to a line that contains `until`."""
        assert self.process.stdout is not None
        said: list[str] = []
        for line in self.process.stdout:
            said.append(line.rstrip())
            if until in line:
                return said
        raise AssertionError(f"ended with {self.process.wait()}: {said}{self.log}")

    def command(
        self, *argv: str, user: int | None = None, groups: Sequence[int] = ()
    ) -> subprocess.CompletedProcess[str]:
        python, environ = (sys.executable, {}) if user is None else python_of_everybody()
        return subprocess.run(
            [python, "-m", "ippusbd", *argv, "--config", self.config],
            capture_output=True,
            check=False,
            text=True,
            env={**os.environ, **environ},
            user=user,
            group=user,
            extra_groups=None if user is None else groups,
            cwd="/",
        )

    def status(self) -> dict[str, Any]:
        answer = self.command("status", "--json")
        assert answer.returncode == 0, answer.stderr
        status = json.loads(answer.stdout)
        assert isinstance(status, dict)
        return status

    def ready(self) -> dict[str, Any]:
        """Its first printer, once it is served."""
        found: list[dict[str, Any]] = []

        def served() -> bool:
            assert self.process.poll() is None, self.log
            answer = self.command("status", "--json").stdout
            rows = json.loads(answer)["printers"] if answer else []
            found[:] = [row for row in rows if row["state"] == "ready"]
            return bool(found)

        until_true(served)
        return found[0]

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()
