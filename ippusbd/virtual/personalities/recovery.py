"""Printers that stop responding, and what restores each: one for every rung of the recovery ladder.

Each stops responding once, on its third request after being switched on (or after power-up),
and works again after its own recovery step or a stronger one.
"""

from __future__ import annotations

from typing import ClassVar, Final

from ippusbd.virtual.http.messages import HttpRequest, HttpResponse
from ippusbd.virtual.personalities.base import Personality
from ippusbd.virtual.usb.device import DeviceEvent, VirtualDevice, VirtualInterface

RUNGS: Final = (
    DeviceEvent.CLEAR_HALT,
    DeviceEvent.SET_INTERFACE,
    DeviceEvent.SOFT_RESET,
    DeviceEvent.BUS_RESET,
    DeviceEvent.PLUGGED,
)


class UnresponsiveUntil(Personality):
    """What they have in common."""

    restored_by: ClassVar[DeviceEvent]
    halts: ClassVar[bool] = False
    on_request: ClassVar[int] = 3

    def __init__(self) -> None:
        self._requests = 0
        self._unresponsive: int | None = None  # the interface's number
        self.struck: int | None = None  # the number of the interface that stopped responding

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        self._requests += 1
        if self.struck is not None or self._requests < self.on_request:
            return None
        self.struck = request.interface.number
        if self.halts:
            request.interface.ipp.into.halt()
            return None
        self._unresponsive = request.interface.number
        return HttpResponse(cut_at=0, stuck=True)

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        if event not in RUNGS or RUNGS.index(event) < RUNGS.index(self.restored_by):
            return
        if interface is None or interface.number == self._unresponsive:
            self._unresponsive = None

    def takes(self, interface: VirtualInterface) -> bool:
        return interface.number != self._unresponsive

    gives = takes


class HaltsOnce(UnresponsiveUntil):
    """Its IN endpoint stalls in the middle of the third request; CLEAR_HALT restores it."""

    name = "halts-once"
    restored_by = DeviceEvent.CLEAR_HALT
    halts = True


class UnresponsiveUntilSetInterface(UnresponsiveUntil):
    """An interface stops responding in the third request; SET_INTERFACE restores it."""

    name = "deaf-until-set-interface"
    restored_by = DeviceEvent.SET_INTERFACE


class UnresponsiveUntilSoftReset(UnresponsiveUntil):
    """An interface stops responding in the third request; SOFT_RESET restores it."""

    name = "deaf-until-soft-reset"
    restored_by = DeviceEvent.SOFT_RESET


class UnresponsiveUntilBusReset(UnresponsiveUntil):
    """An interface stops responding in the third request; a bus reset restores it."""

    name = "deaf-until-bus-reset"
    restored_by = DeviceEvent.BUS_RESET


class UnresponsiveUntilReclaimed(UnresponsiveUntil):
    """An interface stops responding in the third request; releasing all at once restores it."""

    name = "deaf-until-reclaimed"
    restored_by = DeviceEvent.BUS_RESET

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        super().happened(device, event, interface)
        if event is DeviceEvent.SET_INTERFACE and not any(
            one.alternate for one in device.interfaces
        ):
            self._unresponsive = None


class UnresponsiveUntilReplug(UnresponsiveUntil):
    """An interface stops responding in the third request; only a power cycle restores it."""

    name = "deaf-until-replug"
    restored_by = DeviceEvent.PLUGGED


class Unresponsive(Personality):
    """Neither accepts nor sends a byte while this is on."""

    name = "deaf"

    def takes(self, interface: VirtualInterface) -> bool:
        return False

    gives = takes
