"""One client program of the office: its requests, and how it dies in the middle of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from simulation.ledger import Ledger, Question
from simulation.office import Office
from support.http_client import IPP_TYPE, Connection, Reply, head, message

from ippusbd.errors import BadIpp
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Message, Operation, Tag

LOOKED_AT = (
    "printer-state",
    "printer-state-reasons",
    "printer-is-accepting-jobs",
    "queued-job-count",
    "document-format-supported",
    "operations-supported",
)
PIECE = 32 * 1024
PATIENCE_S = 3 * 3600.0  # then somebody cancels the job, and its client leaves
CHUNKED = (*IPP_TYPE, ("Transfer-Encoding", "chunked"))
FAILURES = (ConnectionError, asyncio.IncompleteReadError)


class Left(Exception):
    """The client left without an answer, because it died or was cancelled."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A document on its way: what goes before it, how slowly it comes, where its client dies."""

    start: bytes
    document: bytes
    pauses: dict[int, float] = field(default_factory=dict)  # seconds before the piece of a number
    dies_after: int | None = None  # bytes of the document; all of them: without reading the answer


class Caller:
    """A program with a process id of its own."""

    def __init__(
        self, office: Office, ledger: Ledger, printer: VirtualPrinter, chance: random.Random
    ) -> None:
        self.office = office
        self.ledger = ledger
        self.printer = printer
        self.serial = printer.device.model.serial
        self.chance = chance
        self.pid = chance.randrange(1000, 1 << 22)
        self._request_id = 0

    async def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Iterable[tuple[str, str]] = (),
        *,
        dies_after_s: float | None = None,
    ) -> Reply | None:
        """The answer; None: none came. The client leaves `dies_after_s` the daemon got the request.

        The daemon cannot know of a client whose request is lost on its way.
        """
        question = self.ledger.ask(self.serial, f"{method} {target}", streams=False)
        try:
            connection = await self._connect()
        except ConnectionRefusedError:
            self.ledger.answered(question)
            return None
        try:
            await connection.send(message(method, target, body, headers))
            if dies_after_s is not None:
                await _delivered(connection)
            async with asyncio.timeout(dies_after_s):
                return await connection.reply(method, timeout_s=1e9)
        except (*FAILURES, TimeoutError):
            return None
        finally:
            connection.writer.transport.abort()
            self.ledger.answered(question)

    async def _connect(self) -> Connection:
        return Connection(*await self.office.connect(self.printer, self.pid))

    # --- IPP

    def request(self, operation: Operation, *attributes: ipp.Attribute) -> bytes:
        """Encoded; a document may follow."""
        self._request_id += 1
        group = ipp.Group(
            Tag.OPERATION,
            (
                ipp.attribute("attributes-charset", ipp.charset()),
                ipp.attribute("attributes-natural-language", ipp.language()),
                ipp.attribute("printer-uri", ipp.uri("ipp://localhost/ipp/print")),
                ipp.attribute("requesting-user-name", ipp.name(f"user{self.pid}")),
                *attributes,
            ),
        )
        return ipp.encode(Message(operation, self._request_id, (group,)))

    async def ask_ipp(self, operation: Operation, *attributes: ipp.Attribute) -> Message | None:
        """The answer of a request without a document; None: 503, or none."""
        body = self.request(operation, *attributes)
        return answer_of(await self.ask("POST", "/ipp/print", body, IPP_TYPE))

    async def look(self) -> Message | None:
        """How the printer is, as a queue or a monitor asks."""
        wanted = ipp.attribute("requested-attributes", *(ipp.keyword(one) for one in LOOKED_AT))
        return await self.ask_ipp(Operation.GET_PRINTER_ATTRIBUTES, wanted)

    async def upload(self, upload: Upload, patience_s: float = PATIENCE_S) -> Reply | None:
        """Send a document in chunks; the answer, None if there is none. Raises Left."""
        question = self.ledger.ask(self.serial, "an upload", streams=True)
        try:
            connection = await self._connect()
        except ConnectionRefusedError:
            self.ledger.answered(question)
            return None
        sending = asyncio.ensure_future(self._send(connection, upload, question))
        answer = asyncio.ensure_future(connection.reply("POST", timeout_s=1e9))
        try:
            await asyncio.wait(
                [sending, answer], timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not answer.done():
                raise Left
            return answer.result()
        except FAILURES:
            return None
        finally:
            connection.writer.transport.abort()
            sending.cancel()
            answer.cancel()
            await asyncio.gather(sending, answer, return_exceptions=True)
            self.ledger.answered(question)

    async def _send(self, connection: Connection, upload: Upload, question: Question) -> None:
        with suppress(*FAILURES):
            await connection.send(head("POST", "/ipp/print", CHUNKED) + _chunk(upload.start))
            document = upload.document[: upload.dies_after]
            for number, at in enumerate(range(0, len(document), PIECE)):
                if pause_s := upload.pauses.get(number):
                    await asyncio.sleep(pause_s)
                await connection.send(_chunk(document[at : at + PIECE]))
            if len(document) < len(upload.document):
                return
            await connection.send(b"0\r\n\r\n")
            if upload.dies_after is not None:  # of what it sent nothing is lost
                await _delivered(connection)
            else:
                await asyncio.sleep(1e9)


async def _delivered(connection: Connection) -> None:
    """Until the daemon has taken all that was sent."""
    transport = connection.writer.transport
    transport.set_write_buffer_limits(high=0)
    await connection.writer.drain()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answer_of(reply: Reply | None) -> Message | None:
    """The IPP answer in an HTTP answer that is whole."""
    if reply is None or reply.status != 200 or not reply.complete:
        return None
    try:
        return ipp.decode(reply.body)[0]
    except BadIpp:
        return None
