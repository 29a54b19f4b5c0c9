"""Folders and files that survive a crash at any moment.

A file is replaced as a whole: whoever reads it sees the old content or the new, never a part.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from ippusbd.errors import StateError


def make_directory(path: Path) -> None:
    """Create the directory if it is missing, private to the user. Raises StateError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise StateError(f"cannot create {path}: {exc.strerror}") from exc


def replace_file(path: Path, content: bytes) -> None:
    """Replace `path` atomically: new file (mode 0600), fsync, rename, fsync of the directory."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError:
        with suppress(OSError):
            Path(name).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
