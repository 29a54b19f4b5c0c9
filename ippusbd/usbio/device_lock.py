"""One daemon for a device: a write lock on its node.

Daemons of different users would take turns at idle interfaces and announce the printer twice. The
kernel releases the lock when its holder ends. Who holds it may use the printer anyway: a write lock
requires the right to write to the node. A read lock requires less, so one refuses nobody.

Knows files; not USB. Blocks for moments.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

from ippusbd.errors import DeviceBusy

_FLOCK: Final = struct.Struct("hhqqi")  # type, whence, start, length (0: all), process
# Bound to this opening of the file: libusb opens and closes the node as well.
_SET, _GET = fcntl.F_OFD_SETLK, fcntl.F_OFD_GETLK


def lock_device(node: Path) -> int | None:
    """The descriptor that holds the lock until it is closed; None: the node cannot be locked.

    Raises DeviceBusy while another daemon holds it.
    """
    try:
        fd = os.open(node, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # libusb will say why
        return None
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        fcntl.fcntl(fd, _SET, wanted)
    except OSError:
        busy = _is_write_locked(fd, wanted)
        os.close(fd)
        if busy:
            raise DeviceBusy(f"{node} is held by another ippusbd: stop one of the two") from None
        return None
    return fd


def _is_write_locked(fd: int, wanted: bytes) -> bool:
    try:
        return bool(_FLOCK.unpack_from(fcntl.fcntl(fd, _GET, wanted))[0] == fcntl.F_WRLCK)
    except OSError:  # no locks here at all
        return False
