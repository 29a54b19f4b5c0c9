"""Attach USB/IP devices to this machine's own kernel, as `usbip attach` does.

`vhci_hcd` is a host controller whose ports are sockets: after the import handshake the kernel
takes over the connected socket, and the device is on the bus. The socket is one end of a pair
whose other end is served in this process, so no network port is involved.

Needs the module `vhci_hcd` and root. Knows sysfs; nothing of URBs.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
from pathlib import Path
from typing import Final

from ippusbd.errors import AccessDenied, NotUsable, UsbError
from ippusbd.virtual.usb import usbip_messages as m
from ippusbd.virtual.usb.device import VirtualDevice
from ippusbd.virtual.usb.usbip import UsbIpServer

log = logging.getLogger("ippusbd.virtual")

CONTROLLER: Final = Path("/sys/devices/platform/vhci_hcd.0")
FREE: Final = "004"  # VDEV_ST_NULL
SOCKET_BYTES: Final = 4 << 20
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # root may pass the system's limit
RELEASED_S: Final = 5.0


class Attacher:
    """Keeps devices of one server on this kernel's bus."""

    def __init__(self, server: UsbIpServer, controller: Path = CONTROLLER) -> None:
        if not (controller / "attach").exists():
            raise NotUsable(
                "this kernel has no virtual USB host controller; try: modprobe vhci-hcd"
            )
        self._server = server
        self._controller = controller
        self._lock = threading.Lock()

    def attach(self, device: VirtualDevice) -> int:
        """Attach a device to a free port; returns its number. Blocks; raises UsbError.

        Waits until the connection of a device that was just unplugged has released it.
        """
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            _enlarge(sock)
        try:
            if not self._server.wait_released(device, RELEASED_S):
                raise UsbError(f"{self._server.busid(device)} is already attached")
            self._server.adopt(theirs)
            self._import(ours, self._server.busid(device))
            with self._lock:
                port = self._free_port()
                self._write(f"{port} {ours.fileno()} {self._server.devid(device)} {m.SPEED_HIGH}")
        finally:
            ours.close()  # the kernel keeps a reference
        return port

    def keep_attached(self, device: VirtualDevice) -> None:
        """Attach now, and again at every plug-in. Raises as `attach` does, now."""
        self.attach(device)
        device.plug_changed.append(lambda: self._follow(device))

    def _follow(self, device: VirtualDevice) -> None:
        if not device.plugged:
            return
        try:
            self.attach(device)
        except UsbError as exc:
            log.error("usbip: %s cannot be attached again: %s", self._server.busid(device), exc)

    def _import(self, sock: socket.socket, busid: str) -> None:
        sock.sendall(m.request(m.IMPORT_REQUEST, busid))
        status = m.parse_import_reply(sock.recv(m.REQUEST_SIZE, socket.MSG_WAITALL))
        if status != m.OK:
            raise UsbError(f"the USB/IP server refuses {busid}: status {status}")
        sock.recv(m.IMPORT_REPLY_SIZE - m.REQUEST_SIZE, socket.MSG_WAITALL)

    def _free_port(self) -> int:
        """The first free high-speed port; lines are "hs 0003 004 ..."."""
        for status in sorted(self._controller.glob("status*")):
            for line in status.read_text().splitlines():
                hub, port, state = line.split()[:3]
                if hub == "hs" and state == FREE:
                    return int(port)
        raise UsbError("all ports of the virtual USB host controller are in use")

    def _write(self, line: str) -> None:
        try:
            (self._controller / "attach").write_text(line)
        except PermissionError as exc:
            raise AccessDenied("attaching a device to this kernel needs root") from exc
        except OSError as exc:
            raise UsbError(f"the kernel refuses the device: {exc}") from exc


def _enlarge(sock: socket.socket) -> None:
    for option, fallback in (
        (SO_SNDBUFFORCE, socket.SO_SNDBUF),
        (SO_RCVBUFFORCE, socket.SO_RCVBUF),
    ):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BYTES)
        except OSError as exc:
            if exc.errno != errno.EPERM:
                raise
            sock.setsockopt(socket.SOL_SOCKET, fallback, SOCKET_BYTES)
