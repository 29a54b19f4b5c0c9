"""Listening Unix sockets that come and go without losing a client.

A path always names a socket that accepts: it is bound and listening under a
name of its own first, then renamed into place. A socket whose owner died is
replaced, one whose owner lives is not; the two can be told apart only by
connecting, so every look-then-bind happens under one lock per directory.
Going is the reverse: the name goes, then the kernel is told to queue nobody
more, then those already queued are taken out. After that a client either was
accepted or was refused; none is left waiting for nobody.

Knows sockets and files; never who is served.
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

LOCK_NAME: Final = ".ippusbd.lock"
BACKLOG: Final = 128
MAX_PATH: Final = 107  # sun_path of unix(7), less its NUL


class FolderLocked(Exception):
    """Another instance is binding or leaving in this directory right now; a matter of moments."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Alone to bind, replace and remove sockets in `folder`. Raises Claimed; never waits."""
    # Mode 0600: whoever could open the file could keep everybody out for ever.
    lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
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
        """Take the name away, if it is still ours."""
        with suppress(OSError):
            if _identity(self.path) == self.file:
                if self.alias:
                    _unlink_link(self.path.with_name(self.alias))
                self.path.unlink()

    def close_and_take_queued(self) -> list[socket.socket]:
        """Hide, refuse whoever comes from now on, and give back who is waiting; then closed."""
        self.unlink()
        # From here on the kernel answers connect() with ECONNREFUSED, also to those who had
        # looked the name up before it went.
        self.listening.shutdown(socket.SHUT_RDWR)
        waiting = list(_queued(self.listening))
        self.listening.close()
        return waiting


def bind(path: Path, *, mode: int, gid: int | None, alias: str = "") -> Bound:
    """Listen at `path`, in place of a dead instance's socket. The caller holds the claim.

    `alias` is a symbolic link beside it, for clients that cannot spell the name.
    Raises StateError when a live instance listens there, or the path cannot be used.
    """
    if len(os.fsencode(path)) > MAX_PATH - 1:  # one more for the passing name
        raise StateError(f"{path}: longer than the {MAX_PATH - 1} bytes a socket may have")
    passing = path.with_name(f"{path.name}~")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _replaceable(path)
        passing.unlink(missing_ok=True)
        listening.bind(str(passing))
        passing.chmod(mode)
        if gid is not None:
            os.chown(passing, -1, gid)
        listening.listen(BACKLOG)
        listening.setblocking(False)
        file = _identity(passing)
        if alias:
            _unlink_link(path.with_name(alias))
            path.with_name(alias).symlink_to(path.name)
        passing.rename(path)
    except OSError as exc:
        listening.close()
        raise StateError(f"{path}: {exc.strerror}") from exc
    except StateError:
        listening.close()
        raise
    return Bound(listening, path, file, alias)


def is_live(path: Path) -> bool:
    """Somebody accepts connections at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:  # its queue is full: it lives, and is busy
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
        raise StateError(f"{path}: is in the way, and is not a socket")
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
