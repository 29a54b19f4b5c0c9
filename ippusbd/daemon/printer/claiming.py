"""Claiming a device's interfaces, at the start of a session and again after their release.

At the start an interface is prepared: reset if a quirk asks for it, drained of
stale bytes, and checked when a recovery step is to be judged. When it is claimed
again, nothing of that is needed.

Knows the device, its quirks and its history; leases are the pool's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ippusbd.daemon.process.device_users import holders
from ippusbd.daemon.process.tuning import give_back
from ippusbd.daemon.recovery.history import UNRESPONSIVE, RecoveryHistory
from ippusbd.daemon.recovery.interface_check import Check, OneAtMost, check_interfaces
from ippusbd.daemon.recovery.ladder import QUIET_S, STALE_LIMIT, reset_softly
from ippusbd.errors import (
    DeviceBusy,
    EndpointHalted,
    IppUsbError,
    PrinterSilent,
    TransferTimeout,
)
from ippusbd.kinds import Diagnosis
from ippusbd.model import InterfaceInfo
from ippusbd.quirks.model import Effective
from ippusbd.usbio.protocols import Channel, Pacing, TransferCounts, UsbDevice

log = logging.getLogger("ippusbd.daemon")

LOOK_S = 2.0


class Claimer:
    """A `Claims` for the pool. `label` names the printer in the log.

    `touched` is called with every claim: it may disturb exchanges on other interfaces.
    """

    def __init__(
        self,
        device: UsbDevice,
        quirks: Effective,
        history: RecoveryHistory,
        label: str,
        counts: TransferCounts,
        touched: Callable[[], None],
    ) -> None:
        self._device = device
        self._counts = counts
        self._history = history
        self._quirks = quirks
        self._label = label
        self._touched = touched
        self.adopt(quirks)
        self.lost: list[int] = []  # interfaces that could not be recovered
        self.held: dict[int, Diagnosis] = {}  # by another program at the start
        self._held_by = "another program"
        self._look_again_at = 0.0
        self._wanted = device.interfaces[: quirks.max_interfaces or None]

    def adopt(self, quirks: Effective) -> None:
        """Use the settings of `quirks` for all claims from now on."""
        self._pacing = Pacing(
            read_bytes=quirks.read_bytes,
            write_bytes=quirks.write_bytes,
            write_pause_s=quirks.write_pause_s,
            write_pause_bytes=quirks.write_pause_bytes,
            write_zlp=quirks.write_zlp,
        )

    @property
    def numbers(self) -> list[int]:
        """The interfaces that may be used."""
        return [info.number for info in self._wanted]

    async def claim_all(self) -> list[Channel]:
        """The interfaces that can be claimed, drained; raises if there is none.


        Raises too for one that a rung of the device may recover.
        """
        results = await asyncio.gather(
            *(self._first_claim(info) for info in self._wanted), return_exceptions=True
        )
        channels = [r for r in results if not isinstance(r, BaseException)]
        failures = [r for r in results if isinstance(r, BaseException)]
        for failure in failures:
            if not isinstance(failure, IppUsbError) or not channels:
                raise failure
            if isinstance(failure, UNRESPONSIVE) and not self._history.exhausted:
                raise failure
        for info, result in zip(self._wanted, results, strict=True):
            if isinstance(result, DeviceBusy):
                self.held[info.number] = result.diagnosis
            elif isinstance(result, IppUsbError):
                self.lost.append(info.number)
        for failure in failures:
            log.warning("%s: serving without one interface: %s", self._label, failure)
        return channels

    async def claim(self, number: int) -> Channel:
        info = next(i for i in self._wanted if i.number == number)
        return await self._claim(info)

    async def release(self, channel: Channel) -> None:
        await self._device.release(channel)
        give_back()  # it was idle, or failed: no work goes on here

    async def checked(self, channels: list[Channel], check: Check) -> list[Channel]:
        """The channels that answer; raises unless the last rung helped, or no rung is left."""
        try:
            good = await check_interfaces(channels, check)
        except OneAtMost as exc:
            if self._history.hung_again():
                log.warning("%s: %s; from now on only one is used", self._label, exc)
                self._history.learn("max_interfaces", 1)
            raise
        silent = [channel for channel in channels if channel not in good]
        if not silent:
            self._history.healthy()
        elif not self._history.exhausted:
            raise PrinterSilent(f"interface {silent[0].number} is still unresponsive")
        for channel in silent:
            log.warning("%s: serving without interface %d", self._label, channel.number)
            await self._device.release(channel)
            self.lost.append(channel.number)
        return good

    async def _first_claim(self, info: InterfaceInfo) -> Channel:
        channel = await self._claim(info)
        try:
            if self._quirks.soft_reset_at_start:
                await self._reset_at_start(info)
            stale = await channel.drain(QUIET_S, STALE_LIMIT)
        except IppUsbError:  # if others can be used, nobody else will release it
            await self.release(channel)
            raise
        if stale:
            log.info("interface %d: discarded %d stale bytes", info.number, stale)
        return channel

    async def _reset_at_start(self, info: InterfaceInfo) -> None:
        try:
            await reset_softly(self._device, info, self._quirks.soft_reset)
        except EndpointHalted as exc:
            log.debug("soft reset is not supported: %s", exc)
        except TransferTimeout:
            log.warning("%s: soft reset is harmful and is not used again", self._label)
            self._history.learn("soft_reset", "never")
            raise

    async def _claim(self, info: InterfaceInfo) -> Channel:
        self._touched()
        try:
            return await self._device.claim(info, self._pacing, self._counts)
        except DeviceBusy as exc:
            by = await self._holder()
            raise DeviceBusy(interface=info.number, by=by) from exc

    async def _holder(self) -> str:
        """The programs that hold the device; looked up at most every `LOOK_S`."""
        now = asyncio.get_running_loop().time()
        if now >= self._look_again_at:
            self._look_again_at = now + LOOK_S
            programs = await asyncio.to_thread(holders, self._device.facts.address)
            self._held_by = ", ".join(programs) or "another program"
        return self._held_by
