"""Faults of printers: personalities, plugs, power, resets, other programs, no paper.

One injector per printer; each fault is undone before the next, so that a printer
works again when its injector is stopped.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress

from soak.rig import Rig
from usb.core import USBError

from ippusbd.virtual.personalities import REGISTRY
from ippusbd.virtual.printer import VirtualPrinter

LONGEST_S = 5.0
AT_PLUG_IN = ("empty-strings-until-reset", "malformed-language-list")  # who it is, is read then


class FaultInjector:
    """Injects faults into one printer; `faults` counts them."""

    def __init__(self, rig: Rig, printer: VirtualPrinter, chance: random.Random) -> None:
        self._rig = rig
        self._printer = printer
        self._chance = chance
        self.faults: Counter[str] = Counter()

    async def work(self, stop: asyncio.Event) -> None:
        """One fault after another, with pauses, until stopped."""
        faults = (
            self._character,
            self._character,
            self._character,
            self._unplug,
            self._flap,
            self._bus_reset,
            self._other_program,
        )
        while not stop.is_set():
            await self._pause(3.0)
            await self._chance.choice(faults)()

    def _did(self, what: str) -> None:
        self.faults[what] += 1
        self._rig.note(self._printer.device.model.serial, what)

    async def _pause(self, longest_s: float) -> None:
        await asyncio.sleep(0.02 + self._chance.random() * longest_s)

    async def _character(self) -> None:
        """One or two personalities for a while."""
        names = self._chance.sample(sorted(REGISTRY), self._chance.choice((1, 1, 2)))
        again = any(REGISTRY[name].replug or name in AT_PLUG_IN for name in names)
        for name in names:
            self._printer.switch(name, on=True)
            self._did(name)
        if again:
            self._printer.replug()
        await self._pause(LONGEST_S)
        for name in names:
            self._printer.switch(name, on=False)
            self._rig.note(self._printer.device.model.serial, f"{name} no more")
        if again:
            self._printer.replug()

    async def _unplug(self) -> None:
        self._did("unplugged")
        self._printer.unplug()
        await self._pause(2.0)
        self._printer.plug()
        self._rig.note(self._printer.device.model.serial, "plugged")

    async def _flap(self) -> None:
        """A bad contact."""
        for _ in range(self._chance.randrange(2, 6)):
            self._did("unplugged")
            self._printer.unplug()
            await self._pause(0.1)
            self._printer.plug()
            await self._pause(0.1)

    async def _bus_reset(self) -> None:
        """Another program resets the device."""
        self._did("reset from outside")
        port = self._rig.backend.port(self._printer.device)
        with suppress(USBError):
            handle = self._rig.backend.open_device(port)
            try:
                self._rig.backend.reset_device(handle)
            finally:
                self._rig.backend.close_device(handle)

    async def _other_program(self) -> None:
        """Another program claims an interface while it is free."""
        self._did("claimed by another program")
        backend = self._rig.backend
        port = backend.port(self._printer.device)
        with suppress(USBError):
            handle = backend.open_device(port)
            try:
                with suppress(USBError):
                    backend.detach_kernel_driver(handle, 0)
                with suppress(USBError):
                    backend.claim_interface(handle, 0)
                await self._pause(1.5)
                with suppress(USBError):
                    backend.release_interface(handle, 0)
                with suppress(USBError):
                    backend.attach_kernel_driver(handle, 0)
            finally:
                backend.close_device(handle)
