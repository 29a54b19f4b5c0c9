"""A client may leave once its last byte is sent: its document prints, and is not cancelled."""

from __future__ import annotations

from support.http_client import IPP_TYPE, connected, head, ipp_request
from support.scripted_printer import answer, serve
from support.waiting import until

from ippusbd.wire import ipp
from ippusbd.wire.ipp import Operation, Tag

DOCUMENT = bytes(range(251)) * 400  # 100 KB: streamed
MADE = ipp.encode(
    ipp.Message(0, 1, (ipp.Group(Tag.JOB, (ipp.attribute("job-id", ipp.integer(7)),)),))
)


async def test_a_document_that_came_whole_prints_though_its_client_left_at_once():
    fields = (*IPP_TYPE, ("Transfer-Encoding", "chunked"))
    start = ipp_request(Operation.PRINT_JOB)
    async with serve(answer(MADE, headers=IPP_TYPE)) as served:
        (channel,) = served.printer.channels
        channel.stop_taking()
        async with connected(served.port) as connection:
            await connection.send(head("POST", "/ipp/print", fields))
            for part in (start, DOCUMENT):
                await connection.send(b"%x\r\n%b\r\n" % (len(part), part))
            await connection.send(b"0\r\n\r\n")
            await until(lambda: served.pool.status().in_use == 1)
        await until(lambda: served.pool.status().draining == 1)
        channel.take_again()
        await until(lambda: served.pool.idle)
        assert served.heard.body == start + DOCUMENT
        assert served.pool.recovered == 0
