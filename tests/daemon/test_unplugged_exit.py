"""A daemon started by udev exits after the last printer is unplugged, and never misses one."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from support.daemon import run_daemon

from ippusbd.daemon.unplugged_exit import RESTART, Unplugged
from ippusbd.virtual.printer import VirtualPrinter


async def test_the_daemon_runs_while_a_printer_is_there_and_exits_after_the_last_one(
    tmp_path: Path,
) -> None:
    printer = VirtualPrinter()
    stop = asyncio.Event()
    try:
        async with run_daemon(printer, state_path=tmp_path / "state.json") as daemon:
            unplugged = Unplugged(daemon.supervisor, 0.3, stop)
            watching = asyncio.create_task(unplugged.watch())
            await asyncio.sleep(0.6)  # twice the time, with a printer
            assert not stop.is_set()

            printer.device.unplug()
            gone = time.monotonic()
            async with asyncio.timeout(20):
                await stop.wait()
            assert time.monotonic() - gone >= 0.3
            assert await unplugged.status() == 0
            await watching
    finally:
        printer.close()


async def test_a_printer_plugged_in_during_the_exit_restarts_the_daemon(tmp_path: Path) -> None:
    printer = VirtualPrinter()
    stop = asyncio.Event()
    try:
        async with run_daemon(printer, state_path=tmp_path / "state.json") as daemon:
            printer.device.unplug()
            unplugged = Unplugged(daemon.supervisor, 0.1, stop)
            async with asyncio.timeout(20):
                await unplugged.watch()
            printer.device.plug()
            assert await unplugged.status() == RESTART
    finally:
        printer.close()


async def test_without_a_configured_time_it_never_exits(tmp_path: Path) -> None:
    stop = asyncio.Event()
    async with run_daemon(state_path=tmp_path / "state.json") as daemon:
        unplugged = Unplugged(daemon.supervisor, 0.0, stop)
        await unplugged.watch()
        assert not stop.is_set()
        assert await unplugged.status() == 0
