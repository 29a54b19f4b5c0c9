"""Every byte of a document counts as a sign of life, however short the time in which it moved.

Real exchanges on a pool, the evidence and the judgement; only the printer is the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.fake_channel import FakeChannel
from support.time_lapse import told

from ippusbd.daemon.recovery.evidence import EvidenceLog
from ippusbd.daemon.recovery.verdict import Patience, PrinterUnresponsive, at_work, judge
from ippusbd.errors import ClientGone, Unanswered
from ippusbd.exchange.exchange import Exchange
from ippusbd.exchange.query import IPP_TYPE, Asked, Outcome, Query
from ippusbd.exchange.request import Request
from ippusbd.exchange.traffic import Traffic
from ippusbd.usbio.pool import InterfacePool, Lane
from ippusbd.wire.http1 import LAST_CHUNK

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
PATIENCE = Patience(30, 300, 3600)
LOOK_S = 7.5


class Bench:
    """A pool of fake interfaces, and what is known of their printer."""

    def __init__(self, interfaces: int) -> None:
        self.channels = [FakeChannel(number=number) for number in range(interfaces)]
        self.pool = InterfacePool(self.channels, drain_s=30)
        self.traffic = Traffic()
        self.loop = asyncio.get_running_loop()
        self.log = EvidenceLog(self.loop.time, self.traffic)

    def at_work(self) -> str:
        return at_work(self.log.look(self.pool.slots), self.loop.time())

    def judged(self) -> object:
        return judge(self.log.look(self.pool.slots), self.loop.time(), PATIENCE)

    async def sends(self, request: Request, *, answered: bool = True, answer: bytes = OK) -> None:
        lane = Lane.SHORT if request.stream is None else Lane.LONG
        async with self.pool.lease(wait_s=1, lane=lane) as lease:
            exchange = lease.unfinished = Exchange(lease.channel, request, self.traffic)
            end = b"\r\n\r\n" if request.stream is None else LAST_CHUNK
            if answered:
                self.channels[lease.channel.number].hear = lambda printer, data: (
                    printer.say(answer) if data.endswith(end) else None
                )
            await exchange.answer()
            async for _ in exchange.chunks():
                pass
            await exchange.sent()
            lease.unfinished = None

    def question(self) -> Request:
        return Request("GET", "/", ())

    def document(self, stream: AsyncIterator[bytes]) -> Request:
        return Request("POST", "/ipp/print", IPP_TYPE, stream=stream)


async def letter() -> AsyncIterator[bytes]:
    yield b"a letter"


async def half() -> AsyncIterator[bytes]:
    yield b"a le"
    raise ClientGone


def test_a_letter_between_two_looks_keeps_the_printer_at_work_for_ten_minutes():
    async def story() -> None:
        bench = Bench(1)
        assert bench.at_work() == ""
        await bench.sends(bench.document(letter()))
        await asyncio.sleep(LOOK_S)
        assert "a document" in bench.at_work()
        await asyncio.sleep(590)
        assert "a document" in bench.at_work()
        await asyncio.sleep(10)
        assert bench.at_work() == ""
        await bench.pool.close()

    told(story)


def test_half_a_document_is_lost_already_and_keeps_nothing_from_being_recovered():
    async def story() -> None:
        bench = Bench(1)
        await bench.sends(bench.document(half()))
        assert bench.at_work() == ""
        await bench.pool.close()

    told(story)


def test_a_refused_document_is_not_printed_and_keeps_nothing_from_being_recovered():
    async def story() -> None:
        bench = Bench(1)
        await bench.sends(bench.document(letter()), answer=OK.replace(b"200 OK", b"403 No"))
        assert bench.at_work() == ""
        await bench.pool.close()

    told(story)


def test_a_question_is_no_work_and_is_over_when_it_is_answered():
    async def story() -> None:
        bench = Bench(1)
        await bench.sends(bench.question())
        assert bench.at_work() == ""
        await bench.pool.close()

    told(story)


def test_our_own_deletion_is_no_work_though_the_printer_does_not_answer_it():
    async def story() -> None:
        bench = Bench(1)
        query = Query(bench.pool, host="localhost", traffic=bench.traffic)
        asking = asyncio.create_task(query.ask(Request("DELETE", "/job", ()), answer_s=5))
        await asyncio.sleep(4)
        assert bench.pool.status().in_use == 1
        assert bench.at_work() == ""
        with pytest.raises(Unanswered):
            await asking
        await bench.pool.close()

    told(story)


def test_the_first_bytes_of_a_document_prove_that_a_silent_printer_is_alive():
    async def story() -> None:
        bench = Bench(3)
        client = asyncio.create_task(bench.sends(bench.question(), answered=False))
        for _ in range(5):  # it is not answered, and neither are we
            await asyncio.sleep(LOOK_S)
            bench.judged()
        for _ in range(2):
            bench.log.asked(Asked(2, bench.loop.time(), Outcome.UNANSWERED))
            await asyncio.sleep(400)
        assert isinstance(bench.judged(), PrinterUnresponsive)

        printing = asyncio.create_task(bench.sends(bench.document(letter()), answered=False))
        await asyncio.sleep(1)
        assert not isinstance(bench.judged(), PrinterUnresponsive)
        for task in (client, printing):
            task.cancel()
        await asyncio.wait([client, printing])
        await bench.pool.close()

    told(story)
