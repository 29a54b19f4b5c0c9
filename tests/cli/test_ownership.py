"""A daemon that runs as root once, and then as the user to whom its folders belong."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess, Start

STRANGER = 12345  # a user without a name
OTHER = pwd.getpwnam("nobody")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a daemon in a folder that belongs to another user."""
    folder = Path(tempfile.mkdtemp(prefix="ippusbd-", dir="/tmp"))
    for each in (folder, folder / "state", folder / "broker"):
        each.mkdir(exist_ok=True)
        os.chown(each, OTHER.pw_uid, OTHER.pw_gid)
    started: list[DaemonProcess] = []

    def start(*options: str, user: int | None = None, own: str = "") -> DaemonProcess:
        broker = f'[broker]\ndir = "{folder}/broker"\n'
        started.append(DaemonProcess(folder, *options, more=broker, own=own, user=user))
        return started[-1]

    yield start
    for daemon in started:
        daemon.close()
    shutil.rmtree(folder)


def test_after_a_run_as_root_the_daemons_user_serves_the_same_port(start: Start):
    by_root = start("--virtual")
    port = by_root.ready()["port"]
    assert by_root.stop() == 0
    daemon = start("--virtual", user=OTHER.pw_uid)
    printer = daemon.ready()
    assert (printer["port"], daemon.status()["broker"]["trouble"]) == (port, "")
    assert daemon.stop() == 0
    assert " error " not in daemon.log


def test_sockets_of_a_killed_root_are_replaced_by_the_daemons_user(start: Start):
    by_root = start("--virtual")
    by_root.ready()
    by_root.close()  # SIGKILL
    daemon = start("--virtual", user=OTHER.pw_uid)
    daemon.ready()
    assert daemon.status()["broker"]["trouble"] == ""


@pytest.mark.parametrize("count", [0, 31, 300])
def test_members_of_the_control_group_may_ask_however_many_groups_they_have(
    start: Start, count: int
):
    group, others = 54321, range(60001, 60001 + count)
    daemon = start("--virtual", own=f'control_group = "{group}"\n')
    folder = daemon.config.parent
    folder.chmod(0o755)
    daemon.ready()
    asked = daemon.command("status", user=STRANGER, groups=[*others, group])
    assert (asked.returncode, asked.stderr) == (0, "")
    refused = daemon.command("status", user=STRANGER, groups=others)
    assert refused.returncode == 1
    assert "to do (control): run it as root: " in refused.stderr
    assert "ippusbd status --config " in refused.stderr


def roots(path: Path, mode: int = 0o600) -> None:
    """What a root of earlier times left there."""
    path.touch()
    os.chown(path, 0, 0)
    path.chmod(mode)


def test_a_state_that_cannot_be_read_is_kept_and_the_printer_is_served(start: Start):
    daemon = start("--virtual", user=OTHER.pw_uid)
    state = daemon.config.parent / "state" / "printers.json"
    daemon.ready()
    daemon.stop()
    content = state.read_bytes()
    roots(state)
    daemon = start("--virtual", user=OTHER.pw_uid)
    daemon.ready()
    assert daemon.stop() == 0
    assert state.read_bytes() == content
    assert f"chown -R nobody: {state.parent}" in daemon.log


def test_a_broker_folder_of_others_costs_its_sockets_only(start: Start):
    daemon = start("--virtual", user=OTHER.pw_uid)
    daemon.ready()
    daemon.stop()
    broker = daemon.config.parent / "broker"
    roots(broker / ".ippusbd.lock")
    daemon = start("--virtual", user=OTHER.pw_uid)
    daemon.ready()
    assert f"chown -R nobody: {broker}" in daemon.status()["broker"]["trouble"]
    assert daemon.stop() == 0


def test_a_lock_of_others_is_an_error_with_the_command_that_mends_it(start: Start):
    daemon = start("--virtual", user=OTHER.pw_uid)
    daemon.ready()
    daemon.stop()
    lock = daemon.config.parent / "state" / "lock"
    roots(lock)
    daemon = start("--virtual", user=OTHER.pw_uid)
    assert daemon.process.wait(timeout=20) == 1
    remedy = f"chown -R nobody: {lock.parent}"
    assert remedy in daemon.log
    found = daemon.command("check").stdout
    assert f"FAIL  state: {lock} belongs to root, not to nobody as {lock.parent}" in found
    assert f"-> {remedy}" in found


def test_root_follows_no_link_from_another_users_folder(start: Start, tmp_path: Path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    first = start("--virtual", user=OTHER.pw_uid)
    first.ready()
    first.stop()
    lock = first.config.parent / "state" / "lock"
    lock.unlink()
    lock.symlink_to(precious)
    assert start("--virtual").process.wait(timeout=20) == 1
    assert (precious.read_text(), precious.stat().st_uid) == ("precious", 0)
