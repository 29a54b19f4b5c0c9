"""The program that the service runs: a copy of this one, with the libraries that it uses.

An environment of pipx or a source tree is usually in a home directory, where the service, a user of
its own in a sandbox, cannot read, and where somebody who is not root can write. The copy has the
layout of the Debian package's private environment.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from ippusbd import __version__
from ippusbd.errors import IppUsbError

NAME: Final = "ippusbd"
EXTRAS: Final = ("virtual", "share")  # copied where they are installed
HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))  # what ProtectHome= hides


def packaging_folder() -> Path:
    """The files to install: inside the package, or beside it in a source tree."""
    package = Path(__file__).parents[1]
    inside = package / "packaging"
    return inside if inside.is_dir() else package.parent / "packaging"


def interpreter(running: Path | None = None, system: Path = Path("/usr/bin")) -> Path:
    """The Python that the service can start: this one, or the system's of the same version.

    Raises IppUsbError if there is none outside home directories.
    """
    python = running or Path(sys.executable).resolve()
    if not any(python.is_relative_to(home) for home in HOMES):
        return python
    same = system / f"python{sys.version_info.major}.{sys.version_info.minor}"
    if not same.exists():
        raise IppUsbError(
            f"a service cannot use {python}, which is in a home directory: install ippusbd with "
            "the system's Python, like: pipx reinstall --python /usr/bin/python3 ippusbd"
        )
    return same


def files() -> Iterator[tuple[str, Path | bytes]]:
    """Every file of the copy: its path there, and where it comes from or its content."""
    package = Path(__file__).parents[1]
    shipped = packaging_folder()
    folders = {NAME: package}
    if not shipped.is_relative_to(package):
        folders[f"{NAME}/packaging"] = shipped
    for name, folder in folders.items():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{name}/{path.relative_to(folder)}", path
    own = _distribution(NAME)
    if own is None:
        raise IppUsbError("ippusbd is not installed: pipx install ippusbd, or make venv")
    # So that the copy can be the source of the next one.
    yield (
        f"vendor/{NAME}-{__version__}.dist-info/METADATA",
        (own.read_text("METADATA") or "").encode(),
    )
    for library in _libraries(own):
        for file in library.files or ():
            path = Path(str(file.locate()))
            if ".." not in file.parts and "__pycache__" not in file.parts and path.is_file():
                yield f"vendor/{file}", path


def _libraries(own: Distribution) -> list[Distribution]:
    """What `own` needs, directly or not, as far as it is installed."""
    found: dict[str, Distribution] = {}
    waiting = _required(own, EXTRAS)
    while waiting:
        name = waiting.pop()
        library = None if name in found or name == NAME else _distribution(name)
        # A library of the distribution has no RECORD: it stays where every program finds it.
        if library is not None and library.read_text("RECORD") is not None:
            found[name] = library
            waiting += _required(library, ())
    return [found[name] for name in sorted(found)]


def _required(one: Distribution, extras: tuple[str, ...]) -> list[str]:
    """Names of what `one` requires, always or for one of `extras`."""
    names = []
    for line in one.requires or ():
        extra = re.search(r"""extra\s*==\s*['"]([^'"]+)""", line)
        name = re.match(r"[\w.-]+", line)
        if name and (extra is None or extra[1] in extras):
            names.append(re.sub(r"[-_.]+", "-", name[0]).lower())
    return names


def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None
