"""Nobody is lost when the broker leaves because nobody seems to want it.

Clients in threads of their own come at every moment of an instance's end; each finds either an
instance that answers, or no socket, in which case it starts the next instance, as the real ones do.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from pathlib import Path

import pytest
from support.fake_directory import FakeDirectory, FakePrinter, ask, nothing_going_on

from ippusbd.broker.idle import IdleClock
from ippusbd.broker.listeners import Listeners, ListenerSettings
from ippusbd.broker.server import Broker, BrokerSettings
from ippusbd.errors import StateError
from ippusbd.model import UsbId
from ippusbd.wire.broker import Question

NAME = "ippusb_manager.sock"
LASERJET = Question(UsbId(0x03F0, 0x1234))
EXITS, CLIENTS = 500, 3


class Instances:
    """Starts an instance whenever a client asks for one, as systemd or a shell script would."""

    def __init__(self, folder: Path, directory: FakeDirectory) -> None:
        self._folder = folder
        self._directory = directory
        self._loop = asyncio.get_running_loop()
        self.running: set[asyncio.Task[None]] = set()
        self.started = 0

    async def start(self) -> None:
        """Return when an instance listens: a new one, or the one that was quicker."""
        clock = IdleClock(0.001, look=nothing_going_on, sleep=lambda _: asyncio.sleep(0))
        listeners = Listeners(ListenerSettings(self._folder))
        broker = Broker(self._directory, listeners, clock, BrokerSettings())
        try:
            await broker.start()
        except StateError:
            return
        self.started += 1
        task = asyncio.create_task(self._until_idle(broker))
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def _until_idle(self, broker: Broker) -> None:
        await broker.idle()
        await broker.close()

    def start_from_thread(self) -> None:
        asyncio.run_coroutine_threadsafe(self.start(), self._loop).result()


def ask_blocking(path: Path) -> bytes | None:
    """The answer; None when nobody listens."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        try:
            client.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        client.sendall(b"\x0a03f0_1234\0")
        return client.recv(256)


def hammer(path: Path, instances: Instances, lost: list[bytes], seed: int) -> None:
    pause = threading.Event()
    rng = random.Random(seed)
    while instances.started < EXITS:
        while (answer := ask_blocking(path)) is None:
            instances.start_from_thread()
        if answer != b"\x0f03f0_1234.sock\0":
            lost.append(answer)
        pause.wait(rng.uniform(0, 0.01))


@pytest.mark.timeout(120)
async def test_no_client_is_lost_in_five_hundred_idle_exits(folder: Path, directory: FakeDirectory):
    directory.printers[LASERJET] = FakePrinter()
    instances = Instances(folder, directory)
    await instances.start()
    lost: list[bytes] = []
    clients = (asyncio.to_thread(hammer, folder / NAME, instances, lost, n) for n in range(CLIENTS))
    await asyncio.gather(*clients)
    while instances.running:
        await asyncio.wait(instances.running)
    assert lost == []
    assert instances.started >= EXITS
    assert [p for p in folder.iterdir() if p.is_socket()] == []


async def test_a_held_keep_alive_keeps_the_broker_from_leaving(
    folder: Path, directory: FakeDirectory, broker: Broker, clock: IdleClock
):
    directory.printers[LASERJET] = FakePrinter()
    await ask(folder / NAME, "03f0_1234")
    reader, writer = await asyncio.open_unix_connection(str(folder / "03f0_1234_keep_alive.sock"))
    writer.write(b"\x0bkeep-alive\0")
    assert await reader.readexactly(5) == b"\x04ack\0"
    leaving = asyncio.create_task(broker.idle())
    for _ in range(200):
        await asyncio.sleep(0)
    assert not leaving.done()
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(5):
        await leaving
    assert not (folder / NAME).exists()
