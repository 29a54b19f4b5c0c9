"""Listening Unix sockets that are opened and closed without losing a client.

A path always names a socket that accepts: it is bound and listening under a
name of its own first, then renamed into place. A socket whose owner died is
replaced, one whose owner runs is not; only connecting distinguishes them, so
every check-then-bind happens under one lock per directory.
Closing is the reverse: the name is removed, then the kernel queues no more
clients, then those already queued are taken out. After that a client either
was accepted or was refused; none is left in a queue.

Knows sockets and files; never what is spoken over them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ippusbd.errors import StateError
from ippusbd.users.ownership import folder_owner, inherit_owner, why

LOCK_NAME: Final = ".ippusbd.lock"
BACKLOG: Final = 128
MAX_PATH: Final = 107  # sun_path of unix(7), less its NUL


class FolderLocked(Exception):
    """Another instance is opening or closing sockets in this directory; try again in a moment."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """The right to bind, replace and remove sockets in `folder`; never waits.

    Raises FolderLocked, or StateError if this user may not.
    """
    path = folder / LOCK_NAME
    try:
        # Mode 0600: a user who can open the file can hold the lock for ever.
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise StateError(f"{path}: {why(exc, path)}") from exc
    try:
        inherit_owner(lock, path)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderLocked(str(folder)) from None
        yield
    finally:
        os.close(lock)


@dataclass(frozen=True, slots=True)
class Bound:
    """A listening socket and its name in the file system."""

    listening: socket.socket
    path: Path
    file: tuple[int, int]  # device and inode: the name may be another's by now
    alias: str = ""  # a second name, see `bind`

    def unlink(self) -> None:
        """Remove the name, if it is still ours."""
        with suppress(OSError):
            if _identity(self.path) == self.file:
                if self.alias:
                    _unlink_link(self.path.with_name(self.alias))
                self.path.unlink()

    def close_and_take_queued(self) -> list[socket.socket]:
        """Remove the name, refuse new clients, close; the connections that were queued."""
        self.unlink()
        # From here on the kernel answers connect() with ECONNREFUSED, also to clients that
        # looked up the name before it was removed.
        self.listening.shutdown(socket.SHUT_RDWR)
        waiting = list(_queued(self.listening))
        self.listening.close()
        return waiting


def bind(path: Path, *, mode: int, gid: int | None, alias: str = "") -> Bound:
    """Listen at `path`, in place of a dead instance's socket. The caller holds the lock.

    `alias` is a symbolic link beside it, for clients that do not accept the name.
    Raises StateError when a live instance listens there, or the path cannot be used.
    """
    if len(os.fsencode(path)) > MAX_PATH - 1:  # one more for the temporary name
        raise StateError(f"{path}: longer than the {MAX_PATH - 1} bytes a socket may have")
    temporary = path.with_name(f"{path.name}~")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _replaceable(path)
        temporary.unlink(missing_ok=True)
        listening.bind(str(temporary))
        temporary.chmod(mode)
        owner, group = folder_owner(path.parent)
        group = group if gid is None else gid
        if (owner, group) != (-1, -1):
            os.chown(temporary, owner, group, follow_symlinks=False)
        listening.listen(BACKLOG)
        listening.setblocking(False)
        file = _identity(temporary)
        if alias:
            _unlink_link(path.with_name(alias))
            path.with_name(alias).symlink_to(path.name)
        temporary.rename(path)
    except OSError as exc:
        listening.close()
        raise StateError(f"{path}: {why(exc, path)}") from exc
    except StateError:
        listening.close()
        raise
    return Bound(listening, path, file, alias)


def is_live(path: Path) -> bool:
    """Whether a process listens at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:  # its queue is full: a busy instance
            return True
        except OSError as exc:
            return exc.errno not in (errno.ECONNREFUSED, errno.ENOENT)
    return True


def _replaceable(path: Path) -> None:
    """Raises StateError unless `path` is free or a dead instance's socket."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise StateError(f"{path}: exists and is not a socket; remove it")
    if is_live(path):
        raise StateError(f"{path}: another instance is listening there")


def _unlink_link(link: Path) -> None:
    """Remove a symbolic link; anything else of that name stays."""
    if link.is_symlink():
        link.unlink()


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _queued(listening: socket.socket) -> Iterator[socket.socket]:
    """Connections that wait to be accepted."""
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:  # EINVAL: shut down and empty
            return
        yield connection
