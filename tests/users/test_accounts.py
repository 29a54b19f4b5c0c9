"""Users and groups that are allowed something."""

from __future__ import annotations

import os

import pytest

from ippusbd.users.accounts import Allowed

OTHER = 54321


@pytest.mark.parametrize(
    ("allowed", "uid", "gids", "admitted"),
    [
        (Allowed(), OTHER, (), True),
        (Allowed(), None, (), True),
        (Allowed(uids=frozenset({7})), 7, (), True),
        (Allowed(uids=frozenset({7})), OTHER, (7,), False),
        (Allowed(uids=frozenset({7})), None, (), False),
        (Allowed(gids=frozenset({8})), OTHER, (5, 8), True),
        (Allowed(gids=frozenset({8})), OTHER, (5,), False),
        (Allowed(uids=frozenset({7})), 0, (), True),
        (Allowed(uids=frozenset({7})), os.geteuid(), (), True),
    ],
)
def test_named_users_and_groups_are_admitted_and_root_and_the_daemons_user(
    allowed: Allowed, uid: int | None, gids: tuple[int, ...], admitted: bool
):
    assert allowed.admits(uid, gids) is admitted
