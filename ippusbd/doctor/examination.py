"""All checks, in the order of a printer's way: configuration, daemon, USB, Avahi, CUPS.

`ippusbd check` shows what can be known before a start, `ippusbd doctor` that and the rest.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ippusbd.doctor import (
    announcing,
    configuration,
    devices,
    installation,
    ipp_usb,
    opening,
    printers,
    queues,
    rivals,
    service,
)
from ippusbd.doctor.findings import Finding, Level
from ippusbd.doctor.machine import Machine
from ippusbd.doctor.service import Answer
from ippusbd.kinds import Kind
from ippusbd.model import DeviceFacts
from ippusbd.quirks.load import QuirkTable, load
from ippusbd.usbio.pyusb_host import PyusbHost

if TYPE_CHECKING:
    from ippusbd.config import Config


@dataclass(frozen=True, slots=True)
class Examination:
    """`file`: where the configuration was read from, None for the defaults."""

    config: Config
    file: Path | None
    machine: Machine
    answer: Answer

    def before_start(self) -> Iterator[Finding]:
        """Everything that does not need a daemon, and the running one in a line."""
        quirks = load(self.config.quirks_dirs)
        yield from self._files(quirks)
        yield from configuration.before_start(self.config)
        if self.answer.runs:
            yield service.running(self.answer)
        yield from service.ports(self.config)
        yield from self._usb(quirks)

    def everything(self) -> Iterator[Finding]:
        """What is wrong on this machine."""
        quirks, machine, answer = load(self.config.quirks_dirs), self.machine, self.answer
        yield from self._files(quirks)
        if not answer.runs:
            yield from configuration.before_start(self.config)
        yield from service.check(answer, self.config, machine, self._is_needed(quirks))
        yield from self._usb(quirks)
        uris = queues.device_uris(machine)
        yield from rivals.check(machine, uris)
        if answer.status is not None:
            yield from printers.check(answer.status)
        yield from announcing.check(machine, self.config, answer.status)
        yield from queues.check(machine, [row for row in answer.printers if row.is_served], uris)

    def _files(self, quirks: QuirkTable) -> Iterator[Finding]:
        yield from configuration.check(self.config, self.file, quirks)
        yield from ipp_usb.check(self.config, self.file)
        yield from installation.check(self.machine.root)

    def _is_needed(self, quirks: QuirkTable) -> bool:
        """Whether a printer is connected that the daemon would serve."""
        return any(
            str(each.usb_id) not in self.config.ignore
            and not quirks.effective(
                DeviceFacts(each.usb_id, each.address, product=each.name)
            ).ignore_reason
            for each in devices.printers(self.machine)
        )

    def _usb(self, quirks: QuirkTable) -> Iterator[Finding]:
        """What sysfs shows of each printer; then those that can be opened are opened."""
        answer, machine = self.answer, self.machine
        pid = answer.status.pid if answer.status is not None else None
        wrong = set()
        for finding in devices.check(machine, machine.credentials(pid), answer.serves, pid):
            if finding.level is Level.PROBLEM:
                wrong.add(finding.about)
            if finding.kind != Kind.NO_DEVICE.label or not answer.serves:  # else they are virtual
                yield finding
        unusable = {
            str(printer.address)
            for printer in devices.printers(machine)
            if printer.label in wrong or not os.access(printer.node, os.R_OK | os.W_OK)
        }
        yield from asyncio.run(self._opened(quirks, unusable))

    async def _opened(self, quirks: QuirkTable, unusable: set[str]) -> list[Finding]:
        host = PyusbHost()
        try:
            served = self.answer.runs
            return await opening.check(host, self.config, quirks, served=served, unusable=unusable)
        finally:
            await host.close()
