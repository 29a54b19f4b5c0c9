"""Avahi while it runs, our own multicast DNS while it does not.

Avahi serves every client on the machine and withdraws at once when we die, so it is always
preferred. When it goes it has a moment to come back (a restart takes a second) before
python-zeroconf takes over; when it comes back, zeroconf says goodbye first, so that Avahi does
not find the printer's name taken by ourselves. Where Avahi's configuration disallows other
stacks, zeroconf never takes over: Avahi could not bind its port again.

    UNDECIDED --Avahi runs--> AVAHI --gone for grace_s--> ZEROCONF --Avahi runs--> AVAHI
              --no Avahi there----------------------------> ZEROCONF

Knows the two publishers; nothing of how they announce.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from pathlib import Path

from ippusbd.aio import keep_running
from ippusbd.dnssd.avahi_publisher import AvahiPublisher
from ippusbd.dnssd.switching import SwitchingPublisher
from ippusbd.dnssd.zeroconf_publisher import ZeroconfPublisher

log = logging.getLogger("ippusbd.dnssd")

LOOKING = "looking for Avahi"
AVAHI_CONF = Path("/etc/avahi/avahi-daemon.conf")
NO_OTHERS = re.compile(r"^\s*disallow-other-stacks\s*=\s*(yes|true|on|1)\b", re.I | re.M)


class AutoPublisher(SwitchingPublisher):
    """Announces through Avahi or, where none runs, by zeroconf."""

    def __init__(
        self,
        avahi: AvahiPublisher,
        zeroconf: ZeroconfPublisher,
        *,
        grace_s: float = 2.5,
        avahi_conf: Path = AVAHI_CONF,
    ) -> None:
        """`grace_s`: how long Avahi may be away before zeroconf takes over."""
        super().__init__(LOOKING)
        self._avahi = avahi
        self._zeroconf = zeroconf
        self._grace_s = grace_s
        self._avahi_conf = avahi_conf
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look for Avahi; without one, zeroconf is chosen a moment later."""
        await self._avahi.start()
        self._task = asyncio.create_task(keep_running("choose the announcer", self._choose))

    async def close(self) -> None:
        """Withdraw everything, leave the bus, close the sockets."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await super().close()
        await asyncio.gather(self._avahi.close(), self._zeroconf.close())

    async def _choose(self) -> None:
        while True:
            if self._avahi.server.session is not None:
                self._announce_by(self._avahi)
                await self._avahi.changed()
            elif self.current is self._zeroconf:
                await self._avahi.changed()
            elif await self._comes_back():
                continue
            elif self._avahi_stands_alone():
                log.info("%s disallows other stacks: waiting for Avahi", self._avahi_conf)
                self._announce_by(self._avahi)
                await self._avahi.changed()
            else:
                await self._zeroconf.start()
                self._announce_by(self._zeroconf)

    async def _comes_back(self) -> bool:
        """Wait for Avahi, `grace_s` at most; not at all if there was none from the beginning."""
        if self.current is None and not self._avahi.server.is_there:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace_s):
                while self._avahi.server.session is None:
                    await self._avahi.changed()
                return True
        return False

    def _avahi_stands_alone(self) -> bool:
        try:
            return NO_OTHERS.search(self._avahi_conf.read_text("latin-1")) is not None
        except OSError:  # not installed, or not for us to read
            return False

    def _announce_by(self, publisher: AvahiPublisher | ZeroconfPublisher) -> None:
        if publisher is not self.current:
            log.info("announcing by %s", publisher.kind)
            self.use(publisher)
