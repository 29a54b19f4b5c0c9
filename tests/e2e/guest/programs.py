"""Running programs and waiting for conditions; what every check does.

The guest is slow, so nothing waits for a fixed time: `until` waits for a condition,
and its limit only ends a wait that would never end.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from report import Failed

T = TypeVar("T")

PATIENCE_S = 60.0  # far beyond anything a healthy system needs here
POLL_S = 0.05
OUTPUT_LINES = 25


def until(condition: Callable[[], T], what: str, limit_s: float = PATIENCE_S) -> T:
    """The first true value of `condition()`; raises Failed with `what` was expected."""
    end = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > end:
            raise Failed(f"not within {limit_s:.0f} s: {what} (last: {value!r})")
        time.sleep(POLL_S)
    return value


def run(*words: object, limit_s: float = PATIENCE_S, check: bool = True, text: str = "") -> str:
    """Standard output of a program that must succeed; Failed has all its output."""
    command = [str(word) for word in words]
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, errors="replace", timeout=limit_s
        )
    except subprocess.TimeoutExpired as exc:
        said = (exc.stdout or b"")[-500:]
        raise Failed(f"{shlex.join(command)}: not done after {limit_s:.0f} s; {said!r}") from exc
    if check and done.returncode:
        raise Failed(
            f"{shlex.join(command)}: exit status {done.returncode}\n"
            + tail(done.stdout + done.stderr)
        )
    return done.stdout


def add_everywhere(queue: str, uri: str) -> None:
    """`lpadmin -m everywhere`, and wait: CUPS makes the queue's PPD when lpadmin is over."""
    run("lpadmin", "-p", queue, "-E", "-v", uri, "-m", "everywhere", limit_s=120)
    until(Path(f"/etc/cups/ppd/{queue}.ppd").exists, f"CUPS' own PPD for {queue}")


def tail(text: str, lines: int = OUTPUT_LINES) -> str:
    return "\n".join(text.splitlines()[-lines:])


class Service:
    """A program in the background, its output in a log."""

    def __init__(self, name: str, command: Sequence[object], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def must_run(self) -> bool:
        """True, or raises Failed with the end of the log; for conditions of `until`."""
        if not self.running:
            raise Failed(f"{self.name} ended with status {self.process.returncode}\n{self.words()}")
        return True

    def kill(self) -> None:
        """SIGKILL, as by the kernel."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, limit_s: float = PATIENCE_S) -> int:
        """SIGTERM; its exit status. Failed if it does not end."""
        if self.running:
            self.process.terminate()
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired as exc:
            self.kill()
            raise Failed(f"{self.name} ignores SIGTERM\n{self.words()}") from exc

    def words(self, lines: int = 15) -> str:
        return f"--- {self.log.name}\n" + tail(self.log.read_text(errors="replace"), lines)
