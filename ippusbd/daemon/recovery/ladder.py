"""The ladder: what is tried, in which order, to make an unresponsive printer answer again.

All recovery steps, of interfaces and of the device, stand in one table (`RUNGS`), in the order
of what they cost. A rung of an interface has helped when the printer answers a question on
that very interface; the one that helped last is tried first. A rung of the device ends the
session, and the next session judges it; nobody else's exchange is cut for one interface.

Knows channels, the device and a question; its caller keeps the memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from ippusbd.errors import (
    DeviceGone,
    EndpointHalted,
    IppUsbError,
    NoInterface,
    NotAsked,
    PrinterError,
    PrinterSilent,
    TransferFailed,
    TransferTimeout,
    UsbError,
)
from ippusbd.exchange.query import Query
from ippusbd.kinds import Kind
from ippusbd.model import DeviceFacts, InterfaceInfo
from ippusbd.usbio.protocols import Channel, UsbDevice, UsbHost

log = logging.getLogger("ippusbd.daemon")

QUIET_S: Final = 0.05  # stale bytes of an unfetched answer come at once, or not at all
STALE_LIMIT: Final = 64 << 20
ANSWER_S: Final = 5.0  # of the port status
CONTROL: Final = "control requests"  # a sign of life


class Rung(Enum):
    """The values stand in the state file."""

    CLEAR_HALT = "clear halt"
    SET_ALTERNATE = "set alternate setting"
    SOFT_RESET = "soft reset"
    RECLAIM = "claim again"
    USB_RESET = "USB reset"


@dataclass(frozen=True, slots=True)
class Step:
    """A rung: what it may cost, and how long it may take before its question.

    Rungs of an interface have an `on_interface` action, those of the device an `on_device` one.
    """

    rung: Rung
    costs: str
    deadline_s: float
    on_interface: Callable[[Ladder, Channel], Awaitable[None]] | None = None
    on_device: Callable[[UsbHost, DeviceFacts], Awaitable[None]] | None = None


async def _clear_halt(_: Ladder, channel: Channel) -> None:
    await channel.clear_halt()


async def _set_alternate(_: Ladder, channel: Channel) -> None:
    await channel.reset()


async def _soft_reset(ladder: Ladder, channel: Channel) -> None:
    await ladder.soft_reset(channel)
    await channel.reset()


async def _claim_again(_: UsbHost, __: DeviceFacts) -> None:
    """The next session does."""


async def _usb_reset(host: UsbHost, facts: DeviceFacts) -> None:
    with suppress(UsbError):
        device = await host.open(facts)
        try:
            await device.reset()
        finally:
            await device.close()


RUNGS: Final = (
    Step(Rung.CLEAR_HALT, "the exchange on it", 5.0, on_interface=_clear_halt),
    Step(Rung.SET_ALTERNATE, "the exchange on it", 8.0, on_interface=_set_alternate),
    Step(Rung.SOFT_RESET, "on some printers every job", 10.0, on_interface=_soft_reset),
    Step(Rung.RECLAIM, "every exchange", 0.0, on_device=_claim_again),
    Step(Rung.USB_RESET, "every exchange and job", 0.0, on_device=_usb_reset),
)
STEPS: Final[Mapping[Rung, Step]] = {step.rung: step for step in RUNGS}
DEVICE_RUNGS: Final = tuple(step.rung for step in RUNGS if step.on_device is not None)


async def take(rung: Rung, host: UsbHost, facts: DeviceFacts) -> None:
    """Take a rung of the device, while no session holds the device."""
    action = STEPS[rung].on_device
    assert action is not None
    await action(host, facts)


class Memory(Protocol):
    """What is kept about one device over sessions and restarts."""

    @property
    def winner(self) -> Rung | None:
        """What helped last."""

    def won(self, rung: Rung) -> None: ...

    def learn(self, setting: str, value: object) -> None:
        """Keep a quirk setting."""


def _nobody() -> str:
    return ""


class Ladder:
    """Recovers one device's interfaces. `how`: see the quirk `soft_reset`.

    `answer_s`: how long the question after a rung may take. `device_may`: whether the device's
    own rungs could be taken at once, so that one which helped last time need not wait for all
    the others. `at_work`: why nothing may be done that harms other interfaces. `touched` is called
    with every rung: it may disturb them.
    """

    def __init__(
        self,
        device: UsbDevice,
        memory: Memory,
        query: Query,
        *,
        answer_s: float,
        touched: Callable[[], None],
        how: str = "both",
        device_may: Callable[[], bool] = lambda: False,
        at_work: Callable[[], str] = _nobody,
    ) -> None:
        self._device = device
        self._infos: Mapping[int, InterfaceInfo] = {i.number: i for i in device.interfaces}
        self._memory = memory
        self._query = query
        self._answer_s = answer_s
        self._how = how
        self._device_may = device_may
        self._at_work = at_work
        self._touched = touched
        self._accepted: list[str] = []  # the recipients of the last soft reset
        self._answers_control = False  # before it

    async def recover(self, channel: Channel, reason: IppUsbError) -> None:
        """Make the interface answer again; raises DeviceGone, or NoInterface when nothing helped.

        Rungs of the device are the caller's next step.
        """
        number = channel.number
        for step in self._order(reason):
            try:
                if step.rung is Rung.SOFT_RESET:
                    await self._try_soft_reset(step, channel)
                else:
                    await self._climb(step, channel)
            except DeviceGone:
                raise
            except IppUsbError as exc:
                log.info("interface %d: %s did not help: %s", number, step.rung.value, exc)
                continue
            log.info("interface %d: answers again after: %s", number, step.rung.value)
            self._memory.won(step.rung)
            return
        raise NoInterface(f"interface {number} is unresponsive: {reason}", kind=Kind.SILENT)

    def _order(self, reason: IppUsbError) -> list[Step]:
        """The rungs of an interface, the last winner first."""
        winner = self._memory.winner
        if winner in DEVICE_RUNGS and self._device_may():
            return []
        skipped = set()
        # Only a transfer's failure hints at a halt; and a question that follows half a document,
        # with no change of setting between them, would be taken for a part of it.
        if not isinstance(reason, EndpointHalted):
            skipped.add(Rung.CLEAR_HALT)
        if self._how == "never":
            skipped.add(Rung.SOFT_RESET)
        steps = [step for step in RUNGS if step.on_interface and step.rung not in skipped]
        return sorted(steps, key=lambda step: step.rung is not winner)  # stable

    async def _climb(self, step: Step, channel: Channel) -> None:
        assert step.on_interface is not None
        self._touched()
        try:
            async with asyncio.timeout(step.deadline_s):
                await step.on_interface(self, channel)
                stale = await channel.drain(QUIET_S, STALE_LIMIT)
        except TimeoutError:
            raise TransferTimeout(f"not finished in {step.deadline_s:g} s") from None
        if stale:
            log.info("interface %d: discarded %d stale bytes", channel.number, stale)
        await self._query.check(channel, self._answer_s)

    # --- soft reset, which may be harmful

    async def _try_soft_reset(self, step: Step, channel: Channel) -> None:
        """A printer that works worse after a soft reset never gets another."""
        work = self._at_work()
        if work:
            raise TransferFailed(f"a soft reset may end a job, and {work}")
        before = await self._signs_of_life()
        self._answers_control = CONTROL in before
        self._accepted.clear()
        try:
            await self._climb(step, channel)
        except DeviceGone:
            raise
        except IppUsbError as exc:
            if self._how != "never" and before - await self._signs_of_life(unasked=True):
                self._never_again(exc)
            raise
        if self._how == "both" and len(self._accepted) == 1:
            self._how = self._accepted[0]
            self._memory.learn("soft_reset", self._how)

    async def _signs_of_life(self, *, unasked: bool = False) -> set[str]:
        """What works beside the unresponsive interface; `unasked`: also what cannot be asked."""
        signs = set()
        if await self._others_answer(unasked=unasked):
            signs.add("other interfaces")
        try:
            async with asyncio.timeout(ANSWER_S):
                with suppress(EndpointHalted):  # a refusal is an answer, too
                    await self._device.port_status()
            signs.add(CONTROL)
        except DeviceGone:
            raise
        except (TimeoutError, IppUsbError) as exc:
            log.debug("no port status: %s", exc)
        return signs

    async def _others_answer(self, *, unasked: bool) -> bool:
        """Whether the printer answers on an interface that is free; `unasked`: if none is."""
        if not self._query.could_ask:
            return unasked
        try:
            await self._query.state(answer_s=self._answer_s)
        except DeviceGone:
            raise
        except NotAsked:
            return unasked
        except (PrinterSilent, UsbError):
            return False
        except PrinterError as exc:
            log.debug("an answer, though an error: %s", exc)
        return True

    async def soft_reset(self, channel: Channel) -> None:
        """The rung's request; to a printer that answers others and not this one, it is harmful."""
        if self._how == "never":  # learned meanwhile, on another interface
            raise TransferFailed("a soft reset is harmful")
        info = self._infos[channel.number]
        try:
            self._accepted += await reset_softly(self._device, info, self._how)
        except TransferTimeout as exc:
            if self._answers_control:
                self._never_again(exc)
            raise

    def _never_again(self, reason: IppUsbError) -> None:
        log.warning("a soft reset is harmful to this printer and is not used again: %s", reason)
        self._how = "never"
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
