"""Many clients at once, and what they cost the process that serves them."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from support.daemon import InProcessDaemon, run_daemon
from support.http_client import Connection, connected

from ippusbd.virtual.printer import VirtualPrinter

WANTED_FILES = 4096


def allow_many_files() -> None:
    """Both ends of a thousand connections are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < WANTED_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(WANTED_FILES, hard), hard))


def files() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- counts only


def rss_mib() -> float:
    """Resident memory of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


@asynccontextmanager
async def one_printer(
    state_path: Path, *, interfaces: int = 1, **settings: Any
) -> AsyncIterator[tuple[VirtualPrinter, InProcessDaemon]]:
    """A daemon with one virtual printer, both ended with the block."""
    printer = VirtualPrinter(interfaces=interfaces)
    try:
        async with run_daemon(printer, state_path=state_path, **settings) as daemon:
            yield printer, daemon
    finally:
        printer.close()


@asynccontextmanager
async def crowd(port: int, size: int) -> AsyncIterator[list[Connection]]:
    """`size` connections at once."""
    async with AsyncExitStack() as stack:
        connections = []
        for _ in range(size):
            connections.append(await stack.enter_async_context(connected(port)))
        yield connections


def has_ended(connection: Connection) -> bool:
    """The server has closed it, whatever it said before."""
    return connection.reader._eof or connection.reader.exception() is not None  # type: ignore[attr-defined,no-any-return]


async def drip(connection: Connection, data: bytes, pause_s: float) -> None:
    """Send `data` byte by byte, until it is all said or nobody listens."""
    with suppress(ConnectionError):
        for byte in data:
            await connection.send(bytes([byte]))
            await asyncio.sleep(pause_s)
