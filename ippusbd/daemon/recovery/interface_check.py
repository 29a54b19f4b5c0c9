"""The check after a recovery step: which interfaces answer, alone and together.

Firmware exists that hangs as soon as two interfaces are in use. So they are
asked one after the other first, then all at once: when one more question makes
all of them silent, and does so again after the next recovery step, the device
is to be used through one interface only.

Knows channels and a question; its caller decides what follows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from ippusbd.errors import DeviceGone, IppUsbError, PrinterSilent
from ippusbd.usbio.protocols import Channel

log = logging.getLogger("ippusbd.daemon")

Check = Callable[[Channel], Awaitable[None]]


class OneAtMost(PrinterSilent):
    """It answers through one interface, and is silent on all when a second one is used."""


async def check_interfaces(channels: Sequence[Channel], check: Check) -> list[Channel]:
    """The channels that answer; the others need a reset.

    Raises PrinterSilent when none does, OneAtMost, DeviceGone.
    """
    first = await _first_that_answers(channels, check)
    good = [first]
    for channel in channels:
        if channel is first:
            continue
        if await _answers(channel, check):
            good.append(channel)
        elif not await _answers(first, check):
            raise OneAtMost("using a second interface makes it silent on all")
    if len(good) > 1 and not any(await _all_at_once(good, check)):
        raise OneAtMost("using two interfaces at once makes it silent on all")
    return good


async def _first_that_answers(channels: Sequence[Channel], check: Check) -> Channel:
    if await _answers(channels[0], check):
        return channels[0]
    answers = await _all_at_once(channels[1:], check)
    for channel, answered in zip(channels[1:], answers, strict=True):
        if answered:
            return channel
    raise PrinterSilent("it answers on no interface")


async def _all_at_once(channels: Sequence[Channel], check: Check) -> list[bool]:
    return list(await asyncio.gather(*(_answers(channel, check) for channel in channels)))


async def _answers(channel: Channel, check: Check) -> bool:
    try:
        await check(channel)
    except DeviceGone:
        raise
    except IppUsbError as exc:
        log.info("interface %d does not answer: %s", channel.number, exc)
        return False
    return True
