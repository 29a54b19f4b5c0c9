"""Connections inside the simulation: two transports, and bytes that take a moment between them.

Ordered, reliable, with back-pressure both ways, like a Unix socket; how long the bytes of a
moment take is drawn from the seed, so that who comes first changes from run to run.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import deque
from typing import Any

HIGH_WATER = 64 * 1024
LOW_WATER = 16 * 1024
QUICK_S, SLOW_S = 20e-6, 400e-6  # of bytes on their way
UID = 1000


class MemoryTransport(asyncio.Transport):
    """One end. `attach` gives it its protocol."""

    def __init__(self, loop: asyncio.AbstractEventLoop, chance: random.Random) -> None:
        super().__init__()
        self._loop = loop
        self._chance = chance
        self._protocol: asyncio.Protocol | None = None
        self._peer: MemoryTransport = self
        self._socket: object = None
        self._outgoing: deque[bytes] = deque()
        self._size = 0
        self._moving = False  # a delivery is scheduled
        self._paused = False  # the protocol of this end reads nothing
        self._protocol_paused = False  # the protocol of this end was told to stop writing
        self._high, self._low = HIGH_WATER, LOW_WATER
        self._eof = False  # nothing more will be written
        self._eof_told = False
        self._closing = False
        self._lost = False
        self.max_size = 256 * 1024  # what the protocol is given at once

    @property
    def peer_has_closed(self) -> bool:
        return self._peer._eof or self._peer._closing

    def join(self, peer: MemoryTransport, sock: object) -> None:
        self._peer, self._socket = peer, sock

    def attach(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        protocol.connection_made(self)
        self._peer._move_soon()

    # --- asyncio.Transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket if name == "socket" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._peer._move_soon()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = HIGH_WATER if high is None else high
        self._low = self._high // 4 if low is None else low
        self._pause_writer()

    def get_write_buffer_size(self) -> int:
        return self._size

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self._eof or not len(data):
            return
        self._outgoing.append(bytes(data))
        self._size += len(data)
        self._move_soon()
        self._pause_writer()

    def _pause_writer(self) -> None:
        if self._size > self._high and not self._protocol_paused and self._protocol is not None:
            self._protocol_paused = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._eof = True
        self._move_soon()

    def close(self) -> None:
        if not self._closing:
            self._closing = self._eof = True
            self._move_soon()
            if not self._size:
                self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        """As a process that dies: what is on its way is lost, the peer hears of a reset."""
        self._closing = self._eof = True
        self._outgoing.clear()
        self._size = 0
        self._loop.call_soon(self._lose, None)
        self._loop.call_soon(self._peer._reset)

    # --- bytes on their way

    def _move_soon(self) -> None:
        if not self._moving and (self._outgoing or (self._eof and not self._eof_told)):
            self._moving = True
            self._loop.call_later(self._chance.uniform(QUICK_S, SLOW_S), self._move)

    def _move(self) -> None:
        self._moving = False
        peer = self._peer
        if peer._lost or peer._protocol is None or peer._paused:
            return
        if self._outgoing:
            data = self._outgoing.popleft()
            if len(data) > peer.max_size:
                self._outgoing.appendleft(data[peer.max_size :])
                data = data[: peer.max_size]
            self._size -= len(data)
            if not peer._closing:
                peer._protocol.data_received(data)
            self._written()
        elif self._eof and not self._eof_told:
            self._eof_told = True
            if not peer._closing and not peer._protocol.eof_received():
                peer.close()
        self._move_soon()

    def _written(self) -> None:
        if self._protocol_paused and self._size <= self._low and self._protocol is not None:
            self._protocol_paused = False
            self._protocol.resume_writing()
        if self._closing and not self._size:
            self._loop.call_soon(self._lose, None)

    def _reset(self) -> None:
        self._closing = self._eof = True
        self._outgoing.clear()
        self._size = 0
        self._lose(ConnectionResetError("the peer is gone"))

    def _lose(self, exc: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        if self._protocol is not None:
            self._protocol.connection_lost(exc)


class FarEnd:
    """What the daemon takes for an accepted Unix socket of the process `pid`."""

    family = socket.AF_UNIX
    type = socket.SOCK_STREAM
    proto = 0

    def __init__(self, transport: MemoryTransport, pid: int, present: int, gone: int) -> None:
        self.transport = transport
        self._peer = struct.pack("3i", pid, UID, UID)
        self._present, self._gone = present, gone

    def getsockopt(self, level: int, option: int, size: int = 0) -> bytes:
        return self._peer if option == socket.SO_PEERCRED else b""  # no supplementary groups

    def setsockopt(self, *_: object) -> None:
        pass

    def fileno(self) -> int:
        """A socket whose other end is closed, or is not, as the client's."""
        return self._gone if self.transport.peer_has_closed else self._present

    def close(self) -> None:
        self.transport.abort()


class Network:
    """Makes connections. Two real sockets stand for all that are open, and all that are not."""

    def __init__(self, loop: asyncio.AbstractEventLoop, chance: random.Random) -> None:
        self._loop = loop
        self._chance = chance
        self._present = socket.socketpair()
        self._gone = socket.socketpair()
        self._gone[1].close()

    def connect(self, pid: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, FarEnd]:
        """A client's streams, and the end that the daemon adopts."""
        near, far = (MemoryTransport(self._loop, self._chance) for _ in range(2))
        sock = FarEnd(far, pid, self._present[0].fileno(), self._gone[0].fileno())
        near.join(far, sock)
        far.join(near, sock)
        reader = asyncio.StreamReader(limit=1 << 20, loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        near.attach(protocol)
        return reader, asyncio.StreamWriter(near, protocol, reader, self._loop), sock

    def close(self) -> None:
        for one in (*self._present, self._gone[0]):
            one.close()
