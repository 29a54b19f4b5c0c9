"""The ladder: what is tried, in which order, to make a deaf interface answer again.

    wait -> clear halt -> set alternate setting -> soft reset      this interface
    -> release all and claim again -> USB reset -> give up         the whole device

The waiting is the pool's: it lets an answer stand still for its drain time
before it calls for help. A rung has helped when the printer answers a question
on that very interface; what helped last is tried first. The rungs of the
device end the life of the printer, and stand in `care`; nobody else's exchange
is cut for one interface.

Knows channels and exchanges; where memory is kept is its caller's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from ippusbd.errors import (
    DeviceGone,
    EndpointHalted,
    IppUsbError,
    NoInterface,
    PrinterSilent,
    TransferFailed,
    TransferTimeout,
    UsbError,
)
from ippusbd.exchange.exchange import Exchange, Request, Traffic
from ippusbd.model import InterfaceInfo
from ippusbd.usbio.protocols import Channel, UsbDevice
from ippusbd.wire.ipp_requests import get_printer_attributes

log = logging.getLogger("ippusbd.daemon")

QUIET_S: Final = 0.05  # stale bytes of an unfetched answer come at once, or not at all
STALE_LIMIT: Final = 64 << 20
CUT_S: Final = 1.0  # a head was heard: it lives, whatever becomes of the body
STATUS_PATH: Final = "/ipp/print"


class Rung(Enum):
    """In the order of what they cost; the values stand in the state file."""

    CLEAR_HALT = "clear halt"
    SET_ALTERNATE = "set alternate setting"
    SOFT_RESET = "soft reset"
    RECLAIM = "claim again"
    USB_RESET = "USB reset"

    @property
    def of_device(self) -> bool:
        """It costs every interface its exchange."""
        return self in (Rung.RECLAIM, Rung.USB_RESET)


class Memory(Protocol):
    """What is kept about one device over lives and restarts."""

    @property
    def winner(self) -> Rung | None:
        """What helped last."""

    def won(self, rung: Rung) -> None: ...

    def learn(self, setting: str, value: object) -> None:
        """Keep a quirk setting."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long each rung, and the question after it, may take."""

    clear_halt_s: float = 5.0
    set_alternate_s: float = 8.0
    soft_reset_s: float = 10.0
    answer_s: float = 5.0

    def of(self, rung: Rung) -> float:
        return {
            Rung.CLEAR_HALT: self.clear_halt_s,
            Rung.SET_ALTERNATE: self.set_alternate_s,
            Rung.SOFT_RESET: self.soft_reset_s,
        }[rung]


class Examiner:
    """Asks on a given interface whether the printer lives; any answer will do."""

    def __init__(
        self, *, host: str, connection: str | None, traffic: Traffic, answer_s: float
    ) -> None:
        self._host = host
        self._connection = connection
        self._traffic = traffic
        self._answer_s = answer_s

    async def examine(self, channel: Channel) -> None:
        """Raises PrinterSilent, or what the channel raises, when nothing is answered.

        Afterwards the interface is free, or it raised.
        """
        exchange = Exchange(channel, self._question(), self._traffic, cut_response_s=CUT_S)
        try:
            async with asyncio.timeout(self._answer_s):
                await exchange.answer()
        except TimeoutError:
            raise PrinterSilent(f"no answer in {self._answer_s:g} s") from None
        finally:
            if not exchange.heard:
                await exchange.stop()
        try:
            async with asyncio.timeout(self._answer_s):
                async for _ in exchange.chunks():
                    pass
                await exchange.sent()
        except UsbError:
            raise
        except (TimeoutError, IppUsbError) as exc:
            log.info("interface %d lives, but its answer was cut: %s", channel.number, exc)
            await exchange.stop()
            await channel.reset()
        channel.rest()

    def _question(self) -> Request:
        body = get_printer_attributes(f"ipp://localhost{STATUS_PATH}", ("printer-state",))
        headers = (
            ("Host", self._host),
            ("User-Agent", "ippusbd"),
            ("Content-Type", "application/ipp"),
        )
        return Request("POST", STATUS_PATH, headers, body, connection=self._connection)


async def _unknown() -> bool | None:
    return None


class Ladder:
    """Climbs for one device's interfaces. `soft_reset`: see the quirk of that name.

    `device_may` tells whether the device's own rungs could be taken at once, so that one which
    helped last time need not wait for all the others. `others_answer`: whether the printer
    answers on its other interfaces, None when that cannot be asked.
    """

    def __init__(
        self,
        device: UsbDevice,
        memory: Memory,
        examine: Callable[[Channel], Awaitable[None]],
        *,
        soft_reset: str = "both",
        deadlines: Deadlines | None = None,
        device_may: Callable[[], bool] = lambda: False,
        others_answer: Callable[[], Awaitable[bool | None]] = _unknown,
    ) -> None:
        self._device = device
        self._infos: Mapping[int, InterfaceInfo] = {i.number: i for i in device.interfaces}
        self._memory = memory
        self._examine = examine
        self._soft_reset = soft_reset
        self._deadlines = deadlines or Deadlines()
        self._device_may = device_may
        self._others_answer = others_answer
        self._accepted: list[str] = []  # the recipients of the last soft reset

    async def recover(self, channel: Channel, reason: IppUsbError) -> None:
        """Make the interface answer again; raises DeviceGone, or NoInterface when nothing helped.

        Cures that cost the device are the caller's next step.
        """
        number = channel.number
        for rung in self._order(reason):
            try:
                if rung is Rung.SOFT_RESET:
                    await self._soft_reset_rung(channel)
                else:
                    await self._climb(rung, channel)
            except DeviceGone:
                raise
            except IppUsbError as exc:
                log.info("interface %d: %s did not help: %s", number, rung.value, exc)
                continue
            log.info("interface %d: answers again after: %s", number, rung.value)
            self._memory.won(rung)
            return
        raise NoInterface(f"interface {number} is deaf: {reason}")

    def _order(self, reason: IppUsbError) -> list[Rung]:
        """The rungs of an interface, the last winner first."""
        winner = self._memory.winner
        if winner is not None and winner.of_device and self._device_may():
            return []
        rungs = [Rung.SET_ALTERNATE]
        # Nothing but a transfer's failure hints at a halt; and a question that follows half a
        # document, with no change of setting between them, would be taken for a part of it.
        if isinstance(reason, EndpointHalted):
            rungs.insert(0, Rung.CLEAR_HALT)
        if self._soft_reset != "never":
            rungs.append(Rung.SOFT_RESET)
        return sorted(rungs, key=lambda rung: rung is not winner)  # stable

    async def _climb(self, rung: Rung, channel: Channel) -> None:
        deadline_s = self._deadlines.of(rung)
        try:
            async with asyncio.timeout(deadline_s):
                await self._cure(rung, channel)
                stale = await channel.drain(QUIET_S, STALE_LIMIT)
        except TimeoutError:
            raise TransferTimeout(f"not over in {deadline_s:g} s") from None
        if stale:
            log.info("interface %d: threw away %d stale bytes", channel.number, stale)
        await self._examine(channel)

    async def _cure(self, rung: Rung, channel: Channel) -> None:
        if rung is Rung.CLEAR_HALT:
            await channel.clear_halt()
            return
        if rung is Rung.SOFT_RESET:
            self._accepted += await self._reset_softly(self._infos[channel.number])
        await channel.reset()

    # --- soft reset, which may do harm

    async def _soft_reset_rung(self, channel: Channel) -> None:
        """A printer that is worse off after it gets it never again."""
        before = await self._signs_of_life()
        self._accepted.clear()
        try:
            await self._climb(Rung.SOFT_RESET, channel)
        except DeviceGone:
            raise
        except IppUsbError as exc:
            if self._soft_reset != "never" and before - await self._signs_of_life():
                self._never_again(exc)
            raise
        if self._soft_reset == "both" and len(self._accepted) == 1:
            self._soft_reset = self._accepted[0]
            self._memory.learn("soft_reset", self._soft_reset)

    async def _signs_of_life(self) -> set[str]:
        """What of the printer works but for the deaf interface."""
        signs = set()
        if await self._others_answer():
            signs.add("other interfaces")
        try:
            async with asyncio.timeout(self._deadlines.answer_s):
                await self._device.port_status()
            signs.add("control requests")
        except DeviceGone:
            raise
        except (TimeoutError, IppUsbError) as exc:
            log.debug("no port status: %s", exc)
        return signs

    async def _reset_softly(self, info: InterfaceInfo) -> tuple[str, ...]:
        """Who accepted it; a printer that does not even answer the request is made worse by it."""
        if self._soft_reset == "never":  # found out meanwhile, on another interface
            raise TransferFailed("soft reset does harm")
        try:
            return await reset_softly(self._device, info, self._soft_reset)
        except TransferTimeout as exc:
            self._never_again(exc)
            raise

    def _never_again(self, reason: IppUsbError) -> None:
        log.warning("soft reset makes this printer worse; never again: %s", reason)
        self._soft_reset = "never"
        self._memory.learn("soft_reset", "never")


async def reset_softly(device: UsbDevice, info: InterfaceInfo, how: str) -> tuple[str, ...]:
    """SOFT_RESET as the quirk says; the recipients that accepted it.

    One may be refused by firmware that wants the other. Raises what the last recipient's request
    raised, if none was accepted.
    """
    refusal: UsbError | None = None
    accepted = []
    for recipient in ("interface", "other"):
        if how in (recipient, "both"):
            try:
                await device.soft_reset(info, recipient_other=recipient == "other")
                accepted.append(recipient)
            except EndpointHalted as exc:
                refusal = exc
    if refusal is not None and not accepted:
        raise refusal
    return tuple(accepted)
