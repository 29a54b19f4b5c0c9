"""What the layers above need of USB: hosts, devices and bulk channels.

Everything above `usbio` is written against these Protocols; pyusb, the
thread Channel, the asynchronous Channel and the fakes of the tests implement
them and pass one conformance suite.

Laws of a Channel:
- bytes are never invented, lost or reordered, and a zero-length packet is not
  an end: only silence, data or an error comes out of `read`;
- a cancelled `read` loses nothing: what arrives goes to the next `read`;
- after an error every further call fails until `reset` or `clear_halt` succeeded;
- nothing blocks the event loop, and every wait for the hardware to stop is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from ippusbd.errors import UsbError
from ippusbd.model import DeviceFacts, InterfaceInfo

SMALL: Final = 4  # the part of a transfer that is none by itself: each costs as much as a large one


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """Limits of the firmware for an interface; None: as configured."""

    read_bytes: int | None = None  # per transfer
    write_bytes: int | None = None
    write_pause_s: float = 0.0  # after an OUT transfer ...
    write_pause_bytes: int = 0  # ... of more bytes than this
    write_zlp: bool = False  # whole packets are followed by a zero-length one

    def next_write(self, left: int, most: int) -> int:
        """Size of the next OUT transfer: `most` bytes of those that are left.

        A small rest, such as a chunk's framing, goes with the bytes before it.
        """
        spare = 0 if self.write_bytes else most // SMALL
        return left if left <= most + spare else most


USUAL: Final = Pacing()


@dataclass(slots=True)
class TransferCounts:
    """Bulk transfers of a printer, both ways, since the start of the daemon."""

    submitted: int = 0
    completed: int = 0
    cancelled: int = 0  # real firmware loses data on these


class Channel(Protocol):
    """The two bulk endpoints of one claimed interface: a pipe each way."""

    @property
    def number(self) -> int:
        """bInterfaceNumber, for logs and status."""

    async def read(self, due: int = 0, *, exact: bool = False) -> bytes:
        """The next bytes from bulk IN, at least one; waits as long as the printer is silent.

        `due` says how many bytes of the answer are still to come at least, `exact` that they are
        all: a hint for the size and number of transfers, no limit of what is returned.
        Raises DeviceGone, EndpointHalted or TransferFailed.
        """

    def read_ahead(self, due: int, *, exact: bool) -> None:
        """Ask the printer already for what the next `read` is to return: a hint, as there.

        Never raises: a failure is that of the next `read`.
        """

    async def write(self, data: bytes) -> None:
        """Returns when the printer took all of `data`; waits as long as it takes none.

        Cancelled: the transfer is stopped, how much of `data` the printer took is unknown,
        and the channel counts as failed until `reset`. Raises as `read` does.
        """

    def rest(self) -> None:
        """No answer is awaited any more: stop asking the printer for bytes.

        What had been read ahead is kept for `discard`; what comes later stays in the printer.
        """

    def discard(self) -> int:
        """Discard all bytes that were read ahead; how many there were."""

    async def drain(self, quiet_s: float, limit: int) -> int:
        """Read and discard until silent for `quiet_s`; raises TransferFailed over `limit` bytes.

        For bytes of an answer that nobody fetched. Returns how many bytes were stale. A
        question may follow soon: its answer can use what was posted here.
        """

    def fail(self, failure: UsbError) -> None:
        """Stop what is going on: every call fails with `failure` until `reset`."""

    async def clear_halt(self) -> None:
        """Stop all transfers and clear both halts; bytes that arrived are discarded.

        For an endpoint that stalled; everything else survives. Raises as `reset` does.
        """

    async def reset(self) -> None:
        """Stop all transfers, clear both halts and set the alternate setting again.

        The interface is as after a claim. Raises DeviceGone, TransferFailed, TransferTimeout.
        """

    async def close(self) -> None:
        """Stop all transfers and release the interface. Idempotent; never raises."""


class UsbDevice(Protocol):
    """An open device. Control transfers run in the device's own thread."""

    @property
    def facts(self) -> DeviceFacts: ...

    @property
    def interfaces(self) -> tuple[InterfaceInfo, ...]:
        """The usable IPP-over-USB interfaces of the configuration in use."""

    async def claim(
        self, info: InterfaceInfo, pacing: Pacing = USUAL, counts: TransferCounts | None = None
    ) -> Channel:
        """Detach the kernel's driver if it has one, claim, set the alternate setting.

        Transfers of the channel are counted in `counts`. Goes on to its end when it is cancelled,
        so that `close` releases what was claimed.
        Raises DeviceBusy, DeviceGone, TransferFailed.
        """

    async def release(self, channel: Channel) -> None:
        """Close the channel, set alternate setting 0, release, reattach the kernel's driver.

        Goes on to its end when it is cancelled.
        """

    async def port_status(self) -> int:
        """Printer class request GET_PORT_STATUS: bit 5 paper empty, 4 selected, 3 no error."""

    async def soft_reset(self, info: InterfaceInfo, *, recipient_other: bool = False) -> None:
        """Printer class request SOFT_RESET."""

    async def reset(self) -> None:
        """A USB port reset; every Channel is dead after it and the device must be opened anew."""

    async def close(self) -> None:
        """Release everything; idempotent, never raises."""


class UsbHost(Protocol):
    """Finds devices and opens them."""

    async def enumerate(self) -> list[DeviceFacts]:
        """The devices with an IPP-over-USB interface now on the bus, without their strings."""

    async def open(self, facts: DeviceFacts) -> UsbDevice:
        """Open, read strings, set the configuration if it must be.

        Raises AccessDenied, DeviceGone, NotUsable, BadDescriptor, UsbError.
        """

    async def close(self) -> None:
        """Stop using the library."""
