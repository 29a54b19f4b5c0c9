"""systemd's journal, in its own protocol: named fields in one datagram, nothing to install.

A field is `NAME=value`, or, if the value has several lines, the name alone, eight bytes of length
and the value. Sending never waits: while the journal does not accept them, entries are lost, and
the next one that is accepted has their number.

Knows sockets and bytes; never logging.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

SOCKET: Final = "/run/systemd/journal/socket"
MAX_BYTES: Final = 64 * 1024  # far below the limit of a datagram
LOST: Final = "LOST_ENTRIES"


class Journal:
    """A connection to the journal. `__init__` raises OSError where there is none."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._lost = 0
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    def send(self, fields: Mapping[str, str]) -> bool:
        """Send an entry; False when it was lost."""
        entry = {**fields, LOST: str(self._lost)} if self._lost else fields
        data = encode(entry)
        try:
            self._send(data)
        except OSError as exc:
            if exc.errno == errno.EMSGSIZE and "MESSAGE" in fields:
                return self.send({**fields, "MESSAGE": fields["MESSAGE"][: len(data) // 8]})
            self._lost += 1
            return False
        self._lost = 0
        return True

    def close(self) -> None:
        self._socket.close()

    def _send(self, data: bytes) -> None:
        """Reconnect once: a restarted journal has another socket."""
        try:
            self._socket.send(data)
        except OSError as exc:
            if exc.errno not in (errno.ECONNREFUSED, errno.ENOTCONN, errno.ECONNRESET):
                raise
            self._socket.connect(self._path)
            self._socket.send(data)


def encode(fields: Mapping[str, str]) -> bytes:
    """An entry's bytes, without empty fields; fields over MAX_BYTES are cut."""
    return b"".join(_field(name, value) for name, value in fields.items() if value)


def _field(name: str, value: str) -> bytes:
    raw = value.encode("utf-8", "replace")[:MAX_BYTES]
    if b"\n" not in raw:
        return b"%b=%b\n" % (name.encode("ascii"), raw)
    return b"%b\n%b%b\n" % (name.encode("ascii"), len(raw).to_bytes(8, "little"), raw)


def open_journal(path: str = SOCKET) -> Journal | None:
    """The journal; None where there is none."""
    with suppress(OSError):
        return Journal(path)
    return None
