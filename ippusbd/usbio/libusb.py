"""libusb's asynchronous API for an event loop.

pyusb offers blocking transfers only. Its library and handles are used here
directly: transfers are submitted and cancelled without waiting, and libusb's
poll descriptors live in the event loop.

A thread that is inside one of pyusb's blocking calls may handle our events
too, so a callback may run in any thread; it only passes the transfer on.

Knows ctypes and asyncio; never pyusb.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import select
import threading
import time
from collections.abc import Callable
from ctypes import POINTER, byref, c_int, c_short, c_ubyte, c_uint, c_void_p
from enum import IntEnum
from typing import Any

from ippusbd.errors import DeviceGone, TransferFailed, UsbError
from ippusbd.usbio.protocols import TransferCounts
from ippusbd.usbio.tap import IN, IN_PROGRESS, Tap, UsbEvent

log = logging.getLogger("ippusbd.usb")

SONAME = "libusb-1.0.so.0"
_BULK = 2
ADD_ZERO_PACKET = 1 << 3
_NO_DEVICE = -4  # LIBUSB_ERROR_NO_DEVICE


class Status(IntEnum):
    """libusb_transfer_status."""

    COMPLETED = 0
    ERROR = 1
    TIMED_OUT = 2
    CANCELLED = 3
    STALL = 4
    NO_DEVICE = 5
    OVERFLOW = 6


_AS_USBMON = {
    Status.COMPLETED: 0,
    Status.ERROR: -errno.EPROTO,
    Status.TIMED_OUT: -errno.ETIMEDOUT,
    Status.CANCELLED: -errno.ENOENT,
    Status.STALL: -errno.EPIPE,
    Status.NO_DEVICE: -errno.ENODEV,
    Status.OVERFLOW: -errno.EOVERFLOW,
}


class _Timeval(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_usec", ctypes.c_long))


class _PollFd(ctypes.Structure):
    _fields_ = (("fd", c_int), ("events", c_short))


class _Version(ctypes.Structure):
    """The numbers at the start of struct libusb_version."""

    _fields_ = tuple((name, ctypes.c_uint16) for name in ("major", "minor", "micro"))


def version_of(library: Any) -> tuple[int, int, int]:
    """Version of a loaded libusb, such as (1, 0, 28)."""
    ask = library.libusb_get_version
    ask.restype = POINTER(_Version)
    found = ask().contents
    return found.major, found.minor, found.micro


def installed_version() -> str:
    """Of the libusb that the daemon would load; "": there is none."""
    try:
        return ".".join(map(str, version_of(ctypes.CDLL(SONAME))))
    except OSError:
        return ""


class _Transfer(ctypes.Structure):
    """struct libusb_transfer without the isochronous packets at its end."""


_Callback = ctypes.CFUNCTYPE(None, POINTER(_Transfer))
_Transfer._fields_ = (
    ("dev_handle", c_void_p),
    ("flags", ctypes.c_uint8),
    ("endpoint", c_ubyte),
    ("type", c_ubyte),
    ("timeout", c_uint),
    ("status", c_int),
    ("length", c_int),
    ("actual_length", c_int),
    ("callback", _Callback),
    ("user_data", c_void_p),
    ("buffer", c_void_p),
    ("num_iso_packets", c_int),
)
_FdAdded = ctypes.CFUNCTYPE(None, c_int, c_short, c_void_p)
_FdRemoved = ctypes.CFUNCTYPE(None, c_int, c_void_p)


class Libusb:
    """The library's functions, and its events in the running loop until `stop`.

    `name` is the shared library's name, `context` pyusb's libusb_context.
    """

    def __init__(self, name: str, context: c_void_p) -> None:
        # A second CDLL object of the same library, for prototypes of our own.
        self.functions = ctypes.CDLL(name)
        _declare(self.functions)
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._fds: dict[int, int] = {}
        self._zero = _Timeval(0, 0)
        self._added = _FdAdded(lambda fd, events, _: self._later(self._watch, fd, events))
        self._removed = _FdRemoved(lambda fd, _: self._later(self._forget, fd))
        self.functions.libusb_set_pollfd_notifiers(context, self._added, self._removed, None)
        self._watch_present()

    def stop(self) -> None:
        """Take libusb's descriptors out of the loop."""
        nothing = _FdAdded(), _FdRemoved()  # null pointers
        self.functions.libusb_set_pollfd_notifiers(self._context, *nothing, None)
        for fd in list(self._fds):
            self._forget(fd)

    def call(self, callback: Callable[..., None], *args: object) -> None:
        """Run `callback` in the loop: now, if this is its thread."""
        if threading.get_ident() == self._thread:
            callback(*args)
        else:
            self._later(callback, *args)

    def handle_events(self) -> None:
        """Let libusb reap what is finished; never waits."""
        self.functions.libusb_handle_events_timeout_completed(
            self._context, byref(self._zero), None
        )

    def _watch_present(self) -> None:
        fds = self.functions.libusb_get_pollfds(self._context)
        index = 0
        while fds[index]:
            self._watch(fds[index].contents.fd, fds[index].contents.events)
            index += 1
        self.functions.libusb_free_pollfds(fds)

    def _watch(self, fd: int, events: int) -> None:
        self._fds[fd] = events
        if events & select.POLLIN:
            self._loop.add_reader(fd, self.handle_events)
        if events & select.POLLOUT:  # usbfs: a URB is finished
            self._loop.add_writer(fd, self.handle_events)

    def _forget(self, fd: int) -> None:
        if self._fds.pop(fd, None) is not None:
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)

    def _later(self, callback: Callable[..., None], *args: object) -> None:
        if threading.get_ident() == self._thread:
            callback(*args)
            return
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            log.debug("libusb called after the end of the loop")


class Transfer:
    """One bulk transfer that can be used again and again.

    `done(transfer)` is called in the loop when it is over, whatever its status;
    `actual_length` counts always: a cancelled transfer can carry data.
    """

    def __init__(
        self,
        libusb: Libusb,
        handle: c_void_p,
        endpoint: int,
        done: Callable[[Transfer], None],
        *,
        zlp: bool = False,  # end whole packets with a zero-length one
        counts: TransferCounts | None = None,
    ) -> None:
        self._libusb = libusb
        self._done = done
        self._pointer = libusb.functions.libusb_alloc_transfer(0)
        self._callback = _Callback(self._finished)
        self._kept: object = None  # what the buffer points into
        self.pending = False
        self.length = 0  # asked for, or to be sent
        self.actual_length, self.status = 0, Status.COMPLETED  # of the last one that is over
        self.tap: Tap | None = None
        self._counts = counts or TransferCounts()
        self._fields = fields = self._pointer.contents
        fields.dev_handle = handle
        fields.flags = ADD_ZERO_PACKET if zlp else 0
        fields.endpoint = endpoint
        fields.type = _BULK
        fields.timeout = 0
        fields.callback = self._callback

    def submit(self, address: int, length: int, keep: object) -> None:
        """Start; memory of `length` bytes at `address` stays valid while `keep` is kept."""
        self._fields.buffer, self._fields.length = address, length
        self.length, self._kept = length, keep
        self.pending = True
        result = self._libusb.functions.libusb_submit_transfer(self._pointer)
        if result:
            self.pending, self._kept = False, None
            raise _submit_error(result)
        self._counts.submitted += 1
        if self.tap is not None:
            self._report(self.tap, IN_PROGRESS, length, begins=True)

    def cancel(self) -> None:
        """Ask for its end; `done` is called when it is over."""
        if self.pending:
            self._libusb.functions.libusb_cancel_transfer(self._pointer)

    def free(self) -> None:
        """Free the memory; only when not pending."""
        assert not self.pending
        self._libusb.functions.libusb_free_transfer(self._pointer)

    def _finished(self, _: Any) -> None:
        self._libusb.call(self._deliver)

    def _report(self, tap: Tap, status: int, length: int, *, begins: bool) -> None:
        """The transfer's memory is still ours here."""
        fields = self._fields
        carries = tap.wants_data and begins == (not fields.endpoint & IN)
        data = ctypes.string_at(fields.buffer, length) if carries and length else b""
        number = ctypes.addressof(fields)

        tap.on_event(UsbEvent(time.time(), begins, number, fields.endpoint, status, length, data))

    def _deliver(self) -> None:
        self.status, self.actual_length = Status(self._fields.status), self._fields.actual_length
        if self.tap is not None:
            self._report(self.tap, _AS_USBMON[self.status], self.actual_length, begins=False)
        self.pending, self._kept = False, None
        self._counts.completed += self.status is Status.COMPLETED
        self._counts.cancelled += self.status is Status.CANCELLED
        self._done(self)


def _submit_error(result: int) -> UsbError:
    if result == _NO_DEVICE:
        return DeviceGone("the printer is gone")
    return TransferFailed(f"libusb refuses a transfer: error {result}")


def _declare(lib: ctypes.CDLL) -> None:
    """Prototypes of what is used here (libusb 1.0 API)."""
    transfer = POINTER(_Transfer)
    for name, result, arguments in (
        ("libusb_alloc_transfer", transfer, [c_int]),
        ("libusb_free_transfer", None, [transfer]),
        ("libusb_submit_transfer", c_int, [transfer]),
        ("libusb_cancel_transfer", c_int, [transfer]),
        ("libusb_get_pollfds", POINTER(POINTER(_PollFd)), [c_void_p]),
        ("libusb_free_pollfds", None, [POINTER(POINTER(_PollFd))]),
        ("libusb_set_pollfd_notifiers", None, [c_void_p, _FdAdded, _FdRemoved, c_void_p]),
        (
            "libusb_handle_events_timeout_completed",
            c_int,
            [c_void_p, POINTER(_Timeval), POINTER(c_int)],
        ),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
