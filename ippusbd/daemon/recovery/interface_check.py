"""The examination after a cure: which interfaces answer, alone and together.

Firmware exists that hangs as soon as two interfaces are in use. So they are
asked one after the other first, then all at once: when one more question makes
all of them silent, the device is to be used through one interface only.

Knows channels, the pool and a question; nothing of what follows from the findings.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from ippusbd.daemon.printer.probe import Asker
from ippusbd.errors import DeviceGone, IppUsbError, NoInterface, PrinterSilent, UsbError
from ippusbd.usbio.pool import InterfacePool
from ippusbd.usbio.protocols import Channel

log = logging.getLogger("ippusbd.daemon")

Examine = Callable[[Channel], Awaitable[None]]


class OneAtMost(PrinterSilent):
    """It answers through one interface, and is silent on all once a second one is used."""


async def examined(channels: Sequence[Channel], examine: Examine) -> list[Channel]:
    """The channels that answer; the others need a reset.

    Raises PrinterSilent when none does, OneAtMost, DeviceGone.
    """
    first = await _first_that_answers(channels, examine)
    good = [first]
    for channel in channels:
        if channel is first:
            continue
        if await _answers(channel, examine):
            good.append(channel)
        elif not await _answers(first, examine):
            raise OneAtMost("using a second interface makes it silent on all")
    if len(good) > 1 and not any(await _all_at_once(good, examine)):
        raise OneAtMost("using two interfaces at once makes it silent on all")
    return good


async def others_answer(pool: InterfacePool, asker: Asker, answer_s: float) -> bool | None:
    """Whether the printer answers on an interface that is free; None: none is."""
    now = pool.status()
    if now.in_use + now.draining + now.broken >= now.total:
        return None
    try:
        await asker.state(answer_s=answer_s)
    except DeviceGone:
        raise
    except NoInterface:
        return None
    except (PrinterSilent, UsbError) as exc:
        log.info("no answer on other interfaces either: %s", exc)
        return False
    except IppUsbError as exc:
        log.debug("an answer, though not a good one: %s", exc)
    return True


async def _first_that_answers(channels: Sequence[Channel], examine: Examine) -> Channel:
    if await _answers(channels[0], examine):
        return channels[0]
    answers = await _all_at_once(channels[1:], examine)
    for channel, answered in zip(channels[1:], answers, strict=True):
        if answered:
            return channel
    raise PrinterSilent("it answers on no interface")


async def _all_at_once(channels: Sequence[Channel], examine: Examine) -> list[bool]:
    return list(await asyncio.gather(*(_answers(channel, examine) for channel in channels)))


async def _answers(channel: Channel, examine: Examine) -> bool:
    try:
        await examine(channel)
    except DeviceGone:
        raise
    except IppUsbError as exc:
        log.info("interface %d does not answer: %s", channel.number, exc)
        return False
    return True
