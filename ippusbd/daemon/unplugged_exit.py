"""Leaving when no printer is plugged in any more, for a daemon that udev starts again.

A printer that is plugged in while we leave must not be lost. Until systemd hears STOPPING=1 it
takes us for running and udev's wish to start us for fulfilled; so the bus is looked at once more
after that was said, and if a printer is there we end as failed, which has us started again.

Knows the supervisor and its clock; never systemd.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Final

from ippusbd.broker.idle import IdleClock, Sample

if TYPE_CHECKING:
    from ippusbd.daemon.supervisor import Supervisor

log = logging.getLogger("ippusbd.daemon")

START_AGAIN: Final = os.EX_TEMPFAIL  # exit status: Restart=on-failure acts on it


class Unplugged:
    """Sets `stop` when there was no printer for `after_s` seconds; 0: never."""

    def __init__(self, supervisor: Supervisor, after_s: float, stop: asyncio.Event) -> None:
        self._supervisor = supervisor
        self._after_s = after_s
        self._stop = stop
        self._leaving = False

    async def watch(self) -> None:
        """Until `stop` was set, or cancelled."""
        if not self._after_s:
            return
        clock = IdleClock(self._after_s, look=self._sample)
        while not self._leaving:
            await clock.expired()
            await self._supervisor.look()
            self._leaving = clock.is_over()
        log.info("no printer was plugged in for %.3g s: leaving", self._after_s)
        self._stop.set()

    async def status(self) -> int:
        """The exit status, once it was said that we leave."""
        if not self._leaving:
            return 0
        await self._supervisor.look()
        if not self._supervisor.devices():
            return 0
        log.info("a printer was plugged in this very moment: to be started again")
        return START_AGAIN

    def _sample(self) -> Sample:
        return Sample(busy=bool(self._supervisor.devices()), count=0)
