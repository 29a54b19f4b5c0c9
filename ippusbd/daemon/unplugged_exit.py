"""Exit when no printer is plugged in any more, for a daemon that udev starts again.

A printer that is plugged in during the exit must not be lost. Until systemd receives STOPPING=1 it
regards the service as running and ignores udev's request to start it. So the bus is enumerated
again after that; if a printer is there, the exit status is a failure, and systemd restarts us.

Knows the supervisor and the idle clock; not systemd.
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

RESTART: Final = os.EX_TEMPFAIL  # exit status on which Restart=on-failure acts


class Unplugged:
    """Sets `stop` when no printer was plugged in for `after_s` seconds; 0: never."""

    def __init__(self, supervisor: Supervisor, after_s: float, stop: asyncio.Event) -> None:
        self._supervisor = supervisor
        self._after_s = after_s
        self._stop = stop
        self._leaving = False

    async def watch(self) -> None:
        """Return when `stop` was set; until then, or until cancelled, watch."""
        if not self._after_s:
            return
        clock = IdleClock(self._after_s, look=self._sample)
        while not self._leaving:
            await clock.expired()
            await self._supervisor.look()
            self._leaving = clock.is_over()
        log.info("no printer plugged in for %.3g s: exiting", self._after_s)
        self._stop.set()

    async def status(self) -> int:
        """The exit status; called after systemd was notified of the stop."""
        if not self._leaving:
            return 0
        await self._supervisor.look()
        if not self._supervisor.devices():
            return 0
        log.info("a printer was plugged in during the exit: restarting")
        return RESTART

    def _sample(self) -> Sample:
        return Sample(busy=bool(self._supervisor.devices()), count=0)
