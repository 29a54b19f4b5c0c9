"""Folders and files that survive a crash at any moment.

A file is replaced as a whole: whoever reads it sees the old content or the new, never a part.
It keeps its owner, group and mode.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from ippusbd.errors import StateError
from ippusbd.users.ownership import inherit_owner, make_folder, why


def make_directory(path: Path, mode: int = 0o700) -> None:
    """Create the directory if it is missing, by default private to the user. Raises StateError."""
    try:
        make_folder(path, mode)
    except OSError as exc:
        raise StateError(f"cannot create {path}: {why(exc, path)}") from exc


def replace_file(path: Path, content: bytes, new_mode: int = 0o600) -> None:
    """Replace `path` atomically: new file, fsync, rename, fsync of the directory.

    A file that was not there has the mode `new_mode`.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            inherit_owner(handle, path)
            os.fchmod(handle, new_mode)
            with suppress(FileNotFoundError):
                os.fchmod(handle, stat.S_IMODE(path.lstat().st_mode) & 0o666)
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
