"""Carries out a plan, or only reports what it would do.

What is there already is not written again, and what somebody else wrote or changed is kept and
named. The record is saved after a failure, too, so that the next run, or a removal, knows what was
written until then.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ippusbd import __version__
from ippusbd.errors import IppUsbError
from ippusbd.setup.manifest import (
    Manifest,
    below,
    content_fingerprint,
    fingerprint,
    link_fingerprint,
)
from ippusbd.setup.plan import LIB, STATE, USER, Command, File, Link, Plan, Removal
from ippusbd.setup.system import System

COMMAND_S: Final = 120.0
Run = Callable[[tuple[str, ...]], tuple[int, str]]


def run(argv: tuple[str, ...]) -> tuple[int, str]:
    """Exit status and output of a command."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=COMMAND_S,
            check=False,
        )
    except OSError as exc:
        return 127, exc.strerror or ""
    except subprocess.TimeoutExpired:
        return 124, f"not finished after {COMMAND_S:g} s"
    return done.returncode, done.stdout.strip()


@dataclass(frozen=True, slots=True)
class Worker:
    """Where to work, and how: `run` is None in an image, `dry` shows only."""

    root: Path
    show: Callable[[str], None]
    run: Run | None = run
    dry: bool = False

    def install(self, plan: Plan, system: System, before: Manifest | None) -> None:
        """Write what is missing or outdated, then run the commands.

        Raises IppUsbError if a command fails, OSError if a file cannot be written.
        """
        old = before or Manifest(__version__, system.init)
        new = Manifest(__version__, system.init, False, dict(old.files), list(old.folders))
        try:
            gone = old.files.keys() - {str(item.path) for item in plan.items}
            changed = [path for path in map(Path, sorted(gone)) if self._remove(path, new.files)]
            changed += [item.path for item in plan.items if self._write(item, new)]
            in_program = sum(path.is_relative_to(LIB) for path in changed)
            if in_program:
                self.show(f"write  {LIB}/: the program and its libraries, {in_program} files")
            if changed or not old.complete or USER not in system.users:
                self._run_all(plan.commands)
            else:
                self.show("nothing to do: everything is installed")
            new.complete = True
        finally:
            if not self.dry and below(self.root, LIB).is_dir():
                new.save(self.root)

    def remove(
        self, removal: Removal, files: dict[str, str], folders: list[str], *, purge: bool
    ) -> None:
        """Remove what setup wrote. What was changed since stays without `purge`.

        If nothing is recorded in `files`, LIB is not of setup.
        """
        recorded = bool(files)
        self._run_all(removal.stop)
        kept = []
        for path in [Path(name) for name in files if not Path(name).is_relative_to(LIB)]:
            if purge:
                files[str(path)] = fingerprint(below(self.root, path))
            if not self._remove(path, files):
                kept.append(path)
        for trace in (LIB, *removal.traces) if recorded else removal.traces:
            self._remove_tree(trace)
        for folder in reversed(folders):
            with suppress(OSError):  # not empty: somebody else uses it
                if not self.dry:
                    below(self.root, Path(folder)).rmdir()
        self._run_all(removal.finish)
        if not purge and below(self.root, STATE).exists():
            self.show(f"keep   {STATE}: ports and names of printers, with their owner, {USER}")
            kept.append(STATE)
        if kept:
            self.show("`ippusbd setup --uninstall --purge` removes configuration and state, too")

    # --- one file

    def _write(self, item: File | Link, manifest: Manifest) -> bool:
        """Whether it had to be written."""
        path, name = below(self.root, item.path), str(item.path)
        found, recorded = fingerprint(path), manifest.files.get(name)
        if isinstance(item, Link):
            wanted, content = link_fingerprint(item.target), b""
        else:
            content = item.read()
            wanted = content_fingerprint(content)
        if found == wanted:
            manifest.files[name] = wanted
            return False
        in_program = item.path.is_relative_to(LIB)
        if found not in ("", recorded) and not in_program:
            self.show(f"keep   {name}: changed, or not written by setup; delete it to replace it")
            return False
        if not in_program:
            self.show(f"{'link  ' if isinstance(item, Link) else 'write '} {name}")
        if not self.dry:
            self._make_folders(item.path.parent, manifest)
            _replace(path, item, content)
        manifest.files[name] = wanted
        return True

    def _make_folders(self, folder: Path, manifest: Manifest) -> None:
        missing = []
        while not below(self.root, folder).is_dir():
            missing.append(folder)
            folder = folder.parent
        for each in reversed(missing):
            below(self.root, each).mkdir()
            below(self.root, each).chmod(0o755)
            manifest.folders.append(str(each))

    def _remove(self, path: Path, files: dict[str, str]) -> bool:
        """Whether it is gone: it was as setup wrote it, or was not there."""
        found = fingerprint(below(self.root, path))
        if found not in ("", files[str(path)]):
            self.show(f"keep   {path}: changed since setup wrote it; delete it if it has no use")
            return False
        if found and not path.is_relative_to(LIB):
            self.show(f"remove {path}")
        if not self.dry:
            below(self.root, path).unlink(missing_ok=True)
            del files[str(path)]
        return True

    def _remove_tree(self, path: Path) -> None:
        if below(self.root, path).exists():
            self.show(f"remove {path}/")
            if not self.dry:
                shutil.rmtree(below(self.root, path))

    # --- commands

    def _run_all(self, commands: Iterable[Command]) -> None:
        """Raises IppUsbError with the output of a command that must not fail."""
        for command in commands:
            line = shlex.join(command.argv)
            self.show(f"run    {line}")
            if self.dry or self.run is None:
                continue
            status, output = self.run(command.argv)
            if status != 0 and not command.may_fail:
                raise IppUsbError(f"{line}: exit status {status}: {output}; then run setup again")


def _replace(path: Path, item: File | Link, content: bytes) -> None:
    """As a whole: a program that starts meanwhile reads the old file or the new one."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    if isinstance(item, Link):
        new.symlink_to(item.target)
    else:
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(handle, item.mode)
    new.replace(path)
