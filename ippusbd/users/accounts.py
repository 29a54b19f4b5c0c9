"""Users and groups by name or number, as an administrator writes them.

Knows the user database, which may ask a network and block: never called in the event loop after
the start, but in a thread.
"""

from __future__ import annotations

import grp
import os
import pwd

from ippusbd.errors import ConfigError

Account = str | int


def user_id(name: Account, where: str) -> int:
    """The uid of a user. Raises ConfigError, which says `where` the name stands."""
    try:
        return name if isinstance(name, int) else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ConfigError(f"{where}: there is no user {name}") from None


def group_id(name: Account, where: str) -> int:
    """The gid of a group, also of one given as digits. Raises ConfigError, as `user_id`."""
    if isinstance(name, int) or (name.isascii() and name.isdigit()):
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"{where}: there is no group {name}") from None


def split(names: tuple[Account, ...], where: str) -> tuple[frozenset[int], frozenset[int]]:
    """The uids and gids of a list of users and `@group`s. Raises ConfigError."""
    groups = [name[1:] for name in names if isinstance(name, str) and name.startswith("@")]
    users = [n for n in names if not (isinstance(n, str) and n.startswith("@"))]
    return (
        frozenset(user_id(name, where) for name in users),
        frozenset(group_id(name, where) for name in groups),
    )


def groups_of(uid: int) -> frozenset[int]:
    """All groups of a user; none of one that is not known. Blocks; runs in a thread."""
    try:
        entry = pwd.getpwuid(uid)
        return frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
    except (KeyError, OSError):
        return frozenset()
