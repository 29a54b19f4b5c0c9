"""Documents that wait for an interface wait with their clients, not in our memory."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from asyncio.selector_events import _SelectorTransport
from contextlib import AsyncExitStack
from dataclasses import replace

from aiohttp.web_protocol import RequestHandler
from support.crowd import allow_many_files, rss_mib
from support.http_client import ask, connected, head
from support.scripted_printer import SETTINGS, Served, answer, serve
from support.waiting import until

log = logging.getLogger(__name__)

CROWD = 200
UPLOADS = """
import socket, sys
clients = []
for _ in range(int(sys.argv[2])):
    client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    client.sendall(sys.argv[3].encode())
    client.setblocking(False)
    clients.append(client)
for _ in range(40):
    for client in clients:
        try:
            client.send(bytes(200_000))
        except BlockingIOError:
            pass
print("sent", flush=True)
sys.stdin.read()
"""


async def until_waiting(served: Served, count: int) -> None:
    await until(lambda: served.pool.status().waiting == count)


async def test_two_hundred_waiting_documents_stay_with_their_clients():
    allow_many_files()
    start = head("POST", "/sink", [("Content-Length", "5000000")])
    async with serve(settings=replace(SETTINGS, lease_wait_s=60.0)) as served:
        before = rss_mib()
        crowd = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", UPLOADS, str(served.port), str(CROWD), start.decode()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert crowd.stdout is not None
        assert crowd.stdin is not None
        await crowd.stdout.readline()
        await until_waiting(served, CROWD - 1)
        grown = rss_mib() - before
        crowd.stdin.close()
        await crowd.wait()
    log.info("%d waiting documents: %.1f MiB more", CROWD, grown)
    assert grown < 96, "a gigabyte is on offer"


async def test_clients_that_still_wait_at_the_end_are_not_logged_as_errors(caplog, monkeypatch):
    """Though the machine is busy, and what is due at one time is done at another."""
    short = replace(SETTINGS, grace_s=0.1)
    shutdown, abort = RequestHandler.shutdown, _SelectorTransport.abort

    async def late(connection: RequestHandler, timeout_s: float) -> None:
        time.sleep(0.005)  # noqa: ASYNC251
        await shutdown(connection, timeout_s)

    def slow(transport: _SelectorTransport) -> None:
        time.sleep(0.01)
        abort(transport)

    async with AsyncExitStack() as clients, serve(settings=short) as served:
        for _ in range(20):
            client = await clients.enter_async_context(connected(served.port))
            await client.send(head("GET", "/"))
        await until_waiting(served, 19)
        monkeypatch.setattr(RequestHandler, "shutdown", late)
        monkeypatch.setattr(_SelectorTransport, "abort", slow)
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []


async def test_a_client_that_leaves_while_its_document_waits_prints_nothing():
    """Although nothing more of its data was read, not even its end."""
    async with serve(b"", answer(b"next")) as served, connected(served.port) as first:
        await first.send(head("GET", "/first"))
        await until(lambda: served.printer.heard)
        async with connected(served.port) as client:
            await client.send(head("POST", "/left", [("Content-Length", "5000000")]))
            sending = asyncio.create_task(client.send(bytes(4_000_000)))
            await until_waiting(served, 1)
            sending.cancel()
            await asyncio.wait([sending])
        served.printer.channels[0].say(answer(b"first"))
        assert (await first.reply()).body == b"first"
        assert (await ask(served.port, target="/next")).body == b"next"
        assert [one.target for one in served.printer.heard] == ["/first", "/next"]


async def test_a_document_that_waited_arrives_completely():
    document = bytes(range(256)) * 20_000
    async with serve(b"", answer(b"done")) as served, connected(served.port) as first:
        await first.send(head("GET", "/first"))
        await until(lambda: served.printer.heard)
        asking = asyncio.create_task(ask(served.port, "POST", "/second", document))
        await until_waiting(served, 1)
        served.printer.channels[0].say(answer(b"first"))
        assert (await asking).body == b"done"
        assert served.printer.heard[1].body == document


async def test_a_document_that_waited_in_vain_is_answered_with_503():
    short = replace(SETTINGS, lease_wait_s=0.3)
    async with serve(settings=short) as served, connected(served.port) as first:
        await first.send(head("GET", "/first"))
        await until(lambda: served.printer.heard)
        reply = await ask(served.port, "POST", "/second", bytes(5_000_000))
        assert (reply.status, reply.headers["retry-after"]) == (503, "7")
