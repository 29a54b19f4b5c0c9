"""Owners of files, so that a daemon that runs as one user today can run as another tomorrow.

What root creates in the folder of another user belongs to that user: a lock, a state or a socket
of root's own would keep the daemon's user out for good. Root follows no link that the folder's
owner may have placed there.

Knows files and the user database; not what the files contain.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def inherit_owner(fd: int, path: Path) -> None:
    """Give the open file or folder `fd`, which is `path` or will replace it, its proper owner.

    They are those of the file that is replaced; of the folder, where that is not root's.
    """
    model, new = path.parent.stat(), os.fstat(fd)
    with suppress(FileNotFoundError):
        old = path.lstat()
        if stat.S_ISREG(old.st_mode) and (old.st_uid != 0 or model.st_uid == 0):
            model = old
    if (new.st_uid, new.st_gid) == (model.st_uid, model.st_gid):
        return
    with suppress(OSError):  # it is as usable as before to us
        if os.geteuid() != 0:
            os.fchown(fd, -1, model.st_gid)
        elif new.st_uid == 0 and (stat.S_ISDIR(new.st_mode) or new.st_nlink == 1):
            os.fchown(fd, model.st_uid, model.st_gid)


def make_folder(path: Path, mode: int) -> None:
    """Create a folder and its parents where they are missing, each with its proper owner."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    for each in reversed(missing) if os.geteuid() == 0 else ():
        fd = os.open(each, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            inherit_owner(fd, each)
        finally:
            os.close(fd)


def folder_owner(folder: Path) -> tuple[int, int]:
    """Owner and group for what is created in `folder`; -1: unchanged."""
    about = folder.stat()
    if os.geteuid() != 0 or about.st_uid == 0:
        return -1, -1
    return about.st_uid, about.st_gid


def foreign(folder: Path) -> Iterator[Path]:
    """Files in `folder` that its owner may not open, since they belong to another user.

    Raises OSError if the folder cannot be read.
    """
    owner = folder.stat().st_uid
    for path in sorted(folder.iterdir()):
        with suppress(FileNotFoundError):
            if path.lstat().st_uid != owner != 0:
                yield path


def why(exc: OSError, path: Path) -> str:
    """The reason for an error of `path`; with the owner, and the command that mends it."""
    reason = exc.strerror or str(exc)
    if isinstance(exc, PermissionError):
        reached = path if path.exists() else path.parent
        with suppress(OSError):
            owner = reached.stat().st_uid
            if owner != os.geteuid():
                folder = reached if reached.is_dir() else reached.parent
                return (
                    f"{reason}; {reached} belongs to {user_name(owner)}."
                    f" As root: {give(folder, os.geteuid())}"
                )
    return reason


def give(folder: Path, uid: int) -> str:
    """The command that gives a folder and all that is in it to a user."""
    return f"chown -R {user_name(uid)}: {folder}"


def user_name(uid: int) -> str:
    """The user's name, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
