"""The broker against clients that are right, wrong, slow and many."""

from __future__ import annotations

import asyncio
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import IO

import pytest
from support.fake_directory import (
    HELLO,
    FakeDirectory,
    FakePrinter,
    ask,
    fetch,
    nothing_going_on,
    send,
)

from ippusbd.broker.idle import IdleClock
from ippusbd.broker.listeners import Listeners, ListenerSettings
from ippusbd.broker.server import Broker, BrokerSettings
from ippusbd.errors import UsbError
from ippusbd.model import UsbId
from ippusbd.wire.broker import Question, encode, socket_name

LASERJET = Question(UsbId(0x03F0, 0x1234))
NAME = "ippusb_manager.sock"

pytestmark = pytest.mark.usefixtures("broker")


@pytest.fixture
def printer(directory: FakeDirectory) -> FakePrinter:
    directory.printers[LASERJET] = printer = FakePrinter()
    return printer


async def test_the_answer_is_byte_for_byte_what_chromeos_clients_expect(
    folder: Path, printer: FakePrinter
):
    assert await send(folder / NAME, b"\x0a03f0_1234\0") == b"\x0f03f0_1234.sock\0"


async def test_an_unknown_printer_is_said_not_to_be_found(folder: Path):
    assert await send(folder / NAME, b"\x0adead_beef\0") == b"\x11Device not found\0"


async def test_the_socket_of_an_answer_can_be_used_at_once(folder: Path, printer: FakePrinter):
    name = await ask(folder / NAME, "03f0_1234")
    assert await fetch(folder / name) == HELLO


async def test_no_answer_is_given_before_the_printer_answers(
    folder: Path, printer: FakePrinter, directory: FakeDirectory
):
    directory.ready[LASERJET] = asyncio.Event()
    asking = asyncio.create_task(ask(folder / NAME, "03f0_1234"))
    await asyncio.sleep(0.05)
    assert not asking.done()
    assert not (folder / "03f0_1234.sock").exists()
    directory.ready[LASERJET].set()
    assert await asking == "03f0_1234.sock"


async def test_a_printer_that_does_not_get_ready_in_time_is_not_found(
    folder: Path, printer: FakePrinter, directory: FakeDirectory
):
    directory.ready[LASERJET] = asyncio.Event()
    assert await ask(folder / NAME, "03f0_1234") == "Device not found"


async def test_identical_printers_are_told_apart_by_serial(folder: Path, directory: FakeDirectory):
    for serial in ("AA1", "office 2/b"):
        question = Question(LASERJET.usb_id, serial)
        directory.printers[question] = FakePrinter(serial.encode())
    for serial in ("AA1", "office 2/b"):
        name = await ask(folder / NAME, f"03f0_1234_{serial}")
        assert name == socket_name(LASERJET.usb_id, serial)
        assert await fetch(folder / name) == serial.encode()


async def test_the_sockets_are_for_owner_and_group_alone(folder: Path, printer: FakePrinter):
    await ask(folder / NAME, "03f0_1234")
    names = {p.name for p in folder.iterdir() if p.is_socket()}
    assert names == {NAME, "03f0_1234.sock", "03f0-1234.sock", "03f0_1234_keep_alive.sock"}
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in names} == {0o660}


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00",
        b"\x0a03f0_1234X",
        b"\xff" + b"A" * 254 + b"\0",
        b"\x06hello\0",
        b"\x0a03f0\x001234\0",
        b"\x0b03f0_12345\0",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 8,
        encode("../../etc/passwd"),
    ],
    ids=lambda raw: repr(raw[:12]),
)
async def test_a_malformed_question_gets_a_clean_close(folder: Path, raw: bytes):
    assert await send(folder / NAME, raw) == b""


async def test_slow_and_silent_clients_are_let_go_and_delay_nobody(
    folder: Path, printer: FakePrinter
):
    silent = await asyncio.open_unix_connection(str(folder / NAME))
    slow = await asyncio.open_unix_connection(str(folder / NAME))
    slow[1].write(b"\x0a03f")
    assert await ask(folder / NAME, "03f0_1234") == "03f0_1234.sock"
    async with asyncio.timeout(2):
        for reader, writer in (silent, slow):
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()


async def test_a_question_in_single_bytes_is_answered(folder: Path, printer: FakePrinter):
    reader, writer = await asyncio.open_unix_connection(str(folder / NAME))
    for byte in b"\x0a03f0_1234\0":
        writer.write(bytes([byte]))
        await asyncio.sleep(0.001)
    assert await reader.readexactly(16) == b"\x0f03f0_1234.sock\0"
    writer.close()
    await writer.wait_closed()


async def test_many_clients_at_once_are_all_answered(folder: Path, printer: FakePrinter):
    answers = await asyncio.gather(*(ask(folder / NAME, "03f0_1234") for _ in range(50)))
    assert set(answers) == {"03f0_1234.sock"}


async def test_keep_alives_of_one_process_starve_nobody(folder: Path, printer: FakePrinter):
    """At the limit the oldest dialogue of whoever has most ends."""
    await ask(folder / NAME, "03f0_1234")
    path = str(folder / "03f0_1234_keep_alive.sock")
    crowd = []
    for _ in range(64):  # one after the other: each has a moment for its first message
        reader, writer = await asyncio.open_unix_connection(path)
        crowd.append((reader, writer))
        writer.write(b"\x0bkeep-alive\0")
        assert await reader.readexactly(5) == b"\x04ack\0"
    assert await ask(folder / NAME, "03f0_1234") == "03f0_1234.sock"
    assert await crowd[0][0].read() == b""
    for _, writer in crowd:
        writer.close()
        await writer.wait_closed()


CROWD = """\
import socket, sys
crowd = [socket.socket(socket.AF_UNIX) for _ in range(70)]
for each in crowd:
    each.connect(sys.argv[1])
    each.sendall(b"\\x0bkeep-alive\\0")
    each.recv(5)
print("there", flush=True)
sys.stdin.read()
"""


@contextmanager
def crowd_at(path: str) -> Iterator[IO[str]]:
    """Another process with more dialogues than there are places; what it prints."""
    command = [sys.executable, "-c", CROWD, path]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as crowd:
        yield crowd.stdout
        crowd.stdin.close()


async def test_many_dialogues_of_one_process_end_its_own_oldest_one(
    folder: Path, printer: FakePrinter
):
    await ask(folder / NAME, "03f0_1234")
    path = str(folder / "03f0_1234_keep_alive.sock")
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"\x0bkeep-alive\0")
    assert await reader.readexactly(5) == b"\x04ack\0"
    with crowd_at(path) as crowd:
        assert await asyncio.to_thread(crowd.readline) == "there\n"
        writer.write(b"\x0bkeep-alive\0")
        assert await reader.readexactly(5) == b"\x04ack\0"
    writer.close()
    await writer.wait_closed()


async def test_a_socket_serves_the_printer_of_the_last_answer(
    folder: Path, printer: FakePrinter, directory: FakeDirectory
):
    await ask(folder / NAME, "03f0_1234")
    directory.printers[LASERJET] = FakePrinter(b"the second one")
    await ask(folder / NAME, "03f0_1234")
    assert await fetch(folder / "03f0_1234.sock") == b"the second one"


async def test_keep_alive_is_acknowledged_as_often_as_it_is_said(
    folder: Path, printer: FakePrinter
):
    await ask(folder / NAME, "03f0_1234")
    path = folder / "03f0_1234_keep_alive.sock"
    assert await send(path, b"\x0bkeep-alive\0") == b"\x04ack\0"
    reader, writer = await asyncio.open_unix_connection(str(path))
    for _ in range(3):
        writer.write(encode("keep-alive"))
        assert await reader.readexactly(5) == b"\x04ack\0"
    writer.close()
    await writer.wait_closed()


async def test_anything_but_keep_alive_is_not_acknowledged(folder: Path, printer: FakePrinter):
    await ask(folder / NAME, "03f0_1234")
    assert await send(folder / "03f0_1234_keep_alive.sock", encode("keepalive")) == b""


async def test_closing_the_broker_takes_its_sockets_away(
    folder: Path, printer: FakePrinter, broker: Broker
):
    await ask(folder / NAME, "03f0_1234")
    await broker.close()
    assert [p for p in folder.iterdir() if p.is_socket()] == []
    with pytest.raises(FileNotFoundError):
        await fetch(folder / NAME)


class Failing(FakeDirectory):
    async def find(self, question: Question) -> None:
        raise UsbError("the bus is on fire")


@pytest.mark.parametrize("broker_directory", [Failing()], ids=["usb error"])
async def test_an_error_while_looking_is_not_found(folder: Path, broker_directory: FakeDirectory):
    settings = BrokerSettings(name="other.sock")
    clock = IdleClock(10, look=nothing_going_on)
    broker = Broker(broker_directory, Listeners(ListenerSettings(folder)), clock, settings)
    await broker.start()
    try:
        assert await ask(folder / "other.sock", "03f0_1234") == "Device not found"
    finally:
        await broker.close()


async def test_a_socket_that_cannot_be_bound_is_not_found(folder: Path, printer: FakePrinter):
    (folder / "03f0_1234.sock").mkdir()
    assert await ask(folder / NAME, "03f0_1234") == "Device not found"


async def test_an_offer_binds_before_anybody_asks(
    folder: Path, broker: Broker, caplog: pytest.LogCaptureFixture
):
    broker.offer(LASERJET, FakePrinter())
    assert await ask(folder / NAME, "dead_beef") == "Device not found"
    assert await fetch(folder / "03f0_1234.sock") == HELLO
    broker.offer(LASERJET, FakePrinter(b"another one"))
    assert await fetch(folder / "03f0_1234.sock") == b"another one"
    (folder / "dead_beef.sock").mkdir()
    broker.offer(Question(UsbId(0xDEAD, 0xBEEF)), FakePrinter())
    await asyncio.sleep(0.05)
    assert "not a socket" in caplog.text


async def test_a_listening_socket_of_systemds_is_used(folder: Path, printer: FakePrinter):
    with socket.socket(socket.AF_UNIX) as systemds:
        systemds.bind(str(folder / "given.sock"))
        systemds.listen()
        directory = FakeDirectory()
        directory.printers[LASERJET] = printer
        settings = BrokerSettings(name="given.sock")
        clock = IdleClock(10, look=nothing_going_on)
        broker = Broker(directory, Listeners(ListenerSettings(folder)), clock, settings)
        await broker.start(systemds.dup())
        try:
            assert await ask(folder / "given.sock", "03f0_1234") == "03f0_1234.sock"
        finally:
            await broker.close()
        assert (folder / "given.sock").exists()
