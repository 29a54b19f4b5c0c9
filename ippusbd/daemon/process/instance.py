"""One daemon at a time: the lock file, and waiting for a predecessor that is still leaving.

Clients of a daemon that runs on demand start the next one as soon as the sockets of the last one
are gone, while that one still releases its devices; the lock is free when it has ended.

Knows the lock and the configuration.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Final

from ippusbd.config import Config
from ippusbd.daemon.state.files import make_directory
from ippusbd.errors import StateError
from ippusbd.users.ownership import inherit_owner, why

PAUSE_S: Final = 0.05
LEAVING_S: Final = 5.0  # the last steps of a daemon that stops, beyond its grace time


@contextmanager
def only_instance(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; the kernel releases it when this process ends.

    Raises StateError that names the process that holds it.
    """
    make_directory(path.parent)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        inherit_owner(handle, path)
    except OSError as exc:
        raise StateError(f"cannot open {path}: {why(exc, path)}") from exc
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            pid = os.read(handle, 20).decode("ascii", "replace").strip()
            raise StateError(
                f"ippusbd is already running: process {pid or '?'} holds {path}"
            ) from exc
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)  # the file stays: if it were unlinked, two processes could hold a lock


async def become_only_instance(stack: AsyncExitStack, path: Path, config: Config) -> None:
    """Enter `only_instance(path)`; a daemon that runs on demand waits for its predecessor's end."""
    loop = asyncio.get_running_loop()
    patience_s = config.grace_s + LEAVING_S if config.idle_exit_s else 0.0
    deadline_s = loop.time() + patience_s
    while True:
        try:
            stack.enter_context(only_instance(path))
            return
        except StateError:
            if loop.time() >= deadline_s:
                raise
        await asyncio.sleep(PAUSE_S)
