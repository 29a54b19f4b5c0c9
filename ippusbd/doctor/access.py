"""May a user read and write a device node? Decided as the kernel does (acl(5)), for any user.

`os.access` covers only this process; the user in question is mostly the daemon's. udev grants
access to local seats with ACLs, so they are evaluated.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ippusbd.doctor.machine import Credentials

_XATTR: Final = "system.posix_acl_access"
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_READ_WRITE: Final = 6
Entry = tuple[int, int, int]  # tag, permissions, id


def may_use(node: Path, who: Credentials) -> bool:
    """Whether `who` may read and write `node`. Raises OSError if it does not exist."""
    about = node.stat()
    if who.uid == 0:
        return True
    entries = list(_acl(node)) or _from_mode(about)
    mask = next((allowed for tag, allowed, _ in entries if tag == _MASK), 7)
    if who.uid == about.st_uid:
        return _enough(next(allowed for tag, allowed, _ in entries if tag == _USER_OBJ))
    for tag, allowed, of in entries:
        if tag == _USER and of == who.uid:
            return _enough(allowed & mask)
    groups = [
        allowed & mask
        for tag, allowed, of in entries
        if (tag == _GROUP_OBJ and about.st_gid in who.groups)
        or (tag == _GROUP and of in who.groups)
    ]
    if groups:
        return any(map(_enough, groups))
    return _enough(next(allowed for tag, allowed, _ in entries if tag == _OTHER))


def _enough(allowed: int) -> bool:
    return allowed & _READ_WRITE == _READ_WRITE


def _from_mode(about: os.stat_result) -> list[Entry]:
    mode = stat.S_IMODE(about.st_mode)
    return [(_USER_OBJ, mode >> 6 & 7, 0), (_GROUP_OBJ, mode >> 3 & 7, 0), (_OTHER, mode & 7, 0)]


def _acl(node: Path) -> Iterator[Entry]:
    """The entries of the node's ACL, if it has one."""
    try:
        raw = os.getxattr(node, _XATTR)
    except OSError:
        return
    for at in range(4, len(raw) - 7, 8):  # after the version
        yield struct.unpack_from("<HHI", raw, at)
