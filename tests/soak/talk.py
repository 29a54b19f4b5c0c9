"""The soak's clients' connections: over TCP or a Unix socket, each request with a time limit.

Nothing may hang: every request that is not over within BOUND_S is a fault, also
where a refusal would have been right. Only a print has no bound of the daemon's: a printer that
took a document may be printing it. Its client gives up after PRINT_S, as a person cancels a job.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from soak.rig import Target
from support.http_client import IPP_TYPE, Connection, Reply, head, ipp_request, message

from ippusbd.errors import BadIpp
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Operation

BOUND_S = 75.0  # the longest chain of our own time-outs, twice
PRINT_S = 45.0  # longer than the rig's `stall_s`, after which a document that was cut is given up
LEFT = (ConnectionError, asyncio.IncompleteReadError)  # the daemon closed; it may


class Fault(Exception):
    """Something happened that must not."""


class GaveUp(Exception):
    """The printer said nothing about a document, and its client left."""


@dataclass(frozen=True)
class Answer:
    """An IPP answer; None when HTTP, or the printer's personality, did not bring one."""

    http: int
    message: ipp.Message | None

    @property
    def ok(self) -> bool:
        return self.message is not None and self.message.ok

    @property
    def job_id(self) -> int | None:
        return self.message.first_integer(ipp.Tag.JOB, "job-id") if self.message else None


@asynccontextmanager
async def connected(target: Target, chance: random.Random) -> AsyncIterator[Connection]:
    """One of the ways to a printer. The Unix socket may not be there while it is away."""
    way = chance.choice(("127.0.0.1", "::1", "unix", "127.0.0.1"))
    if way == "unix" and target.unix.exists():
        opening = asyncio.open_unix_connection(target.unix, limit=1 << 20)
    else:
        opening = asyncio.open_connection(
            way if way != "unix" else "127.0.0.1", target.port, limit=1 << 20
        )
    reader, writer = await opening
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def exchange(
    connection: Connection, method: str, data: bytes, *, is_print: bool = False
) -> Reply:
    """Send and read at once; an answer may come before all is sent. Raises GaveUp for a print."""
    sending = asyncio.ensure_future(connection.send(data))
    try:
        return await connection.reply(method, timeout_s=PRINT_S if is_print else BOUND_S)
    except TimeoutError as exc:
        if is_print:
            raise GaveUp from exc
        raise
    finally:
        sending.cancel()
        await asyncio.wait([sending])


async def ask(
    target: Target,
    chance: random.Random,
    method: str = "GET",
    path: str = "/",
    body: bytes = b"",
    headers: tuple[tuple[str, str], ...] = (),
    *,
    chunked: bool = False,
    is_print: bool = False,
) -> Reply:
    """One exchange on a connection of its own."""
    async with connected(target, chance) as connection:
        fields = (("Host", f"localhost:{target.port}"), *headers)
        data = message(method, path, body, fields, chunked=chunked)
        return await exchange(connection, method, data, is_print=is_print)


async def ask_ipp(
    target: Target,
    chance: random.Random,
    operation: Operation,
    *attributes: ipp.Attribute,
    document: bytes = b"",
    chunked: bool = False,
) -> Answer:
    """One IPP exchange."""
    number = chance.randrange(1, 1 << 31)
    if operation in (Operation.PRINT_JOB, Operation.CREATE_JOB):
        attributes = (*attributes, job_name(number))
    body = ipp_request(operation, *attributes, request_id=number) + document
    is_print = bool(document)
    reply = await ask(
        target, chance, "POST", "/ipp/print", body, IPP_TYPE, chunked=chunked, is_print=is_print
    )
    return ipp_answer(reply, number, target)


def ipp_answer(reply: Reply, number: int, target: Target) -> Answer:
    """What a reply says; it must be this request's own."""
    if reply.status != 200 or not reply.complete:
        return Answer(reply.status, None)
    try:
        answer, _ = ipp.decode(reply.body)
    except BadIpp:  # some personalities cannot encode
        return Answer(reply.status, None)
    if answer.request_id != number:
        told = f"an answer to request {answer.request_id} instead of {number}"
        raise Fault(f"{target.serial}: {told}: {answer.groups!r}"[:400])
    return Answer(reply.status, answer)


def job_name(number: int) -> ipp.Attribute:
    """What a client calls its job; those of different requests differ."""
    return ipp.attribute("job-name", ipp.name(f"letter {number}"))


def upload_head(target: Target, number: int, *, length: int = 0) -> bytes:
    """The start of a Print-Job of `length` bytes in total, or chunked; up to the document."""
    start = ipp_request(Operation.PRINT_JOB, job_name(number), request_id=number)
    size = ("Content-Length", str(length + len(start))) if length else CHUNKED
    fields = (("Host", f"localhost:{target.port}"), *IPP_TYPE, size)
    return head("POST", "/ipp/print", fields) + (start if length else coded(start))


CHUNKED = ("Transfer-Encoding", "chunked")


def coded(data: bytes) -> bytes:
    """A chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)
