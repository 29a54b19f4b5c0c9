"""The daemon in a process of its own (`soak.daemon`), virtual printers in this one."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from soak.gauge import Held
from support.remote_bus import BusServer

from ippusbd.virtual.usb.backend import VirtualBackend

LINE_BYTES = 16 << 20
STOP_S = 90.0  # the daemon waits a minute for the answer to a document
FOLDERS = '[daemon]\nstate_dir = "{0}/state"\nruntime_dir = "{0}/run"\n'


class Apart:
    """A daemon whose bus and runtime directory are in `folder`; `report` comes with its end."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.control = folder / "run" / "control.sock"
        self.process = process
        self.report: dict[str, Any] = {}

    async def measure(self) -> Held:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        return Held(**await self._line())

    async def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return line

    async def listens(self) -> None:
        while not self.control.exists():
            await asyncio.sleep(0.05)
            assert self.process.returncode is None

    async def stop(self) -> None:
        """By a signal, as systemd does it."""
        self.process.terminate()
        async with asyncio.timeout(STOP_S):
            self.report = await self._line()
            assert await self.process.wait() == 0


@asynccontextmanager
async def daemon_apart(
    folder: Path, backend: VirtualBackend, settings: str
) -> AsyncIterator[Apart]:
    """It listens; `settings` follow its folders in the section [daemon] of its configuration."""
    (folder / "ippusbd.conf").write_text(FOLDERS.format(folder) + settings)
    bus = BusServer(backend, folder)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "soak.daemon", folder / "ippusbd.conf"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
    )
    try:
        apart = Apart(folder, process)
        await apart.listens()
        yield apart
        await apart.stop()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        bus.close()
