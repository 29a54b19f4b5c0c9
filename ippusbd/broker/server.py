"""The broker: which socket belongs to which printer (ChromeOS's ippusb_manager).

    client -> ippusb_manager.sock: VID_PID     answer: VID_PID.sock, or "Device not found"
    client -> VID_PID.sock: HTTP               handed to the printer's own server
    client -> VID_PID_keep_alive.sock: keep-alive     answer: ack; the idle clock restarts

An answer names a socket only when the socket is bound and the printer answers.
Every client has a task and deadlines of its own, so none delays another. A
socket stays when its printer is unplugged: clients get 503 there, and the next
answer with that name binds it to the printer that is connected then.

Knows a Directory of printers; never a printer's states.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ippusbd.broker.framing import MessageStream, message_stream
from ippusbd.broker.idle import IdleClock
from ippusbd.broker.listeners import Listeners
from ippusbd.broker.protocols import BrokeredPrinter, Directory
from ippusbd.errors import BadRequest, ClientGone, IppUsbError, StateError
from ippusbd.fair_tasks import FairTasks
from ippusbd.users.peers import Peer
from ippusbd.wire.broker import (
    KEEP_ALIVE,
    KEEP_ALIVE_ANSWER,
    NOT_FOUND,
    Question,
    keep_alive_name,
    parse_question,
    socket_name,
)

LIST: Final = "list"  # ours: all printers, for the CUPS backend

log = logging.getLogger("ippusbd.broker")


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """The name of the broker's socket, and its time-outs."""

    name: str = "ippusb_manager.sock"
    answer_s: float = 3.8  # clients wait 4 or 5 s
    client_s: float = 4.5  # for a whole message
    clients_max: int = 256


class Broker:
    """Answers questions, and has the printers' sockets; see the module."""

    def __init__(
        self, directory: Directory, listeners: Listeners, clock: IdleClock, settings: BrokerSettings
    ) -> None:
        self._directory = directory
        self._listeners = listeners
        self._clock = clock
        self._settings = settings
        self._printers: dict[str, BrokeredPrinter] = {}  # by socket, as of the last answer
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = FairTasks(settings.clients_max)

    async def start(self, inherited: socket.socket | None = None) -> None:
        """Answer from now on, at systemd's socket if it passed one. Raises StateError."""
        if inherited is not None:
            self._listeners.inherit(self._settings.name, self._on_question, inherited)
        else:
            await self._listeners.open(self._settings.name, self._on_question)

    async def idle(self) -> None:
        """Wait until nothing was asked for during the idle time; the sockets are closed then."""
        while True:
            await self._clock.expired()
            if not self._tasks and self._listeners.close_if_quiet():
                return
            self._clock.touch()

    async def close(self) -> None:
        """Stop answering. Idempotent."""
        self._listeners.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def offer(self, question: Question, printer: BrokeredPrinter) -> None:
        """Bind the sockets of `question` to `printer` before a client asks."""
        if socket_name(question.usb_id, question.serial) in self._listeners:
            self._printers[socket_name(question.usb_id, question.serial)] = printer
        elif self._settings.name in self._listeners:  # else it is closed, or was never opened
            self._start(self._offered(question, printer))

    async def _offered(self, question: Question, printer: BrokeredPrinter) -> None:
        try:
            await self.serve(question, printer)
        except StateError as exc:
            log.error("%s", exc)

    async def serve(self, question: Question, printer: BrokeredPrinter) -> str:
        """Bind the sockets of `question` to `printer`; the name of the one that speaks HTTP.

        Raises StateError.
        """
        name = socket_name(question.usb_id, question.serial)
        async with self._opening:
            await self.keep_alive_at(keep_alive_name(question.usb_id, question.serial))
            # sane-airscan takes no underscore in unix://NAME/eSCL.
            await self.http_at(name, printer, alias=name.replace("_", "-"))
        return name

    async def http_at(self, name: str, printer: BrokeredPrinter, *, alias: str = "") -> None:
        """Speak HTTP with `printer` at the socket `name`. Raises StateError."""
        self._printers[name] = printer
        if name not in self._listeners:
            await self._listeners.open(
                name, lambda client, peer: self._on_http(name, client, peer), alias=alias
            )

    async def keep_alive_at(self, name: str) -> None:
        """Take keep-alives at the socket `name`. Raises StateError."""
        if name not in self._listeners:
            await self._listeners.open(name, self._on_keep_alive)

    # --- clients

    def _on_question(self, client: socket.socket, peer: Peer) -> None:
        self._start_for_client(client, peer, self._answer(client, peer))

    def _on_keep_alive(self, client: socket.socket, peer: Peer) -> None:
        self._start_for_client(client, peer, self._keep_alive(client, peer))

    def _on_http(self, name: str, client: socket.socket, peer: Peer) -> None:
        self._clock.touch()
        self._start_for_client(client, peer, self._printers[name].adopt(client))

    def _start_for_client(
        self, client: socket.socket, peer: Peer, work: Coroutine[None, None, None]
    ) -> None:
        """A task for one client; users, and then their processes, share the places."""
        task = self._start(work)
        if self._places.add(task, peer.uid, peer.pid) is not None:
            log.warning("too many clients: the oldest dialogue of the one with most is ended")

        def close_if_cancelled(_: asyncio.Task[None]) -> None:
            if task.cancelled():  # perhaps before it began
                client.close()

        task.add_done_callback(close_if_cancelled)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name="broker-client")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _answer(self, client: socket.socket, peer: Peer) -> None:
        """The broker's own dialogue: one question, one answer."""
        try:
            async with message_stream(client) as stream:
                text = await stream.receive(self._settings.client_s)
                if text == LIST:
                    await self._list(stream)
                    return
                with self._clock.hold():
                    answer = await self._find(parse_question(text))
                log.info("%s asked for %s: %s", peer, text, answer)
                await stream.send(answer)
        except (BadRequest, ClientGone) as exc:
            log.info("%s: %s", peer, exc)

    async def _list(self, stream: MessageStream) -> None:
        """Every printer as a question, then an empty message."""
        for question in self._directory.questions():
            tail = f"_{question.serial}" if question.serial else ""
            with suppress(BadRequest):  # a serial number too long for a message
                await stream.send(f"{question.usb_id.underscored}{tail}")
        await stream.send("")

    async def _find(self, question: Question) -> str:
        try:
            async with asyncio.timeout(self._settings.answer_s):
                printer = await self._directory.find(question)
                if printer is not None:
                    return await self.serve(question, printer)
        except TimeoutError:
            log.info("%s: not ready in time", question.usb_id)
        except StateError as exc:
            log.error("%s", exc)
        except IppUsbError as exc:
            log.warning("%s: %s", question.usb_id, exc)
        return NOT_FOUND

    async def _keep_alive(self, client: socket.socket, peer: Peer) -> None:
        """A keep-alive dialogue; no idle exit from its first message to its end."""
        try:
            async with message_stream(client) as stream:
                await self._expect_keep_alive(stream, self._settings.client_s)
                with self._clock.hold():
                    while True:
                        await stream.send(KEEP_ALIVE_ANSWER)
                        await self._expect_keep_alive(stream, None)
        except (BadRequest, ClientGone) as exc:
            log.debug("keep-alive of %s: %s", peer, exc)

    async def _expect_keep_alive(self, stream: MessageStream, within_s: float | None) -> None:
        text = await stream.receive(within_s)
        if text != KEEP_ALIVE:
            raise BadRequest(f"not a keep-alive: {text[:40]!r}")
