"""Which addresses this machine's network interfaces have, in the kernel's own words.

rtnetlink(7): messages of a head and attributes, all in the machine's byte order, each padded to
four bytes. Of an answer to `ask_addresses` only RTM_NEWADDR matters.

Pure. Knows no sockets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Final

NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
RTM_NEWADDR: Final = 20
RTM_GETADDR: Final = 22
REQUEST_DUMP: Final = 0x1 | 0x300  # NLM_F_REQUEST, NLM_F_DUMP
CHANGES: Final = 0x1 | 0x10 | 0x100  # groups: links, IPv4 addresses, IPv6 addresses

_HEAD: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ADDRESS: Final = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, interface
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_TENTATIVE: Final = 0x40 | 0x08  # not checked for duplicates yet, or found to be one


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """An address of an interface; `value` has the network of its prefix, too."""

    index: int
    value: IPv4Interface | IPv6Interface


def ask_addresses() -> bytes:
    """The question for all addresses."""
    body = _ADDRESS.pack(0, 0, 0, 0, 0)
    return _HEAD.pack(_HEAD.size + len(body), RTM_GETADDR, REQUEST_DUMP, 1, 0) + body


def addresses(data: bytes) -> tuple[list[LocalAddress], bool]:
    """The usable addresses in one datagram, and whether it is the answer's last one."""
    found, is_last = [], False
    for kind, body in _messages(data):
        if kind in (NLMSG_DONE, NLMSG_ERROR):
            is_last = True
        elif kind == RTM_NEWADDR and (address := _address(body)) is not None:
            found.append(address)
    return found, is_last


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while len(data) - at >= _HEAD.size:
        length, kind, _, _, _ = _HEAD.unpack_from(data, at)
        if not _HEAD.size <= length <= len(data) - at:
            return
        yield kind, data[at + _HEAD.size : at + length]
        at += _padded(length)


def _address(body: bytes) -> LocalAddress | None:
    if len(body) < _ADDRESS.size:
        return None
    _, prefix, flags, _, index = _ADDRESS.unpack_from(body)
    found = dict(_attributes(body[_ADDRESS.size :]))
    if len(wide := found.get(_IFA_FLAGS, b"")) == 4:
        (flags,) = struct.unpack("=I", wide)
    raw = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS) or b""  # the far end, point to point
    if len(raw) not in (4, 16) or prefix > 8 * len(raw) or flags & _TENTATIVE:
        return None
    return LocalAddress(index, ip_interface((raw, prefix)))


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while len(data) - at >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size <= length <= len(data) - at:
            return
        yield kind, data[at + _ATTRIBUTE.size : at + length]
        at += _padded(length)


def _padded(length: int) -> int:
    return (length + 3) & ~3
