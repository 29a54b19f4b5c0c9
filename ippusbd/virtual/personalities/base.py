"""Where a personality may change what the virtual printer does.

A well-behaved printer is written once; every misbehaviour of field-notes 4 is a subclass of
`Personality` that overrides the few methods it needs. A `Character` is the set of those
switched on: it asks each in the order of switching, so they combine, and it may change while
the printer runs. A personality that changes descriptors shows at the next plug-in.

An instance lives from on to off and may keep state. Knows the shapes it hands around only as
types.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from functools import reduce
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from ippusbd.virtual.http.messages import Request, Response
    from ippusbd.virtual.usb.descriptors import DeviceSpec
    from ippusbd.virtual.usb.device import Setup, VirtualDevice, VirtualInterface
    from ippusbd.virtual.usb.pipes import Buffer
    from ippusbd.wire.ipp import Message


class DeviceEvent(Enum):
    """What happens to a device as a whole, or to one of its interfaces."""

    PLUGGED = "plugged"
    UNPLUGGED = "unplugged"
    BUS_RESET = "bus reset"
    SOFT_RESET = "soft reset"
    SET_INTERFACE = "alternate setting"
    CLEAR_HALT = "halt cleared"
    GAVE_UP = "the host stopped an OUT transfer"


class Personality:
    """A printer as it should be; the methods are the questions it is asked."""

    name: ClassVar[str] = ""
    replug: ClassVar[bool] = False  # shows at the next plug-in only

    @classmethod
    def help(cls) -> str:
        """The first line of the docstring: which model does what."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    # --- USB

    def describe(self, spec: DeviceSpec) -> DeviceSpec:
        """What the device says it is, at plug-in."""
        return spec

    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
        """The answer to a control request instead of the usual one; may raise; None: as usual."""
        return None

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, face: VirtualInterface | None
    ) -> None:
        """Told after it happened; `face` is None for the whole device."""

    def takes(self, face: VirtualInterface) -> bool:
        """Does OUT take bytes now? May raise what the host's transfer ends with."""
        return True

    def offered(self, face: VirtualInterface, size: int) -> None:
        """The host has an OUT transfer of `size` bytes, or the rest of one."""

    def gives(self, face: VirtualInterface) -> bool:
        """Does IN give bytes now? May raise what the host's transfer ends with."""
        return True

    def packets(self, face: VirtualInterface, transfer: Buffer) -> Iterable[Buffer]:
        """A transfer of the device as the transfers it becomes; an empty one is a ZLP."""
        return (transfer,)

    def ends_with_zlp(self) -> bool:
        """Does a zero-length packet follow a message of k full packets?"""
        return True

    # --- HTTP

    def answer(self, request: Request) -> Response | None:
        """An answer instead of the printer's own, before the body is read; None: as usual."""
        return None

    def amend(self, request: Request, response: Response) -> Response:
        """The printer's answer, changed."""
        return response

    # --- IPP and eSCL

    def reasons(self) -> tuple[str, ...]:
        """printer-state-reasons it adds; one that ends in `-error` stops the printer."""
        return ()

    def ipp(self, request: Message, answer: Message) -> Message:
        """The answer to an IPP request, changed."""
        return answer

    def ipp_bytes(self, request: Message, answer: bytes) -> bytes:
        """The encoded answer, changed."""
        return answer

    def xml(self, path: str, document: str) -> str:
        """An XML answer of the scanner, changed."""
        return document


class ActivePersonalities:
    """The personalities switched on, in order."""

    def __init__(self, known: dict[str, type[Personality]], names: Iterable[str] = ()) -> None:
        self._known = known
        self._on: tuple[Personality, ...] = ()
        for name in names:
            self.switch_on(name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self._on)

    def __iter__(self) -> Iterator[Personality]:
        return iter(self._on)

    def switch_on(self, name: str) -> Personality:
        """Raises KeyError naming what there is; switching on twice starts it afresh."""
        if name not in self._known:
            raise KeyError(f"no personality {name!r}; there are: {', '.join(sorted(self._known))}")
        self.switch_off(name)
        one = self._known[name]()
        self._on += (one,)
        return one

    def switch_off(self, name: str) -> None:
        self._on = tuple(one for one in self._on if one.name != name)

    # --- the questions, asked of all

    def describe(self, spec: DeviceSpec) -> DeviceSpec:
        return reduce(lambda value, one: one.describe(value), self._on, spec)

    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
        answers = (one.control(device, setup) for one in self._on)
        return next((answer for answer in answers if answer is not None), None)

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, face: VirtualInterface | None
    ) -> None:
        for one in self._on:
            one.happened(device, event, face)

    def takes(self, face: VirtualInterface) -> bool:
        return all([one.takes(face) for one in self._on])

    def offered(self, face: VirtualInterface, size: int) -> None:
        for one in self._on:
            one.offered(face, size)

    def gives(self, face: VirtualInterface) -> bool:
        return all([one.gives(face) for one in self._on])

    def packets(self, face: VirtualInterface, transfer: Buffer) -> Iterable[Buffer]:
        transfers: Iterable[Buffer] = (transfer,)
        for one in self._on:
            transfers = [out for each in transfers for out in one.packets(face, each)]
        return transfers

    def ends_with_zlp(self) -> bool:
        return all(one.ends_with_zlp() for one in self._on)

    def answer(self, request: Request) -> Response | None:
        answers = (one.answer(request) for one in self._on)
        return next((answer for answer in answers if answer is not None), None)

    def amend(self, request: Request, response: Response) -> Response:
        return reduce(lambda value, one: one.amend(request, value), self._on, response)

    def reasons(self) -> tuple[str, ...]:
        return tuple(reason for one in self._on for reason in one.reasons())

    def ipp(self, request: Message, answer: Message) -> Message:
        return reduce(lambda value, one: one.ipp(request, value), self._on, answer)

    def ipp_bytes(self, request: Message, answer: bytes) -> bytes:
        return reduce(lambda value, one: one.ipp_bytes(request, value), self._on, answer)

    def xml(self, path: str, document: str) -> str:
        return reduce(lambda value, one: one.xml(path, value), self._on, document)
