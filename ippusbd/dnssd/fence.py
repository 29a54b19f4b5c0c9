"""Sockets that receive from named interfaces only.

python-zeroconf binds its listening socket to port 5353 of every address, whichever interfaces it
is told to use, and answers each question to its sender. So the kernel drops packets of all other
interfaces before the library sees them: a neighbour can neither ask for records that are
announced on loopback alone nor contest their names.

A classic BPF filter needs no privilege. It compares the index of the receiving interface.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from collections.abc import Iterable

SO_ATTACH_FILTER = 26  # asm-generic/socket.h
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h
RECEIVING_INTERFACE = 0xFFFFF008  # linux/filter.h: SKF_AD_OFF + SKF_AD_IFINDEX
WHOLE_PACKET, NOTHING = 0xFFFFFFFF, 0


def receive_only_from(interfaces: Iterable[str], sockets: Iterable[socket.socket]) -> None:
    """Drop what arrives at `sockets` on other interfaces. OSError, if one does not exist."""
    program = [(LOAD_WORD, 0, 0, RECEIVING_INTERFACE)]
    for interface in interfaces:
        program.append((JUMP_IF_EQUAL, 0, 1, socket.if_nametoindex(interface)))
        program.append((RETURN, 0, 0, WHOLE_PACKET))
    program.append((RETURN, 0, 0, NOTHING))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    pointer = struct.pack("@HP", len(program), ctypes.addressof(code))
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointer)
        with contextlib.suppress(BlockingIOError):
            while True:  # what arrived before
                each.recv(1, socket.MSG_DONTWAIT)
