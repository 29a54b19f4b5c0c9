"""A USB/IP client without a kernel: what vhci_hcd does, one URB at a time."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import NamedTuple

from ippusbd.virtual.usb import usbip_messages as m

PATIENCE_S = 10.0
SUBMIT = struct.Struct(">IIIIIIiiii8s")
RETURN = struct.Struct(">IIIIIiiiii8x")


class Reply(NamedTuple):
    """A header from the server."""

    code: int
    sequence: int
    status: int
    actual: int


def submit(
    sequence: int,
    endpoint: int,
    length: int,
    *,
    incoming: bool,
    flags: int = 0,
    setup: bytes = b"",
) -> bytes:
    """CMD_SUBMIT."""
    where = sequence, 0, incoming, endpoint
    return SUBMIT.pack(m.CMD_SUBMIT, *where, flags, length, 0, 0, 0, setup.ljust(8, b"\0"))


def unlink(sequence: int, target: int) -> bytes:
    """CMD_UNLINK."""
    return SUBMIT.pack(m.CMD_UNLINK, sequence, 0, 0, 0, target, 0, 0, 0, 0, bytes(8))


def parse_reply(data: bytes) -> Reply:
    code, sequence, _, _, _, status, actual, _, _, _ = RETURN.unpack(data)
    return Reply(code, sequence, status, actual if code == m.RET_SUBMIT else 0)


class UsbIpClient:
    """Speaks to a server over loopback; `import_device` first."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, timeout=PATIENCE_S)
        self._sequence = 0

    def __enter__(self) -> UsbIpClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.sock.close()

    def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise EOFError(f"the server hung up after {data!r}")
            data += piece
        return data

    def list_devices(self) -> list[tuple[str, list[bytes]]]:
        """Busid, and class, subclass and protocol of each interface."""
        self.sock.sendall(m.request(m.LIST_REQUEST))
        _, code, status = struct.unpack(">HHI", self.exactly(8))
        assert (code, status) == (m.LIST_REPLY, m.OK)
        devices = []
        for _ in range(struct.unpack(">I", self.exactly(4))[0]):
            raw = self.exactly(312)
            faces = [self.exactly(4)[:3] for _ in range(raw[-1])]
            devices.append((raw[256:288].rstrip(b"\0").decode(), faces))
        return devices

    def import_device(self, busid: str = "1-1") -> int:
        """The status; 0 and the connection carries URBs."""
        self.sock.sendall(m.request(m.IMPORT_REQUEST, busid))
        status = m.parse_import_reply(self.exactly(8))
        if status == m.OK:
            assert self.exactly(312)[256:288].rstrip(b"\0").decode() == busid
        return status

    def submit_in(self, endpoint: int, size: int) -> int:
        self._sequence += 1
        self.sock.sendall(submit(self._sequence, endpoint, size, incoming=True))
        return self._sequence

    def submit_out(self, endpoint: int, data: bytes) -> int:
        self._sequence += 1
        self.sock.sendall(submit(self._sequence, endpoint, len(data), incoming=False) + data)
        return self._sequence

    def submit_control(self, kind: int, request: int, value: int, index: int, size: int) -> int:
        self._sequence += 1
        setup = struct.pack("<BBHHH", kind, request, value, index, size)
        length, incoming = (size, True) if kind & 0x80 else (0, False)
        self.sock.sendall(submit(self._sequence, 0, length, incoming=incoming, setup=setup))
        return self._sequence

    def unlink(self, target: int) -> int:
        self._sequence += 1
        self.sock.sendall(unlink(self._sequence, target))
        return self._sequence

    def reply(self, *, incoming: bool = False) -> tuple[Reply, bytes]:
        """The next answer; `incoming`: its data follows."""
        reply = parse_reply(self.exactly(m.HEADER_SIZE))
        has_data = incoming and reply.code == m.RET_SUBMIT
        return reply, self.exactly(reply.actual) if has_data else b""

    def control(self, kind: int, request: int, value: int, index: int, size: int = 0) -> bytes:
        sequence = self.submit_control(kind, request, value, index, size)
        reply, data = self.reply(incoming=bool(kind & 0x80))
        assert (reply.sequence, reply.status) == (sequence, 0), reply
        return data

    def write(self, endpoint: int, data: bytes) -> None:
        sequence = self.submit_out(endpoint, data)
        assert self.reply()[0] == Reply(m.RET_SUBMIT, sequence, 0, len(data))

    def read(self, endpoint: int, size: int = 65536) -> bytes:
        sequence = self.submit_in(endpoint, size)
        reply, data = self.reply(incoming=True)
        assert (reply.sequence, reply.status) == (sequence, 0), reply
        return data

    def configure(self, interface: int = 0) -> None:
        """As a host would: configuration 1, the IPP setting of one interface."""
        self.control(0x00, 9, 1, 0)
        self.control(0x01, 11, 1, interface)
