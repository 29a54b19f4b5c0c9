"""Clients of every kind: those that print and scan, that vanish, send garbage or are slow.

Each is a coroutine function that does one thing and returns its outcome in a word.
A refusal is an outcome like another; a Fault, or a request that never ends, is not.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from soak.ledger import Fate, Ledger
from soak.rig import Rig, Target
from soak.talk import (
    LEFT,
    Answer,
    Fault,
    GaveUp,
    ask,
    ask_ipp,
    coded,
    connected,
    exchange,
    ipp_answer,
    upload_head,
)

from ippusbd.virtual.services.console import pseudo_random_sha256
from ippusbd.wire import ipp
from ippusbd.wire.broker import encode
from ippusbd.wire.ipp import Operation

SCAN_SETTINGS = (
    b'<?xml version="1.0"?><scan:ScanSettings '
    b'xmlns:scan="http://schemas.hp.com/imaging/escl/2011/05/03" '
    b'xmlns:pwg="http://www.pwg.org/schemas/2010/12/sm">'
    b"<scan:Width>300</scan:Width><scan:Height>200</scan:Height></scan:ScanSettings>"
)
SIZES = (0, 1, 511, 512, 5000, 40_000, 200_000, 1_000_000)
PAGES = ("/", "/icon-128.png", "/nothing", "/big?bytes=9")
LISTENS_S = 3.0


class Client:
    """One client after another, from one source of random numbers."""

    def __init__(self, rig: Rig, ledger: Ledger, chance: random.Random) -> None:
        self.rig = rig
        self.ledger = ledger
        self.chance = chance

    async def act(self) -> str:
        """Do something; returns what it was and its outcome. Raises Fault."""
        kinds, weights = zip(*KINDS.items(), strict=True)
        kind = self.chance.choices(kinds, weights)[0]
        target = self.chance.choice(self.rig.targets)
        try:
            return f"{kind.__name__}: {await kind(self, target)}"
        except TimeoutError as exc:
            raise Fault(f"{kind.__name__} on {target.serial} never ended") from exc
        except GaveUp:
            self.rig.note(target.serial, f"{kind.__name__}: gave up")
            return f"{kind.__name__}: gave up"
        except LEFT:
            return f"{kind.__name__}: closed"

    def document(self) -> bytes:
        """Different from all others."""
        size = self.chance.choice(SIZES) + self.chance.randrange(16, 600)
        return self.chance.randbytes(16) + (self.chance.randbytes(97) * (1 + size // 97))[:size]

    # --- those that behave

    async def prints(self, target: Target) -> str:
        document = self.document()
        sent = self.ledger.sending(target.serial, document)
        answer = await ask_ipp(
            target,
            self.chance,
            Operation.PRINT_JOB,
            document=document,
            chunked=self.chance.random() < 0.5,
        )
        sent.fate = _fate(answer)
        return sent.fate.value

    async def prints_in_two_steps(self, target: Target) -> str:
        created = await ask_ipp(target, self.chance, Operation.CREATE_JOB)
        if not created.ok or created.job_id is None:
            return _refusal(created)
        document = self.document()
        sent = self.ledger.sending(target.serial, document)
        answer = await ask_ipp(
            target,
            self.chance,
            Operation.SEND_DOCUMENT,
            ipp.attribute("job-id", ipp.integer(created.job_id)),
            ipp.attribute("last-document", ipp.boolean(True)),
            document=document,
            chunked=self.chance.random() < 0.5,
        )
        sent.fate = _fate(answer)
        return sent.fate.value

    async def prints_and_cancels(self, target: Target) -> str:
        document = self.document()
        sent = self.ledger.sending(target.serial, document)
        answer = await ask_ipp(target, self.chance, Operation.PRINT_JOB, document=document)
        sent.fate = _fate(answer)
        if answer.job_id is None:
            return sent.fate.value
        sent.fate = Fate.CANCELLED
        job = ipp.attribute("job-id", ipp.integer(answer.job_id))
        return _refusal(await ask_ipp(target, self.chance, Operation.CANCEL_JOB, job))

    async def asks(self, target: Target) -> str:
        operation = self.chance.choice((Operation.GET_PRINTER_ATTRIBUTES, Operation.GET_JOBS))
        return _refusal(await ask_ipp(target, self.chance, operation))

    async def scans(self, target: Target) -> str:
        xml = (("Content-Type", "text/xml"),)
        reply = await ask(target, self.chance, "POST", "/eSCL/ScanJobs", SCAN_SETTINGS, xml)
        if reply.status != 201:
            return str(reply.status)
        job = "/eSCL" + reply.headers["location"].partition("/eSCL")[2]
        page = await ask(target, self.chance, path=f"{job}/NextDocument")
        is_page = page.status == 200 and page.headers.get("content-type") != "text/html"
        if is_page and page.complete and not page.body.endswith(b"\xff\xd9"):
            raise Fault(f"{target.serial}: a page that looks complete and is not")
        return f"{page.status}" if page.complete else "cut"

    async def downloads(self, target: Target) -> str:
        size = self.chance.choice(SIZES)
        how = self.chance.choice(("", "&chunked=1"))
        reply = await ask(target, self.chance, path=f"/big?bytes={size}{how}")
        return _checked(target, reply.status, reply.body, size, complete=reply.complete)

    async def uploads(self, target: Target) -> str:
        data = self.document()
        chunked = self.chance.random() < 0.5
        reply = await ask(target, self.chance, "POST", "/sink", data, chunked=chunked)
        if reply.status != 200 or not reply.complete:
            return str(reply.status)
        if json.loads(reply.body)["sha256"] != hashlib.sha256(data).hexdigest():
            raise Fault(f"{target.serial}: an upload arrived changed")
        return "200"

    async def browses(self, target: Target) -> str:
        """Some pages on one connection."""
        statuses = []
        async with connected(target, self.chance) as connection:
            for path in self.chance.choices(
                ("/", "/icon-128.png", "/nothing", "/big?bytes=9"), k=3
            ):
                request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
                statuses.append(str((await exchange(connection, "GET", request)).status))
        return ",".join(sorted(set(statuses)))

    async def asks_broker(self, target: Target) -> str:
        """As ChromeOS does."""
        reader, writer = await asyncio.open_unix_connection(self.rig.broker)
        try:
            writer.write(encode(target.question))
            async with asyncio.timeout(LISTENS_S * 4):
                answer = (await reader.read(256))[1:-1].decode()
        finally:
            writer.close()
        if answer not in (target.unix.name, "Device not found", ""):
            raise Fault(f"the broker said {answer!r}")
        return "found" if answer.endswith(".sock") else "not found"

    async def asks_control(self, target: Target) -> str:
        rows = await self.rig.rows()
        return str(rows.get(target.serial, {}).get("state", "unknown"))

    # --- those that vanish

    async def vanishes_uploading(self, target: Target) -> str:
        document = self.document() + bytes(100_000)
        part = self.chance.randrange(len(document) - 1)
        sent = self.ledger.sending(target.serial, document)
        sent.fate = Fate.CUT
        length = len(document) if self.chance.random() < 0.5 else 0
        number = self.chance.randrange(1, 1 << 31)
        async with connected(target, self.chance) as connection:
            with suppress(*LEFT):
                await _bounded(connection.send(upload_head(target, number, length=length)))
                data = document[:part]
                await _bounded(connection.send(data if length else coded(data)))
                await asyncio.sleep(self.chance.random() * 0.2)
            self.rig.note(target.serial, f"client vanished after {part} of {len(document)} bytes")
            _go(self.chance, connection)
        return "gone"

    async def vanishes_downloading(self, target: Target) -> str:
        size = 2_000_000
        async with connected(target, self.chance) as connection:
            await connection.send(b"GET /big?bytes=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % size)
            with suppress(TimeoutError):
                async with asyncio.timeout(LISTENS_S):
                    await connection.reader.read(self.chance.randrange(1, 100_000))
            _go(self.chance, connection)
        return "gone"

    async def vanishes_waiting(self, target: Target) -> str:
        body = "POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
        data = self.chance.choice(("", "GET", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", body))
        async with connected(target, self.chance) as connection:
            await connection.send(data.encode())
            await asyncio.sleep(self.chance.random() * 0.05)
            _go(self.chance, connection)
        return "gone"

    # --- those that are a nuisance

    async def dawdles(self, target: Target) -> str:
        """Prints in small pieces with pauses."""
        document, number = self.document()[:200_000], self.chance.randrange(1, 1 << 31)
        sent = self.ledger.sending(target.serial, document)
        async with connected(target, self.chance) as connection:
            await connection.send(upload_head(target, number))
            step = max(1, len(document) // 8)
            with suppress(ConnectionError):  # refused early; the answer says so
                for at in range(0, len(document), step):
                    await _bounded(connection.send(coded(document[at : at + step])))
                    await asyncio.sleep(0.1)
                await connection.send(b"0\r\n\r\n")
            reply = await exchange(connection, "POST", b"", is_print=True)
            sent.fate = _fate(ipp_answer(reply, number, target))
        return sent.fate.value

    async def reads_slowly(self, target: Target) -> str:
        size = 1_500_000
        async with connected(target, self.chance) as connection:
            await connection.send(b"GET /big?bytes=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % size)
            connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(self.chance.random() * LISTENS_S)
            connection.reader._transport.resume_reading()  # type: ignore[attr-defined]
            reply = await exchange(connection, "GET", b"")
        return _checked(target, reply.status, reply.body, size, complete=reply.complete)

    async def babbles(self, target: Target) -> str:
        """Sends garbage to any of the daemon's sockets."""
        where = self.chance.choice(("printer", "printer", self.rig.broker, self.rig.control))
        if where == "printer":
            async with connected(target, self.chance) as connection:
                return await self._babble(connection.reader, connection.writer)
        reader, writer = await asyncio.open_unix_connection(where)
        try:
            return await self._babble(reader, writer)
        finally:
            writer.close()

    async def _babble(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(_garbage(self.chance))
        with suppress(TimeoutError):
            async with asyncio.timeout(self.chance.random() * LISTENS_S):
                heard = await reader.read(4096)
                return "answered" if heard else "closed"
        return "ignored"


def _garbage(chance: random.Random) -> bytes:
    start = chance.choice(GARBAGE)
    return start + chance.randbytes(chance.choice((0, 10, 3000)))


GARBAGE = (
    b"",
    b"\0",
    b"\xff" * 300,
    b"\r\n" * 40,
    b"GET / HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
    b"GET /\r\nhttp HTTP/9.9\r\n\r\n",
    b"POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    b"POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\n",
    b"POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
    b"Content-Length: 9\r\n\r\n\x02\x00\x00\x0b\x00\x00\x00\x01\x03",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n",
    b'{"command": "no such thing"}\n',
    b'{"command": ["status"]}\n',
    b"\x05k\xffep\0",
)

Kind = Callable[[Client, Target], Awaitable[str]]
KINDS: dict[Kind, int] = {
    Client.prints: 10,
    Client.prints_in_two_steps: 4,
    Client.prints_and_cancels: 3,
    Client.asks: 6,
    Client.scans: 4,
    Client.downloads: 6,
    Client.uploads: 3,
    Client.browses: 2,
    Client.asks_broker: 2,
    Client.asks_control: 1,
    Client.vanishes_uploading: 6,
    Client.vanishes_downloading: 4,
    Client.vanishes_waiting: 2,
    Client.dawdles: 2,
    Client.reads_slowly: 2,
    Client.babbles: 4,
}


async def proves_itself(rig: Rig, ledger: Ledger, chance: random.Random) -> list[str]:
    """In the calm every printer prints and answers as before; returns what does not."""
    wrong = []
    for target in rig.targets:
        document = chance.randbytes(40_000)
        sent = ledger.sending(target.serial, document)
        try:
            answer = await ask_ipp(target, chance, Operation.PRINT_JOB, document=document)
            sent.fate = _fate(answer)
            reply = await ask(target, chance, path="/big?bytes=100000")
            told = _checked(target, reply.status, reply.body, 100_000, complete=reply.complete)
        except (Fault, GaveUp, TimeoutError, *LEFT) as exc:
            wrong.append(f"{target.serial}, undisturbed: {exc!r}")
            continue
        if not answer.ok or told != "200":
            wrong.append(f"{target.serial}, undisturbed: prints {answer.http}, answers {told}")
    return wrong


def _fate(answer: Answer) -> Fate:
    if answer.ok:
        return Fate.ACCEPTED
    return Fate.REFUSED if answer.message is not None or answer.http >= 400 else Fate.UNKNOWN


def _refusal(answer: Answer) -> str:
    if answer.message is None:
        return str(answer.http)
    return "ok" if answer.ok else f"{answer.message.code:#06x}"


def _checked(target: Target, status: int, body: bytes, size: int, *, complete: bool) -> str:
    if status != 200:
        return str(status)
    if not complete:
        return "cut"
    if len(body) != size or hashlib.sha256(body).hexdigest() != pseudo_random_sha256(size):
        raise Fault(f"{target.serial}: {len(body)} bytes that look complete are not what was asked")
    return "200"


async def _bounded(sending: Awaitable[None]) -> None:
    """A printer that accepts nothing may delay an upload, not a client that will leave."""
    with suppress(TimeoutError):
        await asyncio.wait_for(sending, LISTENS_S)


def _go(chance: random.Random, connection: object) -> None:
    leave = chance.choice(("kill", "leave"))
    getattr(connection, leave)()
