"""The daemon's own questions: which answer is taken for whose."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.fake_channel import FakeChannel
from support.scripted_printer import answer

from ippusbd.exchange.query import PRINT_PATH, Query
from ippusbd.exchange.traffic import Traffic
from ippusbd.usbio.pool import InterfacePool
from ippusbd.wire import ipp

IPP = (("Content-Type", "application/ipp"),)
EARLIER, NEVER_COPIED = 1, 0


def answered(request_id: int) -> bytes:
    return answer(ipp.encode(ipp.Message(0, request_id, ())), headers=IPP)


class Printer:
    """It answers a question as `answers` says, given the question's request-id."""

    def __init__(self, answers: Callable[[int], list[bytes]]) -> None:
        self.asked: list[int] = []
        self.channel = FakeChannel(hear=self._hear)
        self._answers = answers

    def _hear(self, channel: FakeChannel, data: bytes) -> None:
        request_id = ipp.decode(data.partition(b"\r\n\r\n")[2])[0].request_id
        self.asked.append(request_id)
        channel.say(*self._answers(request_id))

    async def check(self) -> None:
        await Query(host="localhost").check(self.channel, 5.0)


async def test_an_answer_to_an_earlier_question_does_not_pass_a_check():
    """Its own would come later, and be taken for the answer to a client."""
    late = [EARLIER]
    printer = Printer(lambda own: [*(answered(late.pop()) for _ in list(late)), answered(own)])
    await printer.check()
    assert len(printer.asked) == 2
    assert printer.asked[0] != EARLIER
    assert printer.channel.discard() == 0


@pytest.mark.parametrize(
    ("reply", "questions"),
    [
        (answered, 1),
        (lambda _: answered(NEVER_COPIED), 2),
        (lambda _: answer(b"<html>not here</html>", headers=[("Content-Type", "text/html")]), 1),
        (lambda _: answer(status="503 Service Unavailable"), 1),
    ],
    ids=["usual", "never-copied", "a-page", "unavailable"],
)
async def test_any_answer_passes_a_check(reply: Callable[[int], bytes], questions: int):
    printer = Printer(lambda own: [reply(own)])
    await printer.check()
    assert len(printer.asked) == questions


async def test_an_answer_that_the_statistics_leave_out_is_a_sign_of_life():
    printer, traffic = Printer(lambda own: [answered(own)]), Traffic()
    query = Query(host="localhost", traffic=traffic)
    query.pool = InterfacePool([printer.channel], drain_s=5.0)
    question = ipp.encode(ipp.Message(ipp.Operation.GET_PRINTER_ATTRIBUTES, 7, ()))
    await query.ipp(PRINT_PATH, question, answer_s=5.0, counted=False)
    assert (traffic.bytes_in, traffic.moved_at > 0) == (0, True)
    await query.pool.close()
