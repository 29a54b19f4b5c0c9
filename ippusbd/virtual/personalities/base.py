"""Where a personality may change what the virtual printer does.

A well-behaved printer is written once; every misbehaviour seen in the field is a subclass of
`Personality` that overrides the few methods it needs. `ActivePersonalities` are those switched
on: each is asked in the order of switching, so they combine, and the set may change while the
printer runs. A personality that changes descriptors takes effect at the next plug-in.

An instance lasts from on to off and may keep state. Knows the values it passes on only as
types.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import ClassVar

from ippusbd.virtual.http.messages import HttpRequest, HttpResponse
from ippusbd.virtual.usb.descriptors import DeviceSpec
from ippusbd.virtual.usb.device import DeviceEvent, Setup, VirtualDevice, VirtualInterface
from ippusbd.virtual.usb.pipes import Buffer
from ippusbd.wire.ipp import Message


class Personality:
    """A well-behaved printer; a subclass overrides the questions that it answers otherwise."""

    name: ClassVar[str] = ""
    replug: ClassVar[bool] = False  # takes effect at the next plug-in only

    @classmethod
    def help(cls) -> str:
        """The first line of the docstring: which model does what."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    # --- USB

    def describe(self, spec: DeviceSpec) -> DeviceSpec:
        """The descriptors, at plug-in."""
        return spec

    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
        """The answer to a control request instead of the usual one; may raise; None: as usual."""
        return None

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        """Called after the event; `interface` is None when it concerns the whole device."""

    def takes(self, interface: VirtualInterface) -> bool:
        """Does bulk OUT accept bytes now? May raise what the host's transfer ends with."""
        return True

    def offered(self, interface: VirtualInterface, size: int) -> None:
        """The host submits an OUT transfer of `size` bytes, or the rest of one."""

    def gives(self, interface: VirtualInterface) -> bool:
        """Does bulk IN deliver bytes now? May raise what the host's transfer ends with."""
        return True

    def stops(self, interface: VirtualInterface) -> bool:
        """Does a bulk IN transfer end when the host cancels it? Asked over USB/IP only."""
        return True

    def packets(self, interface: VirtualInterface, transfer: Buffer) -> Iterable[Buffer]:
        """The transfers that a transfer of the device is split into; an empty one is a ZLP."""
        return (transfer,)

    def ends_with_zlp(self) -> bool:
        """Does a zero-length packet follow a message of k full packets?"""
        return True

    # --- HTTP

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        """A response instead of the printer's own, before the body is read; None: as usual."""
        return None

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """The printer's response, changed."""
        return response

    # --- IPP and eSCL

    def reasons(self) -> tuple[str, ...]:
        """printer-state-reasons to add; one that ends in `-error` stops the printer."""
        return ()

    def ipp(self, request: Message, answer: Message) -> Message:
        """The IPP response, changed."""
        return answer

    def ipp_bytes(self, request: Message, answer: bytes) -> bytes:
        """The encoded IPP response, changed."""
        return answer

    def xml(self, path: str, document: str) -> str:
        """An XML response of the scanner, changed."""
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

    def switch_on(self, which: str | type[Personality]) -> Personality:
        """By name, or a class that is not registered; switching on twice resets its state.

        Raises KeyError, which lists the names.
        """
        if isinstance(which, str):
            if which not in self._known:
                names = ", ".join(sorted(self._known))
                raise KeyError(f"no personality {which!r}; there are: {names}")
            which = self._known[which]
        self.switch_off(which.name)
        one = which()
        self._on += (one,)
        return one

    def switch_off(self, name: str) -> None:
        self._on = tuple(one for one in self._on if one.name != name)

    # --- the same questions, asked of all

    def describe(self, spec: DeviceSpec) -> DeviceSpec:
        return reduce(lambda value, one: one.describe(value), self._on, spec)

    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
        answers = (one.control(device, setup) for one in self._on)
        return next((answer for answer in answers if answer is not None), None)

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        for one in self._on:
            one.happened(device, event, interface)

    def takes(self, interface: VirtualInterface) -> bool:
        return all([one.takes(interface) for one in self._on])

    def offered(self, interface: VirtualInterface, size: int) -> None:
        for one in self._on:
            one.offered(interface, size)

    def gives(self, interface: VirtualInterface) -> bool:
        return all([one.gives(interface) for one in self._on])

    def stops(self, interface: VirtualInterface) -> bool:
        return all([one.stops(interface) for one in self._on])

    def packets(self, interface: VirtualInterface, transfer: Buffer) -> Iterable[Buffer]:
        transfers: Iterable[Buffer] = (transfer,)
        for one in self._on:
            transfers = [out for each in transfers for out in one.packets(interface, each)]
        return transfers

    def ends_with_zlp(self) -> bool:
        return all(one.ends_with_zlp() for one in self._on)

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        answers = (one.answer(request) for one in self._on)
        return next((answer for answer in answers if answer is not None), None)

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        return reduce(lambda value, one: one.amend(request, value), self._on, response)

    def reasons(self) -> tuple[str, ...]:
        return tuple(reason for one in self._on for reason in one.reasons())

    def ipp(self, request: Message, answer: Message) -> Message:
        return reduce(lambda value, one: one.ipp(request, value), self._on, answer)

    def ipp_bytes(self, request: Message, answer: bytes) -> bytes:
        return reduce(lambda value, one: one.ipp_bytes(request, value), self._on, answer)

    def xml(self, path: str, document: str) -> str:
        return reduce(lambda value, one: one.xml(path, value), self._on, document)
