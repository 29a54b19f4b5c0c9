"""The shutdown is in order: unpublish, refuse, finish what is in flight, release the device."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from support.daemon import run_daemon
from support.http_client import IPP_TYPE, ask, connected, head, ipp_request, message

from ippusbd.wire.ipp import Operation


async def test_services_are_withdrawn_while_the_printer_still_answers(make_printer, state_path):
    printer = make_printer()
    answered: list[bool] = []
    async with run_daemon(printer, state_path=state_path) as daemon:
        site = next(iter(daemon.supervisor.printers)).site
        daemon.publisher.told.append(
            lambda *_: answered.append(site._responder.forwarder is not None)
        )
    assert daemon.publisher.events[-1][0] == "withdraw"
    assert answered == [True]
    assert not daemon.publisher.sets


async def test_an_answer_in_flight_is_finished(make_printer, state_path):
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path, grace_s=10.0) as daemon:
        port = daemon.port()
        connection = connected(port)
        client = await connection.__aenter__()
        await client.send(message("GET", "/big?bytes=20000000"))
        await client.reader.readexactly(1000)
        reading = asyncio.create_task(client.reader.readexactly(20_000_000 - 1000))
    assert len(await reading) == 20_000_000 - 1000
    await connection.__aexit__(None, None, None)


async def test_a_document_whose_bytes_move_is_printed_to_its_end(make_printer, state_path):
    """The package was upgraded in the middle of a print."""
    printer = make_printer()
    request = ipp_request(Operation.PRINT_JOB)
    size = ("Content-Length", str(len(request) + 1_000_000))
    async with AsyncExitStack() as stack:
        async with run_daemon(printer, state_path=state_path, grace_s=0.3) as daemon:
            client = await stack.enter_async_context(connected(daemon.port()))
            await client.send(head("POST", "/ipp/print", [*IPP_TYPE, size]) + request)

            async def send() -> int:
                for _ in range(10):
                    await client.send(bytes(100_000))
                    await asyncio.sleep(0.1)
                return (await client.reply("POST")).status

            sending = asyncio.create_task(send())
            await daemon.until(lambda: printer.stats["bytes_in"] > 200_000)
        assert await sending == 200
    assert [document.completed for document in printer.documents] == [True]


async def test_a_document_that_stalls_does_not_delay_the_shutdown(make_printer, state_path):
    async with AsyncExitStack() as stack:
        async with run_daemon(make_printer(), state_path=state_path, grace_s=0.2) as daemon:
            client = await stack.enter_async_context(connected(daemon.port()))
            size = ("Content-Length", "1000000")
            start = head("POST", "/ipp/print", [*IPP_TYPE, size])
            await client.send(start + ipp_request(Operation.PRINT_JOB) + bytes(100_000))
            await daemon.until(lambda: daemon.interfaces()["in_use"] == 1)
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 5.0


async def test_a_client_that_connects_during_the_shutdown_gets_503(make_printer, state_path):
    printer = make_printer()
    replies: list[asyncio.Task] = []
    async with run_daemon(printer, state_path=state_path, grace_s=10.0) as daemon:
        port = daemon.port()
        connection = connected(port)
        client = await connection.__aenter__()
        await client.send(message("GET", "/big?bytes=50000000"))
        await client.reader.readexactly(1000)
        closing = asyncio.create_task(daemon.supervisor.close())
        await daemon.until(lambda: not daemon.publisher.sets)
        reply = await ask(port)
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        replies.append(asyncio.create_task(client.reader.read(-1)))
        await closing
    assert len(await replies[0]) > 49_000_000
    await connection.__aexit__(None, None, None)


async def test_a_client_that_never_reads_does_not_delay_the_shutdown(make_printer, state_path):
    async with run_daemon(make_printer(), state_path=state_path, grace_s=0.2) as daemon:
        connection = connected(daemon.port())
        client = await connection.__aenter__()
        await client.send(message("GET", "/big?bytes=50000000"))
        await client.reader.readexactly(1000)
        client.reader._transport.pause_reading()
        start = asyncio.get_running_loop().time()
        await daemon.supervisor.close()
        assert asyncio.get_running_loop().time() - start < 5.0
    await connection.__aexit__(None, None, None)


async def test_kernel_drivers_are_reattached_afterwards(make_printer, state_path):
    printer = make_printer(vendor_interface=True)
    async with run_daemon(printer, state_path=state_path) as daemon:
        port = daemon.backend.port(printer.device)
        assert set(port.drivers) == {3}
    assert set(port.drivers) == {0, 1, 2, 3}
    assert {interface.alternate for interface in printer.device.interfaces} == {0}
    assert {number for _, number in port.driver_log} == {0, 1, 2}
