"""The control socket answers every authorized client, and no client delays it."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from support.waiting import until

from ippusbd.daemon.observe import control
from ippusbd.daemon.observe.control import ControlServer
from ippusbd.daemon.observe.control_client import ask
from ippusbd.errors import ConfigError, IppUsbError, NotRunning, StateError
from ippusbd.users.peers import Peer


async def echo(request: Mapping[str, object]) -> object:
    return {"said": request.get("text")}


async def fail(request: Mapping[str, object]) -> object:
    raise StateError("no such printer")


HANDLERS = {"echo": echo, "fail": fail}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


@pytest.fixture
async def server(path: Path) -> AsyncIterator[ControlServer]:
    server = ControlServer(path, HANDLERS, max_clients=3, client_s=0.5)
    await server.start()
    yield server
    await server.close()


async def asked(path: Path, command: str, **arguments: object) -> object:
    return await asyncio.to_thread(ask, path, command, **arguments)


async def raw(path: Path, data: bytes) -> bytes:
    """All that the server answers to `data`, until it closes."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(data)
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_question_gets_its_answer(server: ControlServer, path: Path):
    assert await asked(path, "echo", text="line\nbreak ü") == {"said": "line\nbreak ü"}


async def test_an_error_of_the_daemon_is_raised_at_the_client(server: ControlServer, path: Path):
    with pytest.raises(IppUsbError, match="no such printer"):
        await asked(path, "fail")
    with pytest.raises(IppUsbError, match="unknown command; known: echo, fail"):
        await asked(path, "explode")


async def test_several_requests_use_one_connection(server: ControlServer, path: Path):
    reader, writer = await asyncio.open_unix_connection(str(path))
    for text in ("one", "two"):
        writer.write(json.dumps({"command": "echo", "text": text}).encode() + b"\n")
        assert json.loads(await reader.readline())["result"] == {"said": text}
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "line", [b"\n", b"nonsense\n", b"[]\n", b'{"command": 3}\n', b"\xff\n", b"[" * 9999 + b"\n"]
)
async def test_an_invalid_line_is_refused_and_the_next_one_answered(
    server: ControlServer, path: Path, line: bytes
):
    said = await raw(path, line + b'{"command": "echo", "text": 1}\n')
    first, second = said.splitlines()
    assert json.loads(first)["ok"] is False
    assert json.loads(second)["result"] == {"said": 1}


async def test_a_request_without_end_is_cut_off(server: ControlServer, path: Path):
    request = json.dumps({"command": "echo", "text": "x" * 200_000}).encode() + b"\n"
    with contextlib.suppress(ConnectionError):  # a reset is as good as an end without a word
        assert await raw(path, request) == b""
    assert await asked(path, "echo", text=1) == {"said": 1}


async def test_silent_clients_are_disconnected_and_delay_nobody(server: ControlServer, path: Path):
    silent = [asyncio.create_task(raw(path, b'{"comm')) for _ in range(2)]
    await asyncio.sleep(0)
    assert await asked(path, "echo", text=1) == {"said": 1}
    assert await asyncio.gather(*silent) == [b"", b""]


async def test_a_client_that_does_not_read_delays_nobody_and_is_dropped(path: Path):
    async def much(_: Mapping[str, object]) -> object:
        return "x" * 4_000_000

    server = ControlServer(path, {"much": much, "echo": echo}, client_s=0.3)
    await server.start()
    deaf = socket.socket(socket.AF_UNIX)
    await asyncio.to_thread(deaf.connect, str(path))
    deaf.sendall(b'{"command": "much"}\n')
    assert await asked(path, "echo", text=1) == {"said": 1}
    await until(lambda: not server._clients)
    deaf.close()
    await server.close()


async def test_clients_above_the_limit_are_refused_with_a_reason(server: ControlServer, path: Path):
    held = [await asyncio.open_unix_connection(str(path)) for _ in range(3)]
    await until(lambda: len(server._clients) < 3)
    with pytest.raises(IppUsbError, match="too many commands"):
        await asked(path, "echo")
    for _, writer in held:
        writer.close()
        await writer.wait_closed()
    await until(lambda: not server._clients)
    assert await asked(path, "echo", text=2) == {"said": 2}


async def test_other_users_are_refused_and_members_of_the_group_are_not(path: Path):
    clients = [Peer(1, 54321, 54321, frozenset({54321})), Peer(1, 54321, 54321, frozenset({777}))]
    server = ControlServer(path, HANDLERS, group="777", peer_of=lambda _: clients.pop(0))
    await server.start()
    with pytest.raises(IppUsbError, match="permission denied"):
        await asked(path, "echo")
    assert await asked(path, "echo", text=3) == {"said": 3}
    await server.close()


# --- the socket's file


async def test_the_socket_is_private(server: ControlServer, path: Path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_with_a_group_its_members_may_open_the_socket(path: Path):
    name = grp.getgrgid(os.getegid()).gr_name
    server = ControlServer(path, HANDLERS, group=name)
    await server.start()
    status = path.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o660, os.getegid())
    await server.close()


def test_a_group_that_does_not_exist_is_a_configuration_error(path: Path):
    with pytest.raises(ConfigError, match="no group nosuchgroup"):
        ControlServer(path, HANDLERS, group="nosuchgroup")


async def test_the_socket_of_a_dead_instance_is_replaced(path: Path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = ControlServer(path, HANDLERS)
    await server.start()
    assert await asked(path, "echo", text=4) == {"said": 4}
    await server.close()
    assert not path.exists()


async def test_the_socket_of_a_running_instance_is_not_replaced(server: ControlServer, path: Path):
    with pytest.raises(StateError, match="another instance is listening"):
        await ControlServer(path, HANDLERS).start()
    assert await asked(path, "echo", text=5) == {"said": 5}


async def test_a_file_that_is_not_a_socket_is_not_removed(path: Path):
    path.parent.mkdir()
    path.write_text("precious")
    with pytest.raises(StateError, match="is not a socket"):
        await ControlServer(path, HANDLERS).start()
    assert path.read_text() == "precious"


async def test_a_path_that_is_too_long_is_our_error(tmp_path: Path):
    with pytest.raises(StateError, match="longer than"):
        await ControlServer(tmp_path / ("x" * 120), HANDLERS).start()


async def test_closing_does_not_remove_a_successors_socket(server: ControlServer, path: Path):
    path.unlink()
    successor = ControlServer(path, HANDLERS)
    await successor.start()
    await server.close()
    assert await asked(path, "echo", text=6) == {"said": 6}
    await successor.close()


async def test_an_answer_in_progress_is_sent_when_the_server_closes(path: Path):
    entered, go = asyncio.Event(), asyncio.Event()

    async def slow(_: Mapping[str, object]) -> object:
        entered.set()
        await go.wait()
        return "last words"

    server = ControlServer(path, {"slow": slow})
    await server.start()
    answer = asyncio.create_task(asked(path, "slow"))
    await entered.wait()
    closing = asyncio.create_task(server.close())
    await asyncio.sleep(0)
    go.set()
    assert await answer == "last words"
    await closing
    await server.close()  # twice is once


async def test_a_handler_that_never_ends_does_not_stop_the_server_from_closing(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(control, "LAST_ANSWERS_S", 0.05)

    async def stuck(_: Mapping[str, object]) -> object:
        await asyncio.Event().wait()
        return None

    server = ControlServer(path, {"stuck": stuck})
    await server.start()
    question = asyncio.create_task(asked(path, "stuck"))
    await until(lambda: server._answering)
    await server.close()
    with pytest.raises(NotRunning, match="without an answer"):
        await question


# --- the client alone


def test_without_a_daemon_the_client_raises_not_running(path: Path):
    with pytest.raises(NotRunning, match="no daemon is running"):
        ask(path, "status")
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NotRunning, match="no daemon is running"):
        ask(path, "status")


def test_a_daemon_that_does_not_answer_is_not_waited_for_longer_than_asked(path: Path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(NotRunning, match="does not answer"):
            ask(path, "status", timeout_s=0.05)


@pytest.mark.parametrize("said", [b"{}\n", b"nonsense\n", b"[1]\n", b"[" * 99999 + b"\n"])
async def test_a_program_that_is_not_ippusbd_is_recognised(path: Path, said: bytes):
    path.parent.mkdir()

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(said)
        writer.close()

    server = await asyncio.start_unix_server(other, path)
    with pytest.raises(IppUsbError, match="not an ippusbd"):
        await asked(path, "status")
    server.close()
    await server.wait_closed()
