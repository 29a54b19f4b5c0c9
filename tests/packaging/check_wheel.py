"""Builds sdist and wheel and checks that they contain all of ippusbd, and nothing else.

They are built from a copy, so that nothing is left in the tree, the wheel from the sdist, and by
the setuptools of this environment, so that no network is needed. Then the wheel is installed as
`pip install` and `pipx run` do it, in an environment of its own, and used: commands start, and data
files are found where they were packed. Only its dependencies come from this environment.

    python tests/packaging/check_wheel.py
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE")
PACKAGE = "ippusbd"
SHIPPED = "packaging"  # in the wheel as a folder of the package: `ippusbd setup` installs from it


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="wheel-") as folder:
        sdist, wheel = build(Path(folder))
        with tarfile.open(sdist) as archive:
            problems = list(look_at_sdist(archive.getmembers()))
        with zipfile.ZipFile(wheel) as zipped:
            problems += look(zipped.namelist(), scripts_of(zipped))
        problems += use(installed(wheel, Path(folder) / "clean"))
        size_kb = wheel.stat().st_size // 1024
    for problem in problems:
        sys.stdout.write(f"wheel: {problem}\n")
    if not problems:
        sys.stdout.write(f"wheel: {wheel.name}, {size_kb} KB, complete\n")
    return 1 if problems else 0


def build(folder: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that is made of it, built in `folder` from a copy of the sources."""
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if not (ROOT / name).exists():
            raise SystemExit(f"wheel: {name} is missing")
        shutil.copy(ROOT / name, source / name)
    for name in (PACKAGE, SHIPPED):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder]
    done = subprocess.run([*command, source], capture_output=True, text=True, check=False)
    wheels, sdists = list(folder.glob("*.whl")), list(folder.glob("*.tar.gz"))
    if done.returncode != 0 or len(wheels) != 1 or len(sdists) != 1:
        raise SystemExit(f"wheel: not built\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return sdists[0], wheels[0]


def expected_files() -> set[str]:
    """Every file under ippusbd/: code, types marker and data alike."""
    files = (path for path in (ROOT / PACKAGE).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}


def shipped_files() -> set[str]:
    """What pyproject.toml names of packaging/."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        data = tomllib.load(file)["tool"]["setuptools"]["package-data"]
    folder = ROOT / SHIPPED
    found = (path for pattern in data[f"{PACKAGE}.{SHIPPED}"] for path in folder.glob(pattern))
    return {str(path.relative_to(ROOT)) for path in found}


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
    expected = expected_files() | {f"{PACKAGE}/{name}" for name in shipped_files()}
    for name in sorted(expected - inside):
        yield f"{name} is missing; is its folder in pyproject.toml's packages or package-data?"
    for name in sorted(inside - expected):
        yield f"{name} does not belong in it"
    if scripts != expected_scripts():
        yield f"commands are {scripts}, not {expected_scripts()}"


def look_at_sdist(members: Iterable[tarfile.TarInfo]) -> Iterator[str]:
    """What is wrong with the files of the source distribution."""
    files = {member.name.partition("/")[2] for member in members if member.isfile()}
    expected = expected_files() | shipped_files() | set(SOURCES) | {"PKG-INFO", "setup.cfg"}
    for name in sorted(expected - files):
        yield f"{name} is missing in the sdist"
    for name in sorted(files - expected):
        if not name.startswith(f"{PACKAGE}.egg-info/"):
            yield f"{name} does not belong in the sdist"


def installed(wheel: Path, environment: Path) -> Path:
    """An environment with the wheel in it, and what it depends on behind it on the path."""
    venv.create(environment, symlinks=True)
    python = environment / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    options = ["--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "install", *options, str(wheel)], check=True)
    site = next(environment.glob("lib/python*/site-packages"))
    # Folders that a .pth names are searched, but their own .pth files, which lead to the tree, not.
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


def use(environment: Path) -> Iterator[str]:
    """What goes wrong when the installed commands are used, away from the tree."""
    for name in expected_scripts():
        yield from _fails(environment, name, "--help", out="usage")
    yield from _fails(environment, PACKAGE, "--version")
    yield from _fails(environment, PACKAGE, "quirks", "--device", "Pantum M6500", out="pantum")
    for init in ("systemd", "openrc", "runit", "sysvinit"):
        image = ("--root", str(environment), "--init", init)
        yield from _fails(environment, PACKAGE, "setup", "--dry-run", *image, out="libraries")
    where = f"import {PACKAGE}; print({PACKAGE}.__file__)"
    yield from _fails(environment, "python", "-Pc", where, out=str(environment))
    yield from _fails(
        environment, "python", "-Pc", f"import {PACKAGE}.daemon.service, aiohttp, usb"
    )


def _fails(environment: Path, *arguments: str, out: str = "") -> Iterator[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [environment / "bin" / arguments[0], *arguments[1:]],
        cwd=environment,
        env=clean,
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
