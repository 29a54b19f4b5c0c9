"""The USB device model of the virtual printer: control requests, settings, plug and resets.

Transport neutral: a pyusb backend in this process and a USB/IP server call the same few
methods on the same device. From power-up to unplug a device has the same `VirtualInterface`
objects; after a replug all are new, and calls on the old ones fail with DeviceGone as the
host's file descriptors do.

Whatever re-initialises an interface (alternate setting, configuration, resets) ends its
session: the firmware drops the request it was reading. What it had queued on bulk IN stays for
the next reader, as in hardware; only SOFT_RESET, a bus reset and a power cycle discard it.

Control requests are answered at once; `ControlTimeout` means that the host's own time-out must
end them. Personalities change what the device does through `DeviceHooks`. Knows descriptors and
pipes; nothing of HTTP.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from ippusbd.errors import DeviceGone, EndpointHalted, TransferTimeout
from ippusbd.virtual.usb import descriptors as d
from ippusbd.virtual.usb.pipes import InPipe, InterfaceSession, OutPipe
from ippusbd.virtual.usb.waits import Change, Signal

PAPER_OK: Final = 0x18  # port status: selected, no error
PAPER_EMPTY: Final = 0x38


class ControlTimeout(TransferTimeout):
    """The device does not answer this control request; the host waits until its time-out."""


class DeviceEvent(Enum):
    """What happens to a device as a whole, or to one of its interfaces."""

    PLUGGED = "plugged"
    UNPLUGGED = "unplugged"
    BUS_RESET = "bus reset"
    SOFT_RESET = "soft reset"
    SET_INTERFACE = "alternate setting"
    CLEAR_HALT = "halt cleared"
    GAVE_UP = "the host stopped an OUT transfer"


class DeviceHooks(Protocol):
    """Where the device asks the personalities; `Personality` says what each question means."""

    def describe(self, spec: d.DeviceSpec) -> d.DeviceSpec: ...
    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None: ...
    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None: ...
    def takes(self, interface: VirtualInterface) -> bool: ...
    def offered(self, interface: VirtualInterface, size: int) -> None: ...
    def gives(self, interface: VirtualInterface) -> bool: ...
    def stops(self, interface: VirtualInterface) -> bool: ...


@dataclass(frozen=True, slots=True)
class Setup:
    """The eight bytes that begin a control transfer."""

    request_type: int
    request: int
    value: int
    index: int
    length: int

    @classmethod
    def parse(cls, data: bytes) -> Setup:
        return cls(*struct.unpack("<BBHHH", data))


@dataclass(frozen=True, slots=True)
class PipePair:
    """The bulk endpoints of one alternate setting."""

    out: OutPipe
    into: InPipe
    out_address: int
    in_address: int


class VirtualInterface:
    """One interface between power-up and unplug."""

    def __init__(self, device: VirtualDevice, spec: d.InterfaceSpec, packet: int) -> None:
        self.device = device
        self.spec = spec
        self.number = spec.number
        self.alternate = 0
        self.busy = False  # the firmware is in the middle of an exchange
        self.restarting: list[Callable[[], None]] = []  # called when a session ends
        self.pairs = tuple(
            PipePair(OutPipe(packet), InPipe(packet), min(a.endpoints), max(a.endpoints))
            for a in spec.alternates
        )
        self._session = InterfaceSession()
        self._ready = False  # configured
        self._off = False
        self._changed = Signal()

    @property
    def pair(self) -> PipePair:
        return self.pairs[self.alternate]

    @property
    def ipp(self) -> PipePair:
        """The pipes that carry HTTP."""
        return self.pairs[-1]

    def restart(self, alternate: int, *, ready: bool, flush_in: bool) -> None:
        """End the session; the next begins when the host selects the IPP setting."""
        self._ending()
        with self._changed:
            self._session.end()
            self._session = InterfaceSession()
            self.alternate = alternate
            self._ready = ready
            self._changed.notify()
        for pair in self.pairs:
            pair.out.flush()
            pair.out.clear_halt()
            pair.into.clear_halt()
            if flush_in:
                pair.into.flush()

    def power_off(self) -> None:
        self._ending()
        with self._changed:
            self._off = True
            self._session.end()
            self._changed.notify()
        for pair in self.pairs:
            pair.out.kill()
            pair.into.kill()

    def _ending(self) -> None:
        for told in self.restarting:
            told()

    async def next_session(self) -> InterfaceSession | None:
        """Waits until the host selects the IPP setting; None: the power is off."""
        while True:
            with self._changed:
                if self._off:
                    return None
                speaks = self._ready and self.alternate == len(self.pairs) - 1
                if speaks and not self._session.ended:
                    return self._session
                seen = self._changed.count
            await Change(self._changed, seen)

    def endpoint(self, address: int) -> OutPipe | InPipe | None:
        """The pipe of an endpoint address in the current setting."""
        pair = self.pair
        if address == pair.out_address:
            return pair.out
        return pair.into if address == pair.in_address else None


class VirtualDevice:
    """A device, plugged in or not."""

    def __init__(
        self,
        spec: d.DeviceSpec,
        hooks: DeviceHooks,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = spec
        self.clock = clock  # the firmware's
        self._hooks = hooks
        self.spec = spec
        self.configuration = 0
        self.interfaces: tuple[VirtualInterface, ...] = ()
        self.plugged = False
        self.plug_count = 0
        self.port_status: Callable[[], int] = lambda: PAPER_OK
        self.unresponsive = ""  # the reason why neither OUT nor IN moves any more
        self.powered: list[Callable[[VirtualInterface], None]] = []  # called at every power-up
        self.plug_changed: list[Callable[[], None]] = []
        self._lock = threading.RLock()

    # --- the plug

    def plug(self) -> None:
        """Power-up; idempotent. The host has configured nothing yet."""
        with self._lock:
            if self.plugged:
                return
            self.spec = self._hooks.describe(self.model)
            self.configuration, self.unresponsive = 0, ""
            self.interfaces = tuple(
                VirtualInterface(self, one, self.spec.packet) for one in self.spec.interfaces
            )
            self.plug_count += 1
            self.plugged = True
            for interface in self.interfaces:
                self._connect_gates(interface)
                for start in self.powered:
                    start(interface)
            self._tell(DeviceEvent.PLUGGED)
        self._plug_told()

    def unplug(self) -> None:
        """Idempotent; whoever waits on a pipe gets DeviceGone."""
        with self._lock:
            if not self.plugged:
                return
            self.plugged = False
            self._tell(DeviceEvent.UNPLUGGED)
            for interface in self.interfaces:
                interface.power_off()
        self._plug_told()

    def replug(self) -> None:
        self.unplug()
        self.plug()

    def _plug_told(self) -> None:
        for told in tuple(self.plug_changed):
            told()

    def reset(self) -> None:
        """A bus reset: unconfigured, nothing queued, nothing halted; the firmware keeps running."""
        with self._lock:
            self._check_plugged()
            self.configuration, self.unresponsive = 0, ""
            for interface in self.interfaces:
                interface.restart(0, ready=False, flush_in=True)
            self._tell(DeviceEvent.BUS_RESET)

    # --- endpoints

    def out_pipe(self, address: int) -> OutPipe:
        pipe = self._endpoint(address)
        if not isinstance(pipe, OutPipe):
            raise EndpointHalted(f"no bulk OUT endpoint {address:#04x} in this setting")
        return pipe

    def in_pipe(self, address: int) -> InPipe:
        pipe = self._endpoint(address)
        if not isinstance(pipe, InPipe):
            raise EndpointHalted(f"no bulk IN endpoint {address:#04x} in this setting")
        return pipe

    def _endpoint(self, address: int) -> OutPipe | InPipe | None:
        self._check_plugged()
        found = (interface.endpoint(address) for interface in self.interfaces)
        return next((pipe for pipe in found if pipe is not None), None)

    def wake(self) -> None:
        """A gate may have opened: whoever waits on a pipe checks again."""
        for interface in self.interfaces:
            for pair in interface.pairs:
                pair.out.wake()
                pair.into.wake()

    def _connect_gates(self, interface: VirtualInterface) -> None:
        for pair in interface.pairs:
            pair.out.gate = lambda: not self.unresponsive and self._hooks.takes(interface)
            pair.into.gate = lambda: not self.unresponsive and self._hooks.gives(interface)
            pair.into.stops = lambda: self._hooks.stops(interface)
            pair.out.offered = lambda size: self._hooks.offered(interface, size)
            pair.out.gave_up = lambda: self._tell(DeviceEvent.GAVE_UP, interface)

    def _tell(self, event: DeviceEvent, interface: VirtualInterface | None = None) -> None:
        self._hooks.happened(self, event, interface)
        self.wake()

    def _check_plugged(self) -> None:
        if not self.plugged:
            raise DeviceGone("the virtual device is unplugged")

    # --- control requests

    def control(self, setup: Setup, data: bytes = b"") -> bytes:
        """The data of a control transfer. Raises EndpointHalted, ControlTimeout, DeviceGone."""
        with self._lock:
            self._check_plugged()
            answer = self._hooks.control(self, setup)
            if answer is None:
                handler = REQUESTS.get((setup.request_type, setup.request))
                if handler is None:
                    raise EndpointHalted(
                        f"request {setup.request_type:#04x}/{setup.request:#04x} is not supported"
                    )
                answer = handler(self, setup)
            return answer[: setup.length]

    def interface(self, number: int) -> VirtualInterface:
        """Raises EndpointHalted (the device stalls) when there is none."""
        for interface in self.interfaces:
            if interface.number == number:
                return interface
        raise EndpointHalted(f"no interface {number}")

    def get_descriptor(self, setup: Setup) -> bytes:
        kind, index = setup.value >> 8, setup.value & 0xFF
        if kind == d.DEVICE:
            return d.device_descriptor(self.spec)
        if kind == d.CONFIGURATION and index == 0:
            return d.configuration_descriptor(self.spec)
        if kind == d.QUALIFIER:
            return d.qualifier_descriptor()
        if kind == d.STRING:
            return self._string(index, setup.index)
        raise EndpointHalted(f"no descriptor {kind}/{index}")

    def _string(self, index: int, language: int) -> bytes:
        if index == 0:
            return d.language_descriptor(self.spec.languages)
        text = self.spec.text(index)
        if text is None or language not in self.spec.languages:
            raise EndpointHalted(f"no string {index} in language {language:#06x}")
        return d.string_descriptor(text)

    def get_configuration(self, setup: Setup) -> bytes:
        return bytes((self.configuration,))

    def set_configuration(self, setup: Setup) -> bytes:
        if setup.value not in (0, self.spec.configuration_value):
            raise EndpointHalted(f"no configuration {setup.value}")
        self.configuration = setup.value
        for interface in self.interfaces:
            interface.restart(0, ready=bool(setup.value), flush_in=False)
        return b""

    def get_interface(self, setup: Setup) -> bytes:
        return bytes((self.interface(setup.index).alternate,))

    def set_interface(self, setup: Setup) -> bytes:
        interface = self.interface(setup.index)
        if not self.configuration or setup.value >= len(interface.pairs):
            raise EndpointHalted(f"no alternate setting {setup.value}")
        interface.restart(setup.value, ready=True, flush_in=False)
        self._tell(DeviceEvent.SET_INTERFACE, interface)
        return b""

    def get_device_status(self, setup: Setup) -> bytes:
        return b"\x01\x00"  # self-powered

    def get_interface_status(self, setup: Setup) -> bytes:
        self.interface(setup.index)
        return b"\x00\x00"

    def get_endpoint_status(self, setup: Setup) -> bytes:
        pipe = self._endpoint(setup.index) if setup.index & 0x7F else None
        return bytes((int(pipe is not None and pipe.halted), 0))

    def endpoint_feature(self, setup: Setup) -> bytes:
        """SET_FEATURE or CLEAR_FEATURE of ENDPOINT_HALT."""
        pipe = self._endpoint(setup.index)
        if pipe is None or setup.value != 0:
            raise EndpointHalted(f"no endpoint {setup.index:#04x}")
        if setup.request == 3:
            pipe.halt()
        else:
            pipe.clear_halt()
            self._tell(DeviceEvent.CLEAR_HALT)
        return b""

    def ignore(self, setup: Setup) -> bytes:
        return b""

    # --- printer class requests

    def get_device_id(self, setup: Setup) -> bytes:
        text = self.spec.device_id.encode("ascii", "replace")
        return struct.pack(">H", len(text) + 2) + text

    def get_port_status(self, setup: Setup) -> bytes:
        return bytes((self.port_status(),))

    def soft_reset(self, setup: Setup) -> bytes:
        """Flushes both pipes; the setting stays. The low or the high byte names the interface."""
        number = setup.index if setup.index < 0x100 else setup.index >> 8
        interface = self.interface(number)
        interface.restart(interface.alternate, ready=bool(self.configuration), flush_in=True)
        self._tell(DeviceEvent.SOFT_RESET, interface)
        return b""

    def get_max_lun(self, setup: Setup) -> bytes:
        return b"\x00"


ControlHandler = Callable[[VirtualDevice, Setup], bytes]
REQUESTS: Final[dict[tuple[int, int], ControlHandler]] = {
    (0x80, 0): VirtualDevice.get_device_status,
    (0x81, 0): VirtualDevice.get_interface_status,
    (0x82, 0): VirtualDevice.get_endpoint_status,
    (0x00, 1): VirtualDevice.ignore,  # remote wake-up
    (0x00, 3): VirtualDevice.ignore,
    (0x02, 1): VirtualDevice.endpoint_feature,
    (0x02, 3): VirtualDevice.endpoint_feature,
    (0x80, 6): VirtualDevice.get_descriptor,
    (0x80, 8): VirtualDevice.get_configuration,
    (0x00, 9): VirtualDevice.set_configuration,
    (0x81, 10): VirtualDevice.get_interface,
    (0x01, 11): VirtualDevice.set_interface,
    (0xA1, 0): VirtualDevice.get_device_id,
    (0xA1, 1): VirtualDevice.get_port_status,
    (0x21, 2): VirtualDevice.soft_reset,
    (0x23, 2): VirtualDevice.soft_reset,
    (0xA1, 0xFE): VirtualDevice.get_max_lun,
    (0x21, 0xFF): VirtualDevice.ignore,  # mass storage reset
}
