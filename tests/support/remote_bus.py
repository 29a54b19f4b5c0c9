"""A bus of virtual devices in one process, the daemon that uses it in another.

So that what is measured of the daemon is the daemon alone. Blocking calls of pyusb's backend go
over a Unix socket; descriptors are read once, as libusb reads them. Transfers are asynchronous,
URBs in USB/IP's messages as in `UsbIpLibusb`, with a connection for each endpoint: its data flows
in one direction only, so neither process can wait for the other to read.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

import usb.backend
import usb.core
from support.usbip_client import submit, unlink
from support.usbip_libusb import REPLY, UsbIpLibusb

from ippusbd.usbio.pyusb_host import PyusbHost
from ippusbd.virtual.usb import usbip_messages as m
from ippusbd.virtual.usb.backend import VirtualBackend
from ippusbd.virtual.usb.host import Refused, VirtualHandle
from ippusbd.virtual.usb.usbip import Wire
from ippusbd.virtual.usb.usbip_urbs import Urbs

DESCRIPTORS = tuple(
    f"get_{of}_descriptor" for of in ("device", "configuration", "interface", "endpoint")
)
CALLS = (
    *("set_configuration", "get_configuration", "set_interface_altsetting", "claim_interface"),
    *("release_interface", "clear_halt", "reset_device", "is_kernel_driver_active"),
    *("detach_kernel_driver", "attach_kernel_driver"),
)


# --- the process of the printers


class BusServer:
    """Serves `backend` in a folder until `close`, in threads."""

    def __init__(self, backend: VirtualBackend, folder: Path) -> None:
        self._backend = backend
        self._numbers = itertools.count(1)
        self._handles: dict[int, VirtualHandle] = {}
        self._streams: dict[int, list[socket.socket]] = {}  # of handles
        self._listeners = [
            self._listen(folder / "calls", self._serve_calls),
            self._listen(folder / "urbs", self._serve_urbs),
        ]

    def close(self) -> None:
        """The daemon has ended, and with it its connections."""
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    @staticmethod
    def _listen(path: Path, serve: Callable[[socket.socket], None]) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def accept() -> None:
            with contextlib.suppress(OSError):  # closed
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return listener

    def _serve_calls(self, sock: socket.socket) -> None:
        with contextlib.suppress(EOFError, OSError), Connection(sock.detach()) as connection:
            while True:
                name, target, arguments = connection.recv()
                answer: tuple[bool, Any]
                try:
                    answer = True, self._call(name, target, arguments)
                except usb.core.USBError as exc:
                    answer = False, (type(exc), exc.strerror, exc.backend_error_code, exc.errno)
                except IndexError as exc:  # no such descriptor
                    answer = False, (IndexError, *exc.args)
                connection.send(answer)

    def _call(self, name: str, target: int, arguments: list[Any]) -> Any:
        """`target` is the number of a device's port, or of a handle."""
        if name == "enumerate_devices":
            return [(port.number, port.address) for port in self._backend.enumerate_devices()]
        call = getattr(self._backend, name)
        if name in DESCRIPTORS:
            return call(self._backend.ports[target - 1], *arguments)
        if name == "open_device":
            handle, number = call(self._backend.ports[target - 1]), next(self._numbers)
            self._handles[number], self._streams[number] = handle, []
            return number
        if name == "close_device":
            for sock in self._streams.pop(target):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            return call(self._handles.pop(target))
        result = call(self._handles[target], *arguments)
        return (result, arguments[4]) if name == "ctrl_transfer" else result

    def _serve_urbs(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, KeyError), sock:
            number = int.from_bytes(sock.recv(4, socket.MSG_WAITALL), "big")
            handle = self._handles[number]
            self._streams[number].append(sock)
            wire = Wire(sock)
            urbs = Urbs(handle.port.device, wire.send)
            while header := sock.recv(m.HEADER_SIZE, socket.MSG_WAITALL):
                command = m.parse_command(bytearray(header), 0)
                size = command.data_follows
                data = sock.recv(size, socket.MSG_WAITALL) if size else b""
                try:
                    handle.port.check_alive(handle)
                except Refused as exc:
                    wire.send(m.submitted(command.sequence, -exc.errno, 0))
                    continue
                if command.code == m.CMD_UNLINK:
                    urbs.unlink(command)
                else:
                    urbs.submit(command, memoryview(data))
            urbs.close()


# --- the process of the daemon


class _Device:
    """A device that is plugged in; each of its descriptors is asked for once."""

    def __init__(self, backend: RemoteBackend, number: int) -> None:
        self.number = number
        self._backend = backend
        self._known: dict[tuple[Any, ...], Any] = {}

    def descriptor(self, *what: Any) -> Any:
        if what not in self._known:
            name, *indexes = what
            try:
                self._known[what] = self._backend.ask(name, self.number, *indexes)
            except IndexError:
                self._known[what] = None
        if self._known[what] is None:
            raise IndexError
        return self._known[what]


class _Handle:
    """`handle` is what libusb's pointer is."""

    def __init__(self, number: int) -> None:
        self.handle = self.number = number


def _of_handle(name: str) -> Callable[..., Any]:
    return lambda self, handle, *arguments: self.ask(name, handle.number, *arguments)


def _of_device(name: str) -> Callable[..., Any]:
    return lambda self, device, *arguments: device.descriptor(name, *arguments)


class RemoteBackend(usb.backend.IBackend):  # type: ignore[misc]
    """The bus that a BusServer serves in `folder`, without bulk transfers."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._address = str(folder / "calls")
        self._of_thread = threading.local()
        self._devices: dict[tuple[int, int], _Device] = {}  # by port and address

    def ask(self, name: str, target: int, *arguments: Any) -> Any:
        """Blocks; every thread has its own connection."""
        if not hasattr(self._of_thread, "connection"):
            self._of_thread.connection = Client(self._address)
        self._of_thread.connection.send((name, target, arguments))
        done, result = self._of_thread.connection.recv()
        if not done:
            kind, *what = result
            raise kind(*what)
        return result

    def enumerate_devices(self) -> Iterator[_Device]:
        present = [tuple(found) for found in self.ask("enumerate_devices", 0)]
        self._devices = {
            found: self._devices.get(found) or _Device(self, found[0]) for found in present
        }
        return iter(self._devices.values())

    def open_device(self, dev: _Device) -> _Handle:
        return _Handle(self.ask("open_device", dev.number))

    def close_device(self, dev_handle: _Handle) -> None:
        self.ask("close_device", dev_handle.number)

    def ctrl_transfer(self, dev_handle: _Handle, *arguments: Any) -> int:
        *setup, data, timeout = arguments
        count, filled = self.ask("ctrl_transfer", dev_handle.number, *setup, data, timeout)
        data[:] = filled
        return int(count)


for name in CALLS:
    setattr(RemoteBackend, name, _of_handle(name))
for name in DESCRIPTORS:
    setattr(RemoteBackend, name, _of_device(name))


class _Stream:
    """The connection of one endpoint of a handle; takes URBs as `Urbs` does."""

    def __init__(self, libusb: RemoteLibusb, path: Path, key: tuple[int, int]) -> None:
        self._libusb, self._key = libusb, key
        handle, self._endpoint = key
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.connect(str(path))
        self._sock.sendall(handle.to_bytes(4, "big"))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock, self._read)

    def close(self) -> None:
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def submit(self, urb: m.Command, data: memoryview) -> None:
        sequence, size, flags = urb.sequence, urb.length, urb.target
        head = submit(sequence, urb.endpoint, size, incoming=urb.incoming, flags=flags)
        self._sock.sendall(head)
        self._sock.sendall(data)

    def unlink(self, command: m.Command) -> None:
        self._sock.sendall(unlink(command.sequence, command.target))

    def _read(self) -> None:
        header = self._sock.recv(m.HEADER_SIZE, socket.MSG_WAITALL)
        if not header:  # the handle was closed
            self._libusb.gone(self._key)
            return
        code, sequence, _, _, _, _, size = REPLY.unpack(header)
        if code == m.RET_SUBMIT and self._endpoint & 0x80 and size:
            self._sock.recv_into(self._libusb.room(sequence, size), size, socket.MSG_WAITALL)
        self._libusb.received(header, b"")


class RemoteLibusb(UsbIpLibusb):
    """`UsbIpLibusb` whose URBs go to the BusServer of `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(None)
        self._path = folder / "urbs"
        self._streams: dict[tuple[int, int], _Stream] = {}  # by handle and endpoint

    def stop(self) -> None:
        for key in list(self._streams):
            self.gone(key)

    def gone(self, key: tuple[int, int]) -> None:
        self._streams.pop(key).close()

    def room(self, sequence: int, size: int) -> memoryview | bytearray:
        """The memory of a transfer; of one whose cancel the printer ignored there is none."""
        fields = self._pending.get(sequence)
        if fields is None:
            return bytearray(size)
        return memoryview((ctypes.c_char * fields.length).from_address(fields.buffer)).cast("B")

    def _urbs_of(self, pointer: Any) -> _Stream:
        key = pointer.dev_handle, pointer.endpoint
        if key not in self._streams:
            self._streams[key] = _Stream(self, self._path, key)
        return self._streams[key]


class RemoteHost(PyusbHost):
    """The daemon's host, with asynchronous channels; on the bus of `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(RemoteBackend(folder))
        self._remote = RemoteLibusb(folder)

    def _asynchronous(self) -> Any:
        return self._remote

    async def close(self) -> None:
        self._remote.stop()
        await super().close()
