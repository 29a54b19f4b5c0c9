"""The kernel's word on who is at the other end of a Unix socket, and whom a list admits."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from ippusbd.users.accounts import Allowed
from ippusbd.users.peers import Peer, peer_of

OTHERS = 54321
AS_A_MEMBER = """
import os, socket, sys
from ippusbd.users.peers import peer_of
groups = {*range(1000, 1000 + int(sys.argv[1]))}
os.setgroups(sorted(groups))
here, there = socket.socketpair()
assert peer_of(here).gids == groups | {os.getegid()}, sorted(peer_of(here).gids)
"""


def test_the_kernel_reports_who_a_client_is_and_its_groups():
    here, there = socket.socketpair()
    with here, there:
        peer = peer_of(here)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert peer.gids == {os.getegid(), *os.getgroups()}


@pytest.mark.skipif(os.geteuid() != 0, reason="sets its own groups")
@pytest.mark.parametrize("groups", [1, 33, 256, 257, 1000])
def test_a_client_in_many_groups_is_known_by_all_of_them(groups: int):
    subprocess.run([sys.executable, "-c", AS_A_MEMBER, str(groups)], check=True, timeout=30)


def test_a_kernel_that_does_not_report_groups_means_the_primary_group_alone():
    class Connection:
        def fileno(self) -> int:
            raise AssertionError("not asked any further")

        def getsockopt(self, level: int, name: int, size: int) -> bytes:
            if name == socket.SO_PEERCRED:
                return b"".join(n.to_bytes(4, sys.byteorder) for n in (1, 2, 3))
            raise OSError(92, "Protocol not available")

    assert peer_of(Connection()) == Peer(1, 2, 3, frozenset({3}))


@pytest.mark.parametrize(
    ("allowed", "uid", "gids", "admitted"),
    [
        (Allowed(), OTHERS, (), True),
        (Allowed(), None, (), True),
        (Allowed(uids=frozenset({7})), 7, (OTHERS,), True),
        (Allowed(uids=frozenset({7})), OTHERS, (7,), False),
        (Allowed(uids=frozenset({7})), None, (7,), False),
        (Allowed(gids=frozenset({8})), OTHERS, (5, 8), True),
        (Allowed(gids=frozenset({8})), OTHERS, (5,), False),
        (Allowed(uids=frozenset({7})), 0, (0,), True),
        (Allowed(uids=frozenset({7})), os.geteuid(), (OTHERS,), True),
    ],
)
def test_a_list_admits_whom_it_names_and_root_and_the_daemons_user(
    allowed: Allowed, uid: int | None, gids: tuple[int, ...], admitted: bool
):
    assert allowed.admits(uid, gids) is admitted
