"""Sockets of dead instances, of live ones, of systemd's, and who may come in."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from support.fake_directory import HELLO, fetch

from ippusbd.broker.listeners import MAX_LISTENERS, Listeners, ListenerSettings
from ippusbd.broker.unix import FolderLocked, bind, is_live, lock_folder
from ippusbd.errors import StateError
from ippusbd.users.accounts import Allowed
from ippusbd.users.peers import Peer

NAME = "a.sock"
OTHERS = 12345  # a user id that is neither root's nor ours

BIND_AND_DIE = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
"""


def answer_client(connection: socket.socket, _: Peer) -> None:
    with connection:
        connection.send(HELLO)


@pytest.fixture
async def listeners(folder: Path) -> AsyncIterator[Listeners]:
    made = Listeners(ListenerSettings(folder))
    yield made
    made.close()


@pytest.fixture
async def make(folder: Path) -> AsyncIterator[Callable[..., Listeners]]:
    made: list[Listeners] = []

    def make_one(**settings: object) -> Listeners:
        made.append(Listeners(ListenerSettings(folder, **settings)))  # type: ignore[arg-type]
        return made[-1]

    yield make_one
    for listeners in made:
        listeners.close()


async def test_a_device_that_is_another_one_at_every_plug_costs_bounded_sockets(
    listeners: Listeners,
):
    for number in range(MAX_LISTENERS):
        await listeners.open(f"{number:04x}.sock", answer_client)
    with pytest.raises(StateError, match="restart the daemon"):
        await listeners.open("ffff.sock", answer_client)
    assert "0000.sock" in listeners


async def test_a_dead_instances_socket_is_replaced(folder: Path, listeners: Listeners):
    folder.mkdir()
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", BIND_AND_DIE, str(folder / NAME)], check=True
    )
    assert (folder / NAME).is_socket()
    await listeners.open(NAME, answer_client)
    assert await fetch(folder / NAME) == HELLO


async def test_a_live_instances_socket_is_not_touched(folder: Path, make: Callable[..., Listeners]):
    await make().open(NAME, answer_client)
    with pytest.raises(StateError, match="another instance"):
        await make().open(NAME, answer_client)
    assert await fetch(folder / NAME) == HELLO


async def test_a_live_instance_with_a_full_queue_is_alive(folder: Path):
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(folder / NAME))
        busy.listen(0)
        with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
            first.connect(str(folder / NAME))
            second.setblocking(False)
            with pytest.raises(BlockingIOError):
                second.connect(str(folder / NAME))
            assert is_live(folder / NAME)


async def test_a_file_that_is_no_socket_is_left_alone(folder: Path, listeners: Listeners):
    folder.mkdir()
    (folder / NAME).write_text("precious")
    with pytest.raises(StateError, match="not a socket"):
        await listeners.open(NAME, answer_client)
    assert (folder / NAME).read_text() == "precious"


async def test_a_path_too_long_for_a_socket_is_refused_by_name(folder: Path):
    with pytest.raises(StateError, match="longer than"):
        await Listeners(ListenerSettings(folder / ("x" * 100))).open(NAME, answer_client)


async def test_one_of_two_that_start_at_once_wins_and_the_other_is_told(
    folder: Path, make: Callable[..., Listeners]
):
    for _ in range(30):
        two = [make(), make()]
        results = await asyncio.gather(
            *(listeners.open(NAME, answer_client) for listeners in two), return_exceptions=True
        )
        assert [type(r) for r in results].count(StateError) == 1
        assert await fetch(folder / NAME) == HELLO
        for listeners in two:
            listeners.close()
        assert not (folder / NAME).exists()


async def test_who_starts_waits_while_another_is_binding(folder: Path, listeners: Listeners):
    folder.mkdir()
    with lock_folder(folder):
        opening = asyncio.create_task(listeners.open(NAME, answer_client))
        await asyncio.sleep(0.05)
        assert not opening.done()
        with pytest.raises(FolderLocked), lock_folder(folder):
            pass
    await opening
    assert await fetch(folder / NAME) == HELLO


async def test_a_successors_socket_is_not_removed_when_the_first_ends(
    folder: Path, make: Callable[..., Listeners]
):
    first, second = make(), make()
    await first.open(NAME, answer_client)
    (folder / NAME).unlink()
    await second.open(NAME, answer_client)
    first.close()
    assert await fetch(folder / NAME) == HELLO


async def test_a_client_in_the_queue_is_served_when_doors_are_shut(
    folder: Path, listeners: Listeners
):
    await listeners.open(NAME, answer_client)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder / NAME))  # the loop had no turn to accept it
        assert not listeners.close_if_quiet()
        assert client.recv(100) == HELLO
    assert await fetch(folder / NAME) == HELLO  # and they are open again
    assert listeners.close_if_quiet()
    assert not (folder / NAME).exists()


async def test_doors_stay_open_while_another_instance_is_binding(
    folder: Path, listeners: Listeners
):
    await listeners.open(NAME, answer_client)
    with lock_folder(folder):
        assert not listeners.close_if_quiet()
    assert await fetch(folder / NAME) == HELLO


async def test_who_connects_after_the_shutting_is_refused_at_once(folder: Path):
    folder.mkdir()
    bound = bind(folder / NAME, mode=0o600, gid=None)
    hidden = folder / "hidden"
    (folder / NAME).rename(hidden)  # looked up before the name went
    assert bound.close_and_take_queued() == []
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
        client.connect(str(hidden))


async def test_systemds_socket_outlives_the_doors(folder: Path, listeners: Listeners):
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as systemds:
        systemds.bind(str(folder / NAME))
        systemds.listen()
        listeners.inherit(NAME, answer_client, systemds.dup())
        assert await fetch(folder / NAME) == HELLO
        with socket.socket(socket.AF_UNIX) as late:
            late.connect(str(folder / NAME))
            assert listeners.close_if_quiet()
            assert (folder / NAME).exists()
            accepted, _ = systemds.accept()  # as the next instance will
            accepted.close()


async def test_the_folder_may_vanish_under_the_doors(folder: Path, listeners: Listeners):
    await listeners.open(NAME, answer_client)
    for entry in folder.iterdir():
        entry.unlink()
    folder.rmdir()
    assert listeners.close_if_quiet()


async def test_a_client_that_is_not_admitted_hears_nothing(
    folder: Path, make: Callable[..., Listeners], monkeypatch: pytest.MonkeyPatch
):
    await make(allowed=Allowed(uids=frozenset({7}))).open(NAME, answer_client)
    monkeypatch.setattr("ippusbd.broker.listeners.peer_of", lambda _: Peer(1, OTHERS, OTHERS))
    assert await fetch(folder / NAME) == b""


async def test_a_lock_held_too_long_is_an_error_and_not_a_hang(
    folder: Path, listeners: Listeners, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ippusbd.broker.listeners.CLAIM_PAUSE_S", 0)
    folder.mkdir()
    with lock_folder(folder), pytest.raises(StateError, match="holds the lock"):
        await listeners.open(NAME, answer_client)


async def test_without_file_descriptors_clients_wait_in_the_queue(
    folder: Path,
    listeners: Listeners,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr("ippusbd.broker.listeners.OUT_OF_FILES_S", 0.05)
    await listeners.open(NAME, answer_client)
    listener = listeners._listeners[NAME]
    real, listener.listening = listener.listening, OutOfFiles(listener.listening)  # type: ignore[assignment]
    assert await fetch(folder / NAME) == HELLO
    assert "cannot accept: Too many open files" in caplog.text
    listener.listening = real


class OutOfFiles:
    """A listening socket whose first accept fails."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self._failed = False

    def fileno(self) -> int:
        return self._real.fileno()

    def accept(self) -> tuple[socket.socket, object]:
        if not self._failed:
            self._failed = True
            raise OSError(24, "Too many open files")
        return self._real.accept()


async def test_doors_are_shut_while_they_pause(folder: Path, listeners: Listeners):
    await listeners.open(NAME, answer_client)
    listener = listeners._listeners[NAME]
    listeners._pause(listener, OSError(24, "Too many open files"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder / NAME))
        listeners.close()
        assert client.recv(1) == b""
    assert not (folder / NAME).exists()


async def test_systemds_socket_is_listened_to_again_after_a_false_alarm(
    folder: Path, listeners: Listeners
):
    with socket.socket(socket.AF_UNIX) as systemds:
        folder.mkdir()
        systemds.bind(str(folder / "broker.sock"))
        systemds.listen()
        listeners.inherit("broker.sock", answer_client, systemds.dup())
        await listeners.open(NAME, answer_client)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(folder / NAME))
            assert not listeners.close_if_quiet()
            assert client.recv(100) == HELLO
        assert await fetch(folder / "broker.sock") == HELLO
        assert await fetch(folder / NAME) == HELLO
