"""A client may die at any byte, and the next one gets its own answer.

Each client dies on a real TCP connection, alternately with a reset and a normal close. At the
end nothing may have been lost: every interface free, none recovered or broken, no broken HTTP at
the printer, and no cut document kept as a complete one.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.daemon import InProcessDaemon, run_daemon
from support.http_client import (
    IPP_TYPE,
    Connection,
    ask,
    ask_ipp,
    connected,
    ipp_request,
    message,
)

from ippusbd.virtual.http.messages import HttpRequest, HttpResponse
from ippusbd.virtual.personalities.base import Personality
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.services.console import pseudo_random
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Operation

MEGABYTES = 2 << 20
OFFSETS = 200
HEARD_S = 0.005  # what was sent is on USB by then
ASKED = ipp.attribute("requested-attributes", ipp.keyword("printer-state"))


@asynccontextmanager
async def unharmed(
    printer: VirtualPrinter, state_path, *, whole: bytes = b"", **settings: object
) -> AsyncIterator[InProcessDaemon]:
    """A daemon that must be unharmed at the end; `whole` is the only document to be completed."""
    async with run_daemon(printer, state_path=state_path, **settings) as daemon:
        pool = daemon.pool()
        yield daemon
        await daemon.until(lambda: pool.idle)
        status = pool.status()
        assert (status.in_use, status.draining, status.broken) == (0, 0, 0)
        assert pool.recovered == 0
        assert daemon.pool() is pool, "the printer was opened anew"
        assert printer.stats["broken_http"] == 0, printer.stats.last_broken
        assert printer.stats["cut_requests"] == printer.stats["cut_responses"] == 0
        digest = hashlib.sha256(whole).hexdigest()
        kept = [one for one in printer.documents if one.completed and one.sha256 != digest]
        assert not kept, f"{len(kept)} cut documents kept for whole ones: {kept[:3]}"


async def die(connection: Connection, number: int) -> None:
    """Alternates: at once or after the printer got the request; with a reset or a normal close."""
    if number & 2:
        await asyncio.sleep(HEARD_S)
    if number & 1:
        connection.kill()
    else:
        connection.leave()


async def own_answer(port: int, number: int) -> None:
    """Questions with answers that no other client asked for."""
    answer = await ask_ipp(
        port, Operation.GET_PRINTER_ATTRIBUTES, ASKED, request_id=1_000_000 + number
    )
    assert answer.ok
    reply = await ask(port, target=f"/big?bytes={1000 + number}")
    assert (reply.status, len(reply.body)) == (200, 1000 + number)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("interfaces", [1, 3])
@pytest.mark.parametrize("small_body", [32_768, 0], ids=["read whole", "streamed"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_client_may_die_at_every_byte_of_a_small_request(
    make_printer, state_path, interfaces: int, small_body: int, chunked: bool
):
    document = b"%PDF-1.4 a very short document"
    body = ipp_request(Operation.PRINT_JOB, ipp.attribute("job-name", ipp.name("cut")))
    request = message("POST", "/ipp/print", body + document, IPP_TYPE, chunked=chunked)
    printer = make_printer(interfaces=interfaces, print_s=30.0)
    async with unharmed(printer, state_path, whole=document, small_body=small_body) as daemon:
        for offset in range(len(request) + 1):
            async with connected(daemon.port()) as connection:
                await connection.send(request[:offset])
                await die(connection, offset)
            await own_answer(daemon.port(), offset)
    cut = [one for one in printer.documents if one.size < len(document)]
    if small_body:
        assert not cut, "a body that is read whole never reaches the printer cut"
    else:
        assert len(cut) >= len(document) / 4, "hardly any upload was cut at the printer"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("interfaces", [1, 3])
@pytest.mark.parametrize("how", ["", "&chunked=1"], ids=["length", "chunked"])
async def test_a_client_may_die_at_every_byte_of_a_small_answer(
    make_printer, state_path, interfaces: int, how: str
):
    printer = make_printer(interfaces=interfaces)
    request = message("GET", f"/big?bytes=150{how}")
    async with unharmed(printer, state_path) as daemon:
        async with connected(daemon.port()) as connection:
            await connection.send(request + message("GET", "/", headers=[("Connection", "close")]))
            both = await connection.reader.read(-1)
        size = both.index(b"HTTP/1.1", 1)
        for offset in range(size + 1):
            async with connected(daemon.port()) as connection:
                await connection.send(request)
                await connection.reader.readexactly(offset)
                await die(connection, offset)
            await own_answer(daemon.port(), offset)


@pytest.mark.timeout(240)
async def test_a_client_may_die_while_its_answer_comes_byte_by_byte(make_printer, state_path):
    """Here the answer is being read from USB when its client dies, at any offset."""
    printer = make_printer("one-byte-packets", interfaces=1)
    request = message("GET", "/big?bytes=300")
    async with unharmed(printer, state_path) as daemon:
        for turns in range(0, 400, 4):
            async with connected(daemon.port()) as connection:
                await connection.send(request)
                for _ in range(turns):
                    await asyncio.sleep(0)
                await die(connection, turns // 4 & 1)
            reply = await ask(daemon.port(), target=f"/big?bytes={turns}")
            assert (reply.status, len(reply.body)) == (200, turns)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("interfaces", [1, 3])
async def test_a_client_may_die_anywhere_in_a_large_upload(
    make_printer, state_path, chance: random.Random, interfaces: int
):
    document = b"".join(pseudo_random(MEGABYTES))
    body = ipp_request(Operation.PRINT_JOB) + document
    requests = [
        message("POST", "/ipp/print", body, IPP_TYPE, chunked=chunked) for chunked in (False, True)
    ]
    printer = make_printer(interfaces=interfaces, print_s=60.0)
    async with unharmed(printer, state_path, whole=document) as daemon:
        for number in range(OFFSETS):
            request = requests[number % 2]
            offset = chance.randrange(len(request))
            async with connected(daemon.port()) as connection:
                await connection.send(request[:offset])
                await die(connection, number >> 1)
            await own_answer(daemon.port(), number)
        answer = await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=document)
        assert answer.ok
    assert [one.completed for one in printer.documents].count(True) == 1
    assert len(printer.documents) > OFFSETS / 4, "hardly any upload was cut at the printer"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("interfaces", [1, 3])
async def test_a_client_may_die_anywhere_in_a_large_download(
    make_printer, state_path, chance: random.Random, interfaces: int
):
    printer = make_printer(interfaces=interfaces)
    async with unharmed(printer, state_path) as daemon:
        for number in range(OFFSETS):
            how = ("", "&chunked=1")[number % 2]
            offset = chance.randrange(MEGABYTES)
            async with connected(daemon.port()) as connection:
                await connection.send(message("GET", f"/big?bytes={MEGABYTES}{how}"))
                await connection.reader.readexactly(offset)
                await die(connection, number >> 1)
            await own_answer(daemon.port(), number)


async def test_thirty_clients_may_die_at_once(make_printer, state_path):
    printer = make_printer(interfaces=2, print_s=60.0)
    body = ipp_request(Operation.PRINT_JOB) + bytes(500_000)
    request = message("POST", "/ipp/print", body, IPP_TYPE)

    async def dying(port: int, number: int) -> None:
        async with connected(port) as connection:
            await connection.send(request[: 40_000 + 9_000 * number])
            await asyncio.sleep(0.2)
            connection.kill()

    async with unharmed(printer, state_path, whole=bytes(500_000)) as daemon:
        clients = [asyncio.create_task(dying(daemon.port(), n)) for n in range(30)]
        await asyncio.gather(*(own_answer(daemon.port(), n) for n in range(30)))
        await asyncio.gather(*clients)


class LosesAnAnswer(Personality):
    """The job is accepted; then the endpoint halts before the answer is read."""

    name = "loses-an-answer"

    def __init__(self) -> None:
        self._done = False

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if not self._done and request.path == "/ipp/print":
            self._done = True
            request.interface.ipp.into.halt()
        return response


@pytest.mark.parametrize(
    "personality",
    ["deaf-until-set-interface", LosesAnAnswer],
    ids=["the cancellation", "the answer"],
)
@pytest.mark.parametrize("interfaces", [1, 2])
async def test_a_cut_document_is_cancelled_although_its_end_was_lost(
    make_printer, state_path, interfaces: int, personality: str | type[Personality]
):
    """The interface fails at the third request, the Cancel-Job, or with the cut job's answer."""
    printer = make_printer(interfaces=interfaces, print_s=30.0)
    quick = {"drain_s": 0.3, "check_s": 1.0, "supplies_s": 0.0}
    start = ipp_request(Operation.PRINT_JOB, ipp.attribute("job-name", ipp.name("cut")))
    job = message("POST", "/ipp/print", start + bytes(200_000), IPP_TYPE)
    async with run_daemon(printer, state_path=state_path, **quick) as daemon:
        printer.personalities.switch_on(personality)
        await ask(daemon.port())
        async with connected(daemon.port()) as connection:
            await connection.send(job[:-99])
            await daemon.until(lambda: printer.documents and printer.documents[0].size > 100_000)
            connection.kill()
        await daemon.until(lambda: printer.jobs.jobs()[0].ended is not None)
        await daemon.until_idle()
    assert not printer.documents[0].completed


async def test_a_cut_document_is_cancelled_by_the_next_daemon(make_printer, state_path):
    """The cable is pulled after the answer with the job-id was lost; then the daemon restarts."""
    printer = make_printer(interfaces=1, print_s=60.0)
    quick = {"drain_s": 0.3, "check_s": 1.0, "supplies_s": 0.0, "grace_s": 0.1}
    start = ipp_request(Operation.PRINT_JOB, ipp.attribute("job-name", ipp.name("cut")))
    job = message("POST", "/ipp/print", start + bytes(200_000), IPP_TYPE)
    async with run_daemon(printer, state_path=state_path, **quick) as daemon:
        printer.personalities.switch_on(LosesAnAnswer)
        (served,) = daemon.supervisor.printers
        async with connected(daemon.port()) as connection:
            await connection.send(job[:-99])
            await daemon.until(lambda: printer.documents and printer.documents[0].size > 100_000)
            connection.kill()
        await daemon.until(lambda: len(served.pending_cancels))
        daemon.unplug(printer)
        await daemon.until_state("away")
    assert printer.jobs.jobs()[0].ended is None
    async with run_daemon(printer, state_path=state_path, **quick) as daemon:
        await daemon.until(lambda: printer.jobs.jobs()[0].ended is not None)
    assert not printer.documents[0].completed
