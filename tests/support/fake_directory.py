"""A Directory without printers' lives, and clients that speak to the broker byte by byte."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

from ippusbd.broker.idle import Sample
from ippusbd.broker.protocols import BrokeredPrinter
from ippusbd.wire.broker import Question, encode

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class FakePrinter:
    """Answers every connection with one canned response, then closes it."""

    def __init__(self, answer: bytes = HELLO) -> None:
        self.answer = answer
        self.adopted = 0

    async def adopt(self, connection: socket.socket) -> None:
        self.adopted += 1
        with connection:
            await asyncio.get_running_loop().sock_sendall(connection, self.answer)


class FakeDirectory:
    """Finds what `printers` holds; a printer under an Event is found when it is set."""

    def __init__(self) -> None:
        self.printers: dict[Question, FakePrinter] = {}
        self.ready: dict[Question, asyncio.Event] = {}
        self.asked = 0

    async def find(self, question: Question) -> BrokeredPrinter | None:
        self.asked += 1
        if question in self.ready:
            await self.ready[question].wait()
        return self.printers.get(question)


class FakeTime:
    """A clock that moves only when somebody sleeps on it, and then lets others run."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.on_sleep: Callable[[], None] = lambda: None

    def now(self) -> float:
        return self.now_s

    async def sleep(self, for_s: float) -> None:
        self.now_s += for_s
        self.on_sleep()
        await asyncio.sleep(0)


def nothing_going_on() -> Sample:
    return Sample(busy=False, count=0)


async def ask(path: Path, text: str) -> str:
    """One question to a broker; "" when it closes without an answer."""
    return (await send(path, encode(text)))[1:-1].decode()


async def send(path: Path, raw: bytes) -> bytes:
    """Send bytes, and one answer's bytes or all until the end."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(raw)
        head = await reader.read(1)
        return head + await reader.readexactly(head[0]) if head else b""
    finally:
        writer.close()
        await writer.wait_closed()


async def fetch(path: Path) -> bytes:
    """Everything a socket sends to whoever connects."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
