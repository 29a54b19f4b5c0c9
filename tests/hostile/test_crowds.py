"""Many clients: idle ones, greedy ones, and ones that all print at once."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.crowd import allow_many_files, crowd, files, has_ended, one_printer, rss_mib
from support.daemon import run_daemon
from support.http_client import Connection, ask, ask_ipp, connected, head, message
from support.scripted_printer import SETTINGS, answer, serve
from support.waiting import until

from ippusbd.proxy.admission.connection_limit import IDLE_S
from ippusbd.virtual.printer import VirtualPrinter

log = logging.getLogger(__name__)

PRINT_JOB = 0x02
GET_PRINTER_ATTRIBUTES = 0x0B
CHUNKED = [("Transfer-Encoding", "chunked")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


async def test_a_thousand_idle_connections_do_not_exclude_other_clients(folder: Path):
    allow_many_files()
    async with one_printer(folder, max_clients=512) as (_, daemon):
        await ask(daemon.port())
        before, rss = files(), rss_mib()
        async with crowd(daemon.port(), 1000) as clients:
            site = next(iter(daemon.supervisor.printers)).site
            await daemon.until(lambda: len(site._connections) == 512)
            await asyncio.sleep(IDLE_S)  # who has just come is not idle yet
            for _ in range(5):
                assert (await ask(daemon.port())).status == 200
            assert len(site._connections) <= 512
            grown = rss_mib() - rss
            await daemon.until(lambda: sum(has_ended(client) for client in clients) >= 488)
        await daemon.until(lambda: files() <= before + 2)
        log.info("1,000 idle connections: %.1f MiB more", grown)
        assert grown < 64, "client ends, which are here too, included"


async def test_a_client_above_the_limit_gets_a_whole_503_at_once(folder: Path):
    async with serve(settings=replace(SETTINGS, max_clients=3)) as served:
        async with crowd(served.port, 3):
            await until(lambda: len(served.site._connections) >= 3)
            reply = await ask(served.port, "POST", "/", bytes(30_000))
            assert reply.status == 503
            assert reply.headers["retry-after"] == "7"
            assert reply.complete
            assert reply.body == b"ippusbd: too many clients; try again\n"
        await until(lambda: not served.site._connections)


async def test_a_client_with_many_connections_leaves_some_for_others(by_address: None):
    """One address uses all connections, with waiting requests; another one connects."""
    async with serve(settings=replace(SETTINGS, max_clients=8)) as served:  # noqa: SIM117
        async with crowd(served.port, 8) as greedy:
            for client in greedy:
                await client.send(message("GET", "/greedy"))
            await until(lambda: served.pool.status().waiting >= 7)
            modest = await asyncio.open_connection(
                "127.0.0.1", served.port, local_addr=("127.0.0.2", 0)
            )
            client = Connection(*modest)
            await client.send(message("GET", "/modest"))
            assert (await greedy[-1].reply()).status == 503, "the last of those that wait"
            await until(lambda: served.pool.status().waiting >= 7)
            served.printer.channels[0].say(answer(b"first"))
            await until(lambda: len(served.printer.heard) >= 2)
            assert [one.target for one in served.printer.heard] == ["/greedy", "/modest"]
            client.kill()
            await asyncio.wait_for(client.writer.wait_closed(), 5)


async def test_unfinished_requests_of_one_client_keep_no_other_out(by_address: None):
    """One address uses all connections, with bodies that never come; another one connects."""
    unfinished = message("POST", "/ipp/print", b"x" * 100)[:-100]
    async with (
        serve(answer(b"served"), settings=replace(SETTINGS, max_clients=8)) as served,
        crowd(served.port, 8) as greedy,
    ):
        for client in greedy:
            await client.send(unfinished)
        await until(lambda: served.site.in_progress == 8)
        modest = Connection(
            *await asyncio.open_connection("127.0.0.1", served.port, local_addr=("127.0.0.2", 0))
        )
        await modest.send(message("GET", "/modest"))
        assert (await modest.reply()).status == 200
        modest.leave()
        await modest.writer.wait_closed()


ONE_REQUEST = """
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
    client.sendall(b"GET /modest HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    print(client.recv(65536).split()[1].decode())
"""


async def test_one_process_with_fifty_connections_does_not_delay_another_with_one(tmp_path: Path):
    """Over a Unix socket every process is a client of its own."""
    path = tmp_path / "printer.sock"
    answers = [answer(b"ok") for _ in range(51)]
    async with serve(*answers, settings=replace(SETTINGS, lease_wait_s=60.0)) as served:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen(64)
        listening.setblocking(False)
        await served.site.listen(listening)
        served.printer.answers.insert(0, b"")  # the first of them gets none for now
        greedy = []
        for _ in range(50):
            client = Connection(*await asyncio.open_unix_connection(path))
            await client.send(message("GET", "/greedy"))
            greedy.append(client)
        await until(lambda: served.pool.status().waiting >= 49)
        modest = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ONE_REQUEST, str(path), stdout=subprocess.PIPE
        )
        await until(lambda: served.pool.status().waiting >= 50)
        served.printer.channels[0].say(answer(b"now"))
        out, _ = await modest.communicate()
        assert out == b"200\n"
        for client in greedy:
            assert (await client.reply()).status == 200
            client.leave()
            await client.writer.wait_closed()
        order = [one.target for one in served.printer.heard]
    assert order.index("/modest") <= 2
    assert order.count("/greedy") == 50


async def test_two_hundred_clients_share_two_interfaces_and_nothing_is_lost(folder: Path):
    """Half of them print; the other half ask for the state, and do not wait for the documents."""
    documents = [os.urandom(200_000) for _ in range(100)]
    async with one_printer(folder, interfaces=2) as (printer, daemon):
        port = daemon.port()
        await ask_ipp(port, GET_PRINTER_ATTRIBUTES)
        before, rss, start = files(), rss_mib(), time.monotonic()
        over: list[str] = []

        async def prints(document: bytes) -> None:
            answer = await ask_ipp(port, PRINT_JOB, document=document, timeout_s=60)
            assert answer.code == 0
            over.append("long")

        async def asks() -> None:
            assert (await ask_ipp(port, GET_PRINTER_ATTRIBUTES, timeout_s=60)).code == 0
            over.append("short")

        await asyncio.gather(*[prints(one) for one in documents], *[asks() for _ in range(100)])
        grown, took_s = rss_mib() - rss, time.monotonic() - start
        log.info("200 clients on 2 interfaces: %.1f s, %.1f MiB more", took_s, grown)
        await daemon.until(lambda: files() <= before + 2)
        printed = {document.sha256 for document in printer.documents if document.completed}
        assert printed == {hashlib.sha256(one).hexdigest() for one in documents}
        assert grown < 128, "the documents, kept here too, included"
        assert "short" in over[:50], "short ones do not wait until all documents are through"


async def test_endless_heads_do_not_grow_memory(folder: Path):
    """A long field, many fields, and a first line that never ends."""
    async with one_printer(folder) as (_, daemon):
        endless = [
            head("GET", "/")[:-2] + b"X-Long: " + b"x" * 8_000_000,
            head("GET", "/")[:-2] + b"X-Many: y\r\n" * 700_000,
            b"GET /" + b"z" * 8_000_000,
            head("POST", "/", CHUNKED) + b"0\r\n" + b"X-Trailer: t\r\n" * 500_000,
        ]
        rss = rss_mib()
        for data in endless:
            async with connected(daemon.port()) as client:
                sending = asyncio.create_task(client.send(data))
                async with asyncio.timeout(20):
                    try:
                        said = await client.reader.read(65536)
                    except ConnectionError:
                        said = b""  # reset while it was still talking
                assert said[9:12] in (b"400", b""), data[:100]
                sending.cancel()
                await asyncio.wait([sending])
            assert (await ask(daemon.port())).status == 200
        assert rss_mib() - rss < 32


async def test_a_chunk_extension_without_end_is_discarded_as_it_arrives(folder: Path):
    async with one_printer(folder) as (_, daemon), connected(daemon.port()) as client:
        rss = rss_mib()
        await client.send(head("POST", "/", CHUNKED) + b"5;")
        for _ in range(100):
            await client.send(b"e" * 100_000)
        assert (await ask(daemon.port())).status == 200
        assert rss_mib() - rss < 32


async def test_two_printers_have_separate_connection_limits(folder: Path):
    """All connections of one printer are in use; the other is not affected."""
    first, second = VirtualPrinter(serial="A"), VirtualPrinter(serial="B")
    try:
        async with (
            run_daemon(first, second, state_path=folder, max_clients=20) as daemon,
            crowd(daemon.port("A"), 40),
        ):
            assert (await ask(daemon.port("B"))).status == 200
    finally:
        first.close()
        second.close()
