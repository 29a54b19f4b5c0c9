"""Users and groups: names from the configuration, their ids, and who is allowed something.

Knows the user database, which may use the network and block: after the start it is
called in a thread, never in the event loop.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from ippusbd.errors import ConfigError

Account = str | int


@dataclass(frozen=True, slots=True)
class Allowed:
    """Users and groups that may do something; both empty: everybody.

    Root and the daemon's own user always may: a rule that excludes them would only be bypassed.
    """

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()

    @property
    def everybody(self) -> bool:
        """No user and no group is listed."""
        return not self.uids and not self.gids

    def admits(self, uid: int | None, gids: Collection[int]) -> bool:
        """Whether a user with these groups may; None: a user that could not be determined."""
        if self.everybody:
            return True
        if uid is None:
            return False
        return uid in (0, own_uid()) or uid in self.uids or not self.gids.isdisjoint(gids)


EVERYBODY: Final = Allowed()


def own_uid() -> int:
    """The user that the daemon runs as."""
    return os.geteuid()


def user_id(name: Account, where: str) -> int:
    """The uid of a user. Raises ConfigError that names the configuration key `where`."""
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


def allowed(names: tuple[Account, ...], where: str) -> Allowed:
    """The accounts of a list of users and `@group`s. Raises ConfigError."""
    groups = [name[1:] for name in names if isinstance(name, str) and name.startswith("@")]
    users = [n for n in names if not (isinstance(n, str) and n.startswith("@"))]
    return Allowed(
        frozenset(user_id(name, where) for name in users),
        frozenset(group_id(name, where) for name in groups),
    )


def groups_of(uid: int) -> frozenset[int]:
    """All groups of a user; empty for an unknown user. Blocks; runs in a thread."""
    try:
        entry = pwd.getpwuid(uid)
        return frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
    except (KeyError, OSError):
        return frozenset()
