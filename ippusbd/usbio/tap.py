"""What a trace sees of bulk transfers: when each began, when and how it ended, what it carried.

Without a trace there is no tap, and the cost is one check per transfer. Bytes are copied only for
a tap with `wants_data`; lengths and results are always reported.

Knows transfers' outcomes as the kernel's usbmon reports them; never who watches.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Final, Protocol, runtime_checkable

from ippusbd.errors import DeviceGone, EndpointHalted, TransferTimeout, UsbError

IN: Final = 0x80  # the direction bit of an endpoint's address
IN_PROGRESS: Final = -errno.EINPROGRESS


@dataclass(frozen=True, slots=True)
class UsbEvent:
    """Begin or end of one transfer. `length`: bytes asked for, at its end bytes moved."""

    at: float  # seconds since the epoch
    begins: bool
    transfer: int  # the same number at begin and end
    endpoint: int
    status: int  # as usbmon has it: 0 or a negative errno
    length: int
    data: bytes  # what an OUT takes along, or an IN has brought; empty unless it is wanted


class Tap:
    """Calls `on_event` for every transfer, in the loop."""

    def __init__(self, on_event: Callable[[UsbEvent], None], *, wants_data: bool) -> None:
        self.on_event = on_event
        self.wants_data = wants_data


@runtime_checkable
class Tappable(Protocol):
    """A Channel whose transfers can be watched."""

    def tap(self, tap: Tap | None) -> None:
        """Report every transfer to `tap` from now on; None: to nobody."""


class BlockingTap:
    """A tap on transfers that block in threads; reports in the loop, by `post`."""

    _numbers = count(1)

    def __init__(
        self,
        tap: Tap,
        endpoints: tuple[int, int],
        post: Callable[[Callable[[UsbEvent], None], UsbEvent], None],
    ) -> None:
        self._tap = tap
        self._in, self._out = endpoints
        self._post = post

    def read(self, began: float, size: int, data: bytes, failure: UsbError | None = None) -> None:
        """A slice with data, or that failed; silence is no event: there are four a second."""
        if data or failure is not None:
            kept = data if self._tap.wants_data else b""
            self._both(self._in, began, (size, b""), (len(data), kept), failure)

    def wrote(
        self, began: float, data: memoryview, moved: int, failure: UsbError | None = None
    ) -> None:
        """A slice in which `moved` bytes of `data` were taken."""
        kept = bytes(data) if self._tap.wants_data else b""
        self._both(self._out, began, (len(data), kept), (moved, b""), failure)

    def _both(
        self,
        endpoint: int,
        began: float,
        asked: tuple[int, bytes],
        done: tuple[int, bytes],
        failure: UsbError | None,
    ) -> None:
        number, status = next(self._numbers), _status(failure)
        if endpoint == self._out and failure is None and done[0] < asked[0]:
            status = -errno.ETIMEDOUT
        report = self._tap.on_event
        self._post(report, UsbEvent(began, True, number, endpoint, IN_PROGRESS, *asked))
        self._post(report, UsbEvent(time.time(), False, number, endpoint, status, *done))


def _status(failure: UsbError | None) -> int:
    if failure is None:
        return 0
    if isinstance(failure, DeviceGone):
        return -errno.ENODEV
    if isinstance(failure, EndpointHalted):
        return -errno.EPIPE
    return -errno.ETIMEDOUT if isinstance(failure, TransferTimeout) else -errno.EPROTO
