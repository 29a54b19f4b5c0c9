"""Checks, the groups they come in, and one line per check with its time.

A group is a context (printers and a daemon in some arrangement) and the
checks made in it, in order. A check is a function that raises when it finds
something wrong; its result, if any, is printed on its line. A group whose
context cannot be made fails all its checks. The last line is
`N passed, N failed`.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Context = TypeVar("Context")
INDENT = "           "


class Failed(Exception):
    """What a check found wrong, in words for the report."""


@dataclass
class Group(Generic[Context]):
    """Checks made in one context."""

    title: str
    context: Callable[[], AbstractContextManager[Context]]
    checks: list[tuple[str, Callable[[Context], object]]] = field(default_factory=list)

    def check(
        self, name: str
    ) -> Callable[[Callable[[Context], object]], Callable[[Context], object]]:
        """Decorates a check; `name` is a sentence."""

        def add(function: Callable[[Context], object]) -> Callable[[Context], object]:
            self.checks.append((name, function))
            return function

        return add


class Report:
    """Runs groups and prints the results. `logs` returns details for a failure."""

    def __init__(self, only: str, logs: Callable[[], str]) -> None:
        self.passed = 0
        self.failed: list[str] = []
        self._only = only.lower()
        self._logs = logs

    def run(self, groups: Iterable[Group]) -> bool:
        """True if every check passed and there was one."""
        self.make(groups)
        return self.end()

    def make(self, groups: Iterable[Group]) -> None:
        """The checks of these groups; more may follow."""
        for group in groups:
            self._group(group)

    def end(self) -> bool:
        """The last lines, and what `run` returns."""
        for name in self.failed:
            print(f"failed: {name}")
        print(f"{self.passed} passed, {len(self.failed)} failed", flush=True)
        return not self.failed and self.passed > 0

    def _group(self, group: Group) -> None:
        wanted = [one for one in group.checks if self._only in f"{group.title}: {one[0]}".lower()]
        if not wanted:
            return
        print(f"-- {group.title}", flush=True)
        start, done = time.monotonic(), 0
        try:
            with group.context() as context:
                print(f"     {time.monotonic() - start:6.2f} s  (made ready)", flush=True)
                for name, function in wanted:
                    self._check(name, lambda: function(context))  # noqa: B023 - called at once
                    done += 1
        except (Failed, OSError, RuntimeError, AssertionError) as exc:
            for name, _ in wanted[done:] or [("clean up", None)]:
                self._say(False, start, f"{name} ({group.title})", _words(exc))

    def _check(self, name: str, function: Callable[[], object]) -> None:
        start = time.monotonic()
        try:
            said = function()
        except Exception as exc:  # noqa: BLE001 - whatever a check raises is its result
            self._say(False, start, name, _words(exc))
        else:
            self._say(True, start, name, "" if said is None else str(said))

    def _say(self, good: bool, start: float, name: str, words: str) -> None:
        took = time.monotonic() - start
        print(f"{'ok  ' if good else 'FAIL'} {took:6.2f} s  {name}", end="")
        if good:
            self.passed += 1
            print(f": {words}" if words else "", flush=True)
            return
        self.failed.append(name)
        print("\n" + "\n".join(INDENT + line for line in f"{words}\n{self._logs()}".splitlines()))
        sys.stdout.flush()


def _words(exc: BaseException) -> str:
    if isinstance(exc, Failed):
        return str(exc)
    return "".join(traceback.format_exception(exc)[-3:])
