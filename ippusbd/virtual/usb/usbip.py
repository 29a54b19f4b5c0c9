"""A USB/IP server: virtual devices behind the USB stack of a real kernel.

A kernel's `vhci_hcd` imports a device over a connection and from then on uses it like
hardware: descriptors, settings, bulk transfers. The device is the same `VirtualDevice` that
the in-process backend uses.

One connection is one imported device, and a device is imported once. The end of a connection
is an unplug for the host; an unplug of the device ends its connection. A thread per connection
reads, and replies are sent by the thread that has them: a hop from the firmware's thread to
another one would be most of a reply's cost.

Knows sockets and threads; `usbip_urbs` handles the URBs.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Final

from ippusbd.errors import DeviceGone
from ippusbd.virtual.usb import usbip_messages as m
from ippusbd.virtual.usb.device import VirtualDevice
from ippusbd.virtual.usb.usbip_urbs import Urbs

log = logging.getLogger("ippusbd.virtual")

BUS: Final = 1
BUFFER: Final = 1 << 20
LARGEST_URB: Final = 32 << 20  # usbfs allows 16 MB in all
HANDSHAKE_S: Final = 10.0

Serve = Callable[[socket.socket], None]


class Wire:
    """Whole messages onto a socket, from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()

    def send(self, *parts: bytes) -> None:
        """Errors are ignored: the reader notices a lost connection."""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        with self._lock, contextlib.suppress(OSError):
            self._sock.sendall(data)


class UsbIpServer:
    """Devices by their busid: the first is 1-1, the second 1-2."""

    def __init__(self, devices: Iterable[VirtualDevice]) -> None:
        self._devices = tuple(devices)
        self._imported: dict[VirtualDevice, socket.socket] = {}
        self._connections: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._released = threading.Condition(self._lock)
        self._watches = [(device, self._watch(device)) for device in self._devices]

    # --- life

    def listen(self, host: str, port: int) -> tuple[str, int]:
        """Accept clients from now on; returns the address bound."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=16)
        self._start(self._accept, self._listener)
        bound = self._listener.getsockname()
        return bound[0], bound[1]

    def adopt(self, sock: socket.socket) -> None:
        """Serve an existing connection; it is closed here."""
        with self._lock:
            self._connections.add(sock)
        self._start(self._serve, sock)

    def close(self) -> None:
        """End every connection and wait for the threads. Idempotent."""
        for device, told in self._watches:
            if told in device.plug_changed:
                device.plug_changed.remove(told)
        if self._listener is not None:
            _hang_up(self._listener)
        with self._lock:
            open_now = tuple(self._connections)
        for sock in open_now:
            _hang_up(sock)
        for thread in tuple(self._threads):
            thread.join()
        if self._listener is not None:
            self._listener.close()

    def busid(self, device: VirtualDevice) -> str:
        """The bus ID by which a client imports the device."""
        return self._export(device).busid

    def devid(self, device: VirtualDevice) -> int:
        """Bus and device number in one, as the kernel expects it."""
        return self._export(device).devid

    def wait_released(self, device: VirtualDevice, timeout_s: float) -> bool:
        """Blocks until no host has the device imported; False: one still has."""
        with self._released:
            return self._released.wait_for(lambda: device not in self._imported, timeout_s)

    def _start(self, target: Serve, sock: socket.socket) -> None:
        thread = threading.Thread(target=self._run, args=(target, sock), name="usbip", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _run(self, target: Serve, sock: socket.socket) -> None:
        target(sock)
        self._threads.discard(threading.current_thread())

    def _watch(self, device: VirtualDevice) -> Callable[[], None]:
        def told() -> None:
            sock = self._imported.get(device)
            if not device.plugged and sock is not None:
                _hang_up(sock)

        device.plug_changed.append(told)
        return told

    # --- connections

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return  # closed
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.adopt(sock)

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock.settimeout(HANDSHAKE_S)
            device = self._handshake(sock)
            if device is not None:
                sock.settimeout(None)
                self._serve_device(sock, device)
        except m.BadUsbIp as exc:
            log.warning("usbip: connection closed: %s", exc)
        except OSError as exc:
            log.debug("usbip: connection lost: %s", exc)
        finally:
            with self._lock:
                self._connections.discard(sock)
            sock.close()

    def _handshake(self, sock: socket.socket) -> VirtualDevice | None:
        code = m.parse_request(_exactly(sock, m.REQUEST_SIZE))
        if code == m.LIST_REQUEST:
            sock.sendall(m.list_reply([self._export(one) for one in self._devices if one.plugged]))
            return None
        busid = m.parse_busid(_exactly(sock, m.BUSID_SIZE))
        status, device = self._take(busid, sock)
        export = self._export(device) if device is not None else None
        sock.sendall(m.import_reply(status, export))
        return device

    def _take(self, busid: str, sock: socket.socket) -> tuple[int, VirtualDevice | None]:
        with self._lock:
            for device in self._devices:
                if device.plugged and self._export(device).busid == busid:
                    if device in self._imported:
                        return m.BUSY, None
                    self._imported[device] = sock
                    return m.OK, device
        return m.NO_DEVICE, None

    def _export(self, device: VirtualDevice) -> m.Export:
        number = self._devices.index(device) + 1
        return m.Export(device.spec, device.configuration, BUS, number)

    def _serve_device(self, sock: socket.socket, device: VirtualDevice) -> None:
        log.info("usbip: %s imported", self.busid(device))
        urbs = Urbs(device, Wire(sock).send)
        plugs = device.plug_count
        try:
            _read_commands(sock, urbs)
        finally:
            urbs.close()
            if device.plugged and device.plug_count == plugs:
                with contextlib.suppress(DeviceGone):
                    device.reset()  # the host is gone, and with it the bus power
            with self._released:
                del self._imported[device]
                self._released.notify_all()
            log.info("usbip: %s released", self.busid(device))


def _read_commands(sock: socket.socket, urbs: Urbs) -> None:
    """Until the connection ends. Raises BadUsbIp."""
    buffer = bytearray(BUFFER)
    start = end = 0
    while True:
        needed = m.HEADER_SIZE
        while end - start >= m.HEADER_SIZE:
            command = m.parse_command(buffer, start)
            needed += command.data_follows
            if end - start < needed:
                break
            with memoryview(buffer)[start + m.HEADER_SIZE : start + needed] as data:
                _dispatch(urbs, command, data)
            start += needed
            needed = m.HEADER_SIZE
        if start == end:
            start = end = 0
        elif start + needed > len(buffer):
            buffer, start, end = _moved(buffer, start, end, needed)
        with memoryview(buffer)[end:] as room:
            count = sock.recv_into(room)
        if not count:
            return
        end += count


def _dispatch(urbs: Urbs, command: m.Command, data: memoryview) -> None:
    if command.code == m.CMD_SUBMIT:
        urbs.submit(command, data)
    else:
        urbs.unlink(command)


def _moved(buffer: bytearray, start: int, end: int, needed: int) -> tuple[bytearray, int, int]:
    """The unfinished message at the front of a buffer it fits in."""
    if needed > LARGEST_URB:
        raise m.BadUsbIp(f"an URB of {needed} bytes exceeds the limit")
    if needed > len(buffer):
        return bytearray(buffer[start:end]).ljust(needed, b"\0"), 0, end - start
    buffer[: end - start] = buffer[start:end]
    return buffer, 0, end - start


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = sock.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        raise m.BadUsbIp("the client disconnected during the handshake")
    return data


def _hang_up(sock: socket.socket) -> None:
    """Wakes the thread that reads from it, which closes it."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
