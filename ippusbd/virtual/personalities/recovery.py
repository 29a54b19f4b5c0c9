"""Printers that go deaf, and what wakes each of them: one for every rung of a recovery ladder.

Each goes deaf once, on its third request after being switched on (or after power-up), and
answers well again after its cure; a stronger cure than its own works too.
"""

from __future__ import annotations

from typing import ClassVar, Final

from ippusbd.virtual.http.messages import Request, Response
from ippusbd.virtual.personalities.base import DeviceEvent, Personality
from ippusbd.virtual.usb.device import VirtualDevice, VirtualInterface

RUNGS: Final = (
    DeviceEvent.CLEAR_HALT,
    DeviceEvent.SET_INTERFACE,
    DeviceEvent.SOFT_RESET,
    DeviceEvent.BUS_RESET,
    DeviceEvent.PLUGGED,
)


class _DeafUntil(Personality):
    cure: ClassVar[DeviceEvent]
    halts: ClassVar[bool] = False
    on_request: ClassVar[int] = 3

    def __init__(self) -> None:
        self._requests = 0
        self._deaf: int | None = None  # the interface's number
        self._done = False

    def answer(self, request: Request) -> Response | None:
        self._requests += 1
        if self._done or self._requests < self.on_request:
            return None
        self._done = True
        if self.halts:
            request.face.ipp.into.halt()
            return None
        self._deaf = request.face.number
        return Response(cut_at=0, stuck=True)

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, face: VirtualInterface | None
    ) -> None:
        if event not in RUNGS or RUNGS.index(event) < RUNGS.index(self.cure):
            return
        if face is None or face.number == self._deaf:
            self._deaf = None

    def takes(self, face: VirtualInterface) -> bool:
        return face.number != self._deaf

    gives = takes


class HaltsOnce(_DeafUntil):
    """Its IN endpoint stalls in the middle of the third request; CLEAR_HALT helps."""

    name = "halts-once"
    cure = DeviceEvent.CLEAR_HALT
    halts = True


class DeafUntilSetInterface(_DeafUntil):
    """An interface goes deaf in the third request; choosing its setting again helps."""

    name = "deaf-until-set-interface"
    cure = DeviceEvent.SET_INTERFACE


class DeafUntilSoftReset(_DeafUntil):
    """An interface goes deaf in the third request; SOFT_RESET helps."""

    name = "deaf-until-soft-reset"
    cure = DeviceEvent.SOFT_RESET


class DeafUntilBusReset(_DeafUntil):
    """An interface goes deaf in the third request; a bus reset helps."""

    name = "deaf-until-bus-reset"
    cure = DeviceEvent.BUS_RESET


class DeafUntilReclaimed(_DeafUntil):
    """An interface goes deaf in the third request; it helps that all are let go at once."""

    name = "deaf-until-reclaimed"
    cure = DeviceEvent.BUS_RESET

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, face: VirtualInterface | None
    ) -> None:
        super().happened(device, event, face)
        if event is DeviceEvent.SET_INTERFACE and not any(
            one.alternate for one in device.interfaces
        ):
            self._deaf = None


class DeafUntilReplug(_DeafUntil):
    """An interface goes deaf in the third request; nothing but its power helps."""

    name = "deaf-until-replug"
    cure = DeviceEvent.PLUGGED


class Deaf(Personality):
    """Neither takes nor gives a byte, for as long as this is on."""

    name = "deaf"

    def takes(self, face: VirtualInterface) -> bool:
        return False

    gives = takes


ALL: Final[tuple[type[Personality], ...]] = (
    HaltsOnce,
    DeafUntilSetInterface,
    DeafUntilSoftReset,
    DeafUntilReclaimed,
    DeafUntilBusReset,
    DeafUntilReplug,
    Deaf,
)
