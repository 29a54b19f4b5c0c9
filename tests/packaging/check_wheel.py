"""Builds the wheel and looks into it: all of ippusbd, and nothing else.

The wheel is built from a copy, so that nothing is left in the tree, and by the setuptools of this
environment, so that no network is needed. Then it is unpacked somewhere else and used: commands
start, and data files are found where they were packed.

    python tests/packaging/check_wheel.py
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE")
PACKAGE = "ippusbd"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="wheel-") as folder:
        wheel = build(Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            problems = list(look(archive.namelist(), scripts_of(archive)))
            archive.extractall(Path(folder) / "unpacked")
        problems += use(Path(folder) / "unpacked")
        size_kb = wheel.stat().st_size // 1024
    for problem in problems:
        sys.stdout.write(f"wheel: {problem}\n")
    if not problems:
        sys.stdout.write(f"wheel: {wheel.name}, {size_kb} KB, complete\n")
    return 1 if problems else 0


def build(folder: Path) -> Path:
    """The wheel, built in `folder` from a copy of the sources."""
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if not (ROOT / name).exists():
            raise SystemExit(f"wheel: {name} is missing")
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / PACKAGE, source / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
    done = subprocess.run([*command, source], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise SystemExit(f"wheel: not built\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return wheels[0]


def expected_files() -> set[str]:
    """Every file under ippusbd/: code, types marker and data alike."""
    files = (path for path in (ROOT / PACKAGE).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}


def expected_scripts() -> dict[str, str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        scripts: dict[str, str] = tomllib.load(file)["project"]["scripts"]
    return scripts


def scripts_of(archive: zipfile.ZipFile) -> dict[str, str]:
    """Commands that the wheel installs."""
    names = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
    parser = configparser.ConfigParser(delimiters=("=",))
    for name in names:
        parser.read_string(archive.read(name).decode())
    return dict(parser["console_scripts"]) if parser.has_section("console_scripts") else {}


def look(names: Iterable[str], scripts: dict[str, str]) -> Iterator[str]:
    """What is wrong with the list of files and commands."""
    inside = {name for name in names if ".dist-info/" not in name}
    expected = expected_files()
    for name in sorted(expected - inside):
        yield f"{name} is missing; is its folder in pyproject.toml's packages or package-data?"
    for name in sorted(inside - expected):
        yield f"{name} does not belong in it"
    if scripts != expected_scripts():
        yield f"commands are {scripts}, not {expected_scripts()}"


def use(unpacked: Path) -> Iterator[str]:
    """What goes wrong when the unpacked wheel is used, away from the tree."""
    for target in expected_scripts().values():
        module = target.partition(":")[0]
        yield from _fails(unpacked, "-c", f"import {module} as m; m.{target.partition(':')[2]}")
    yield from _fails(unpacked, "-m", PACKAGE, "--version")
    yield from _fails(unpacked, "-m", PACKAGE, "quirks", "--device", "Pantum M6500", out="pantum")


def _fails(unpacked: Path, *arguments: str, out: str = "") -> Iterator[str]:
    # -P and the folder first on the path: the tree's own package must not be what is imported.
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    done = subprocess.run(
        [sys.executable, "-P", *arguments],
        cwd=unpacked,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        yield f"{' '.join(arguments)}: exit status {done.returncode}: {done.stderr[-500:]}"
    elif out not in done.stdout:
        yield f"{' '.join(arguments)}: {out!r} is not in its output"


if __name__ == "__main__":
    sys.exit(main())
