"""Root in a folder of another user: it gives away nothing of its own and follows no link there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ippusbd.broker.unix import LOCK_NAME, lock_folder
from ippusbd.errors import StateError
from ippusbd.users.ownership import inherit_owner

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


@as_root
@pytest.mark.parametrize("linked", [False, True])
def test_root_gives_away_no_file_that_has_another_name(tmp_path: Path, linked: bool):
    """The folder's owner may have made a second name for a file that is none of its own."""
    secret, folder = tmp_path / "secret", tmp_path / "state"
    secret.touch()
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    there = folder / "lock"
    if linked:
        there.hardlink_to(secret)

    with there.open("a") as file:
        inherit_owner(file.fileno(), there)

    assert there.stat().st_uid == (0 if linked else NOBODY)


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / LOCK_NAME).symlink_to(elsewhere)

    with pytest.raises(StateError), lock_folder(tmp_path):
        pass

    assert not elsewhere.exists()
