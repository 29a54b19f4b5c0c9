"""What a slow client has not read yet, so that it never holds an interface.

The printer is read at its own pace. What the client has not taken is kept in memory, up to
MEMORY bytes of an answer, then in a temporary file that never has a name (O_TMPFILE, mode 0600)
and is gone when it is closed. All answers of a printer share a bounded space; when that is used
up, the printer is read at the client's pace.

    put() --room--> memory --more than MEMORY--> file --space used up--> put() waits
    take() <-- memory, then file; a file that was read to its end is emptied

Bytes come out as they went in. An answer of which nothing waits always has room for a piece, so
that none depends on another client. Every decision is one synchronous step; files are read and
written in threads. Where no file can be made, memory alone is used.

Knows asyncio and files; nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

log = logging.getLogger("ippusbd.http")

T = TypeVar("T")

MEMORY: Final = 1 << 20  # of one answer
SHARED_MEMORY: Final = 4 << 20  # of all answers of a printer
FAST_BYTES_S: Final = 32e6  # a client that reads at USB 2's pace costs no file
FAST_S: Final = 0.1  # its first pause
PIECE: Final = 256 * 1024  # taken at once
SMALL: Final = 8 * 1024  # pieces below this are joined: each costs some 100 bytes of its own


class SpoolSpace:
    """What the answers of one printer may use: `file_bytes` of files in `folder`, and memory."""

    def __init__(self, folder: Path | None, file_bytes: int, memory: int = SHARED_MEMORY) -> None:
        self.folder = folder
        self.memory_left = memory
        self.file_left = file_bytes if folder is not None else 0
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def is_short(self) -> bool:
        """An answer waits for space, and its interface with it."""
        return bool(self._waiting)

    async def changed(self, timeout_s: float | None = None) -> None:
        """Wait until some of it may be free, or for `timeout_s`."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await asyncio.wait([waiting], timeout=timeout_s)
        finally:
            self._waiting.discard(waiting)

    def wake(self) -> None:
        """Some of it is free, or an answer is over."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)


class Spool:
    """The bytes of one answer between `put` and `take`, each called by one task."""

    def __init__(self, space: SpoolSpace) -> None:
        self._space = space
        self._pieces: deque[bytes | bytearray] = deque()
        self._in_memory = 0
        self._file: _NamelessFile | None = None
        self._file_fails = False
        self._written = self._read = 0  # in the file
        self._reserved = 0  # of the space, for the file
        self._emptying = False
        self._fast_until = asyncio.get_running_loop().time() + FAST_S
        self._more = asyncio.Event()
        self.is_over = False  # nothing more comes
        self._failure: Exception | None = None
        self._abandoned: Exception | None = None

    # --- the printer's side

    async def put(self, data: bytes) -> None:
        """Keep `data`, when there is room for it. Raises what `abandon` was given."""
        while data:
            if self._abandoned is not None:
                raise self._abandoned
            if self._fits_memory(len(data)):
                self._keep(data)
                return
            may_wait_s = self._fast_until - asyncio.get_running_loop().time()
            if may_wait_s > 0:
                await self._space.changed(may_wait_s)
            elif self._fits_file(len(data)) and await self._write(data):
                return
            elif not self._fits_memory(len(data)):
                await self._space.changed()

    @property
    def is_empty(self) -> bool:
        """All that came was taken."""
        return not self._pieces and self._read == self._written

    def passed(self, size: int) -> None:
        """So many bytes went to the client without being kept."""
        self._fast_until += size / FAST_BYTES_S

    def end(self, failure: Exception | None = None) -> None:
        """Nothing more comes; `failure`: the answer is not complete."""
        self.is_over, self._failure = True, failure
        self._more.set()

    def _keep(self, data: bytes) -> None:
        last = self._pieces[-1] if self._pieces else None
        if len(data) >= SMALL:
            self._pieces.append(data)
        elif isinstance(last, bytearray) and len(last) < 8 * SMALL:
            last += data
        else:
            self._pieces.append(bytearray(data))
        self._in_memory += len(data)
        self._space.memory_left -= len(data)
        self._more.set()

    def _fits_memory(self, size: int) -> bool:
        """What is older than the file's content comes first: it must be empty."""
        if self._written > self._read:
            return False
        fits = self._in_memory + size <= MEMORY and size <= self._space.memory_left
        return fits or not self._in_memory

    def _fits_file(self, size: int) -> bool:
        return not (self._file_fails or self._emptying) and size <= self._space.file_left

    async def _write(self, data: bytes) -> bool:
        self._reserve(len(data))
        try:
            if self._file is None:
                assert self._space.folder is not None
                self._file = _NamelessFile(self._space.folder)
            await self._file.run(_write_all, data, self._written)
        except OSError as exc:
            if self._abandoned is not None:  # and closed: nothing is reserved any more
                return False
            log.warning("slow clients are served from memory only: no temporary file: %s", exc)
            self._file_fails = True
            self._reserve(-len(data))
            return False
        self._written += len(data)
        self._more.set()
        return True

    def _reserve(self, size: int) -> None:
        self._reserved += size
        self._space.file_left -= size

    # --- the client's side

    async def take(self) -> bytes:
        """The next bytes; empty at the end. Raises what `end` was given, and OSError."""
        while True:
            if self._pieces:
                return self._from_memory()
            if self._read < self._written:
                return await self._from_file()
            if self.is_over:
                if self._failure is not None:
                    raise self._failure
                return b""
            self._more.clear()
            await self._more.wait()

    def abandon(self, reason: Exception) -> None:
        """The client takes nothing more: `put` raises `reason`."""
        self._abandoned = reason
        self._space.wake()

    def close(self) -> None:
        """Free everything, after the end or `abandon`. Idempotent."""
        self._space.memory_left += self._in_memory
        self._pieces.clear()
        self._in_memory = 0
        self._reserve(-self._reserved)
        if self._file is not None:
            self._file.close()
        self._space.wake()

    def _from_memory(self) -> bytes:
        data = bytes(self._pieces.popleft())  # bytes as they are are not copied
        self._in_memory -= len(data)
        self.passed(len(data))
        self._space.memory_left += len(data)
        self._space.wake()
        return data

    async def _from_file(self) -> bytes:
        assert self._file is not None
        size = min(PIECE, self._written - self._read)
        data = await self._file.run(os.pread, size, self._read)
        if self._read + len(data) == self._written and self._reserved == self._written:
            self._emptying = True  # read to its end, and nothing is being written
            await self._file.run(os.truncate, 0)
            self._emptying = False
            self._reserve(-self._reserved)
            self._read = self._written = 0
            self._space.wake()
        else:
            self._read += len(data)
        return data


class _NamelessFile:
    """A temporary file without a name; it is opened, and each operation runs, in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fd = -1
        self._closed = False
        self._lock = threading.Lock()  # held while a thread uses the descriptor

    async def run(self, operation: Callable[..., T], *args: object) -> T:
        """`operation(descriptor, *args)`; goes on to its end if the caller is cancelled.

        Raises OSError, also where the file system has no O_TMPFILE.
        """
        return await asyncio.to_thread(self._locked, operation, *args)

    def _locked(self, operation: Callable[..., T], *args: object) -> T:
        with self._lock:
            if self._closed:
                raise OSError("closed")
            if self._fd < 0:
                self._fd = os.open(self._folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            return operation(self._fd, *args)

    def close(self) -> None:
        """At once, or as soon as no thread uses it."""
        if self._lock.acquire(blocking=False):
            self._close()
            self._lock.release()
        else:
            asyncio.get_running_loop().run_in_executor(None, self._close_later)

    def _close_later(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._closed = True
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _write_all(fd: int, data: bytes, offset: int) -> None:
    """A full disk writes a part, and fails then."""
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written
