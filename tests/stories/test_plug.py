"""Unplugs at any moment, and replugs: same port, same name, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from support.daemon import InProcessDaemon, run_daemon
from support.http_client import IPP_TYPE, ask, ask_ipp, connected, head, ipp_request, message

from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.wire.ipp import Operation

BIG = 50_000_000


async def works_again(daemon: InProcessDaemon, printer: VirtualPrinter, port: int, name: str):
    """After a replug it has its old port and name, and prints."""
    daemon.plug(printer)
    await daemon.until_state("ready")
    row = daemon.row()
    assert (row["port"], row["name"]) == (port, name)
    assert row["interfaces"]["broken"] == 0
    before = len(printer.documents)
    answer = await ask_ipp(port, Operation.PRINT_JOB, document=b"again")
    assert answer.ok
    assert printer.documents[before].completed
    assert list(daemon.publisher.sets) == [name]


@contextlib.asynccontextmanager
async def no_complaints(caplog: pytest.LogCaptureFixture):
    """No error and no traceback may be logged."""
    yield
    bad = [r for r in caplog.records if r.levelname == "ERROR" or r.exc_info]
    assert not bad, [r.getMessage() for r in bad]


async def test_an_unplug_while_idle_is_survived(make_printer, state_path, caplog):
    printer = make_printer()
    async with no_complaints(caplog), run_daemon(printer, state_path=state_path) as daemon:
        port, name = daemon.port(), daemon.row()["name"]
        daemon.unplug(printer)
        took = await daemon.until(lambda: not daemon.publisher.sets)
        assert took < 1.0
        await daemon.until_state("away")
        await works_again(daemon, printer, port, name)


async def test_an_unplug_right_after_the_plug_is_survived(make_printer, state_path, caplog):
    """At every stage of the start: enumeration, opening, claim, probe, publishing."""
    printer = make_printer(interfaces=2)
    async with no_complaints(caplog), run_daemon(printer, state_path=state_path) as daemon:
        port, name = daemon.port(), daemon.row()["name"]
        for steps in range(20):
            daemon.unplug(printer)
            await daemon.until_state("away")
            daemon.plug(printer)
            await asyncio.sleep(0.02 * steps)
        daemon.unplug(printer)
        await daemon.until_state("away")
        await works_again(daemon, printer, port, name)


async def test_twenty_quick_replugs_are_survived(make_printer, state_path, caplog):
    printer = make_printer()
    async with no_complaints(caplog), run_daemon(printer, state_path=state_path) as daemon:
        port, name = daemon.port(), daemon.row()["name"]
        for _ in range(20):
            printer.replug()
            daemon.supervisor.wake()
            await asyncio.sleep(0.01)
        daemon.unplug(printer)
        await daemon.until_state("away")
        await works_again(daemon, printer, port, name)


async def test_an_unplug_during_the_probe_is_survived(make_printer, state_path, caplog):
    printer = make_printer("slow")
    async with (
        no_complaints(caplog),
        run_daemon(printer, state_path=state_path, wait=("probing",)) as daemon,
    ):
        port = daemon.port()
        await daemon.until(lambda: printer.stats["requests"] > 0)
        daemon.unplug(printer)
        await daemon.until_state("away")
        assert not daemon.publisher.sets
        printer.switch("slow", on=False)
        daemon.plug(printer)
        await daemon.until_state("ready")
        assert daemon.port() == port


@pytest.mark.parametrize("interfaces", [1, 3])
async def test_an_unplug_during_an_upload_is_survived(
    make_printer, state_path, caplog, interfaces: int
):
    printer = make_printer(interfaces=interfaces)
    async with no_complaints(caplog), run_daemon(printer, state_path=state_path) as daemon:
        port, name = daemon.port(), daemon.row()["name"]
        start = ipp_request(Operation.PRINT_JOB)
        fields = (*IPP_TYPE, ("Content-Length", str(len(start) + BIG)))
        async with connected(port) as connection:
            await connection.send(head("POST", "/ipp/print", fields) + start + bytes(BIG // 2))
            await daemon.until(lambda: printer.stats["bytes_in"] > BIG // 4)
            waiting = [asyncio.create_task(ask(port)) for _ in range(5)]
            daemon.unplug(printer)
            with contextlib.suppress(ConnectionError):  # cut off, or told so
                assert (await connection.reply("POST")).status == 503
        for reply in await asyncio.gather(*waiting):
            assert reply.status in (200, 503)
        await daemon.until_state("away")
        await works_again(daemon, printer, port, name)
    assert [one.completed for one in printer.documents] == [False, True]


@pytest.mark.parametrize("how", ["", "&chunked=1"])
async def test_an_unplug_during_a_download_is_survived(make_printer, state_path, caplog, how: str):
    printer = make_printer()
    async with no_complaints(caplog), run_daemon(printer, state_path=state_path) as daemon:
        port, name = daemon.port(), daemon.row()["name"]
        async with connected(port) as connection:
            await connection.send(message("GET", f"/big?bytes={BIG}{how}"))
            await connection.reader.readexactly(1_000_000)
            daemon.unplug(printer)
            rest = await connection.reader.read(-1)
            assert len(rest) < BIG - 1_000_000
            assert not rest.endswith(b"\r\n0\r\n\r\n"), "a cut answer looks complete"
        await daemon.until_state("away")
        await works_again(daemon, printer, port, name)


async def test_an_unplug_while_a_lost_clients_answer_is_read_is_survived(
    make_printer, state_path, caplog
):
    printer = make_printer()
    async with no_complaints(caplog), run_daemon(printer, state_path=state_path) as daemon:
        port, name = daemon.port(), daemon.row()["name"]
        printer.switch("slow", on=True)
        async with connected(port) as connection:
            await connection.send(message("GET", f"/big?bytes={BIG}"))
            await daemon.until(lambda: daemon.interfaces()["in_use"] == 1)
            connection.kill()
        pool = daemon.pool()
        await daemon.until(lambda: pool.status().draining == 1)
        daemon.unplug(printer)
        await daemon.until_state("away")
        printer.switch("slow", on=False)
        await works_again(daemon, printer, port, name)


async def test_clients_that_wait_for_an_interface_get_an_error_at_the_unplug(
    make_printer, state_path
):
    printer = make_printer(interfaces=1)
    async with run_daemon(printer, state_path=state_path) as daemon:
        port = daemon.port()
        await daemon.until(lambda: (daemon.row()["condition"] or {}).get("supplies"))
        printer.switch("silent", on=True)
        asked = [asyncio.create_task(ask(port)) for _ in range(5)]
        await daemon.until(lambda: daemon.interfaces()["waiting"] == 4)
        start = asyncio.get_running_loop().time()
        daemon.unplug(printer)
        replies = await asyncio.gather(*asked)
        assert asyncio.get_running_loop().time() - start < 2.0
        assert [reply.status for reply in replies] == [503] * 5


async def test_an_unplug_does_not_affect_another_printer(make_printer, state_path):
    stays, goes = make_printer(serial="S"), make_printer(serial="G")
    async with run_daemon(stays, goes, state_path=state_path) as daemon:
        port = daemon.port("S")
        async with connected(port) as connection:
            await connection.send(message("GET", f"/big?bytes={BIG}"))
            await connection.reader.readexactly(1_000_000)
            daemon.unplug(goes)
            await daemon.until_state("away", serial="G")
            rest = await connection.reader.readexactly(BIG - 1_000_000)
            assert rest
        assert daemon.row("S")["state"] == "ready"
