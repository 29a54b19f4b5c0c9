"""A bad cable for a virtual printer: what it answers on a real kernel's bus is changed at random.

    vhci_hcd <--socket pair--> Cable <--TCP--> UsbIpServer: a virtual printer without faults

What is changed: descriptors, strings and other control answers, bulk data, the status and the
time of any URB, an URB that never completes, and the plug. Each device draws how often each of
these happens, so that some are refused by the kernel and others print for a while first. The
messages stay valid USB/IP: the kernel's own faults with that protocol are not looked for.

Knows USB/IP's messages; nothing of what is asked. A seed gives the same draws, in the order in
which the kernel and the daemon ask.
"""

from __future__ import annotations

import contextlib
import errno
import random
import socket
import struct
import threading
import time
from collections import Counter
from typing import Final

from ippusbd.virtual.usb import usbip_messages as m
from ippusbd.virtual.usb.vhci import CONTROLLER, FREE

GET_DESCRIPTOR: Final = 6
ERRORS: Final = (errno.EPIPE, errno.EPROTO, errno.EOVERFLOW, errno.EILSEQ, errno.ESHUTDOWN)
REQUESTS: Final = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ")
RATES: Final = (0.0, 0.0, 0.002, 0.01, 0.05, 0.3)
ATTACH_S: Final = 10.0
WORDS: Final = (0, 1, 2, 0x7F, 0x80, 0xFF, 0xFE)
_REPLY: Final = struct.Struct(">IIIIIii")  # code, sequence, ..., status, size


class Cable:
    """One device on the bus from now until `unplug`, or until it unplugs itself."""

    def __init__(
        self, server: tuple[str, int], busid: str, devid: int, draw: random.Random
    ) -> None:
        self.done: Counter[str] = Counter()  # what was changed, by kind
        self.exchanges = 0  # requests of HTTP that arrived
        self.is_over = threading.Event()
        self._draw = draw
        kinds = ("descriptor", "control", "data", "status", "silence", "late")
        self._rates = {kind: draw.choice(RATES) for kind in kinds}
        self._unplugs_after = draw.choice((0, 0, 30, 100, 400))  # replies; 0: never by itself
        self._replies = 0
        self._asked: dict[int, m.Command] = {}
        self._silent: set[int] = set()  # URBs whose replies were withheld
        self._printer = socket.create_connection(server)
        self._printer.sendall(m.request(m.IMPORT_REQUEST, busid))
        if m.parse_import_reply(_exactly(self._printer, m.IMPORT_REPLY_SIZE)) != m.OK:
            raise OSError(f"{busid} is not free")
        self._host, theirs = socket.socketpair()
        with theirs:  # the kernel keeps a reference
            _attach(f"{theirs.fileno()} {devid} {m.SPEED_HIGH}")
        self._threads = [
            threading.Thread(target=self._run, args=(pass_on,), daemon=True)
            for pass_on in (self._to_printer, self._to_host)
        ]
        for thread in self._threads:
            thread.start()

    def unplug(self) -> None:
        """Blocks until nothing of it is left. Idempotent."""
        self._hang_up()
        for thread in self._threads:
            thread.join()
        self._host.close()
        self._printer.close()

    def _hang_up(self) -> None:
        self.is_over.set()
        for each in (self._host, self._printer):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _run(self, pass_on: object) -> None:
        assert callable(pass_on)
        try:
            while pass_on():
                pass
        except OSError:
            pass
        self._hang_up()

    # --- from the kernel

    def _to_printer(self) -> bool:
        head = _exactly(self._host, m.HEADER_SIZE)
        command = m.parse_command(bytearray(head), 0)
        data = _exactly(self._host, command.data_follows)
        self.exchanges += data.startswith(REQUESTS)
        if command.code == m.CMD_UNLINK and command.target in self._silent:
            self._silent.discard(command.target)
            self._host.sendall(m.unlinked(command.sequence, -errno.ECONNRESET))
            return True
        self._asked[command.sequence] = command
        self._printer.sendall(head + data)
        return True

    # --- from the printer

    def _to_host(self) -> bool:
        head = _exactly(self._printer, m.HEADER_SIZE)
        code, sequence, _, _, _, status, size = _REPLY.unpack_from(head)
        command = self._asked.pop(sequence)
        if code != m.RET_SUBMIT:
            self._host.sendall(head)
            return True
        data = _exactly(self._printer, size) if command.incoming and size > 0 else b""
        self._replies += 1
        if self._replies == self._unplugs_after:
            self.done["unplug"] += 1
            return False
        if self._happens("late"):
            time.sleep(self._draw.choice((0.01, 0.1, 0.5, 2.0)))
        if self._happens("silence"):
            self._silent.add(sequence)
            return True
        if self._happens("status"):
            status, data = -self._draw.choice(ERRORS), b""
        elif data and self._happens(_kind(command)):
            data = self._changed(data, command.length)
        sent = len(data) if command.incoming else 0 if status else size
        self._host.sendall(m.submitted(sequence, status, sent) + data)
        return True

    def _happens(self, kind: str) -> bool:
        happens = self._draw.random() < self._rates[kind]
        self.done[kind] += happens
        return happens

    def _changed(self, data: bytes, room: int) -> bytes:
        """`data` with some bytes replaced, removed, repeated or added; at most `room` bytes."""
        draw, changed = self._draw, bytearray(data)
        for _ in range(draw.choice((1, 1, 2, 8))):
            at = draw.randrange(len(changed) + 1)
            match draw.randrange(6):
                case 0:
                    changed[at : at + 1] = bytes((draw.randrange(256),))
                case 1:
                    changed[at : at + 1] = bytes((draw.choice(WORDS),))
                case 2:
                    del changed[at:]
                case 3:
                    del changed[at : at + draw.randrange(1, 32)]
                case 4:
                    changed[at:at] = changed[: draw.randrange(1, 600)]
                case 5:
                    changed[at:at] = draw.randbytes(draw.randrange(1, 600))
        return bytes(changed[:room])


def _kind(command: m.Command) -> str:
    if command.endpoint:
        return "data"
    is_descriptor = command.setup[1] == GET_DESCRIPTOR and command.setup[3] != 3
    return "descriptor" if is_descriptor else "control"


def _attach(device: str) -> None:
    """Another cable may take the port first, or the kernel not have freed it yet: then again."""
    until = time.monotonic() + ATTACH_S
    while True:
        try:
            (CONTROLLER / "attach").write_text(f"{_free_port()} {device}")
        except OSError as exc:
            if exc.errno != errno.EBUSY or time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    for line in (CONTROLLER / "status").read_text().splitlines():
        hub, port, state = line.split()[:3]
        if hub == "hs" and state == FREE:
            return int(port)
    raise OSError("all ports of the virtual controller are in use")


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = sock.recv(size, socket.MSG_WAITALL) if size else b""
    if len(data) < size:
        raise ConnectionAbortedError
    return data
