"""The rules on real connections: who is told what, and what the printer hears."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.http_client import IPP_TYPE, ask, connected, head, ipp_request, message
from support.scripted_printer import SETTINGS, Served, answer, serve

from ippusbd.proxy.access.rules import Access, Activity
from ippusbd.users import accounts, client_identity
from ippusbd.users.accounts import Allowed
from ippusbd.users.tcp_owner import OwnerUnknown
from ippusbd.wire import ipp

SOMEBODY_ELSE = 54321
NOBODY = 65534
PRINT_JOB, GET_PRINTER_ATTRIBUTES = 0x02, 0x0B


def only(*activities: Activity, uid: int = SOMEBODY_ELSE) -> Access:
    """Rules under which `activities` are `uid`'s alone."""
    return Access({activity: Allowed(uids=frozenset({uid})) for activity in activities})


@pytest.fixture(autouse=True)
def _not_the_daemons_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests may run as root, who may do everything."""
    monkeypatch.setattr(client_identity, "owner", lambda *_: 1000)
    monkeypatch.setattr(accounts, "own_uid", lambda: 999)


@asynccontextmanager
async def ruled(rules: Access, *answers: bytes) -> AsyncIterator[Served]:
    async with serve(*answers, settings=replace(SETTINGS, access=rules)) as served:
        yield served


async def print_job(port: int, document: bytes, *, chunked: bool = False) -> ipp.Message:
    body = ipp_request(PRINT_JOB, request_id=77) + document
    reply = await ask(port, "POST", "/ipp/print", body, IPP_TYPE, chunked=chunked)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/ipp"
    return ipp.decode(reply.body)[0]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [10, 100_000])
async def test_a_denied_print_is_answered_in_ipp(
    caplog: pytest.LogCaptureFixture, size: int, chunked: bool
):
    async with ruled(only(Activity.PRINT)) as served:
        said = await print_job(served.port, bytes(size), chunked=chunked)
        assert (said.code, said.request_id) == (0x0403, 77)
        text = said.first_text(ipp.Tag.OPERATION, "status-message")
        assert text == "uid 1000 may not print on this printer"
        assert served.printer.heard == []
    assert "POST /ipp/print: denied: uid 1000 may not print on this printer" in caplog.text


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_allowed_print_arrives_whole(chunked: bool):
    document = os.urandom(200_000)
    async with ruled(only(Activity.PRINT, uid=1000), answer(b"ok")) as served:
        body = ipp_request(PRINT_JOB) + document
        reply = await ask(served.port, "POST", "/ipp/print", body, IPP_TYPE, chunked=chunked)
        assert reply.body == b"ok"
        assert served.heard.body == body


async def test_ipp_attributes_that_arrive_in_pieces_are_waited_for():
    body = ipp_request(PRINT_JOB) + bytes(100_000)
    fields = [*IPP_TYPE, ("Content-Length", str(len(body)))]
    async with ruled(only(Activity.PRINT)) as served, connected(served.port) as client:
        await client.send(head("POST", "/ipp/print", fields))
        for at in range(0, 60, 7):
            await client.send(body[at : at + 7])
            await asyncio.sleep(0.01)
        await client.send(body[63:])
        assert ipp.decode((await client.reply("POST")).body)[0].code == 0x0403


async def test_a_denied_scan_or_configuration_gets_403():
    async with ruled(only(Activity.SCAN, Activity.CONFIG)) as served:
        scan = await ask(served.port, "POST", "/eSCL/ScanJobs", b"<x/>")
        console = await ask(served.port)
        assert (scan.status, console.status) == (403, 403)
        assert scan.body.startswith(b"ippusbd: uid 1000 may not scan with this printer\n")
        assert console.body.startswith(b"ippusbd: uid 1000 may not configure this printer\n")
        assert served.printer.heard == []


async def test_capabilities_may_be_queried_by_everybody_who_is_allowed_anything():
    question = ipp_request(GET_PRINTER_ATTRIBUTES)
    async with ruled(only(Activity.PRINT, Activity.SCAN), answer(b"1"), answer(b"2")) as served:
        told = await ask(served.port, "POST", "/ipp/print", question, IPP_TYPE)
        assert told.body == b"1"
        assert (await ask(served.port, target="/eSCL/ScannerCapabilities")).body == b"2"


async def test_a_group_of_the_user_is_enough(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(accounts, "groups_of", lambda uid: frozenset({uid + 1}))
    rules = Access({Activity.CONFIG: Allowed(gids=frozenset({1001}))})
    async with ruled(rules, answer(b"in")) as served:
        assert (await ask(served.port)).body == b"in"


async def test_a_connections_user_is_looked_up_once(monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []

    def groups_of(uid: int) -> frozenset[int]:
        asked.append(uid)
        return frozenset({1001})

    monkeypatch.setattr(accounts, "groups_of", groups_of)
    rules = Access({Activity.CONFIG: Allowed(gids=frozenset({1001}))})
    async with ruled(rules, answer(b"1"), answer(b"2")) as served, connected(served.port) as client:
        for body in (b"1", b"2"):
            await client.send(message("GET", "/"))
            assert (await client.reply()).body == body
    assert asked == [1000]


async def test_where_netlink_is_forbidden_the_table_in_proc_is_used(
    monkeypatch: pytest.MonkeyPatch,
):
    def untold(*_: object) -> None:
        raise OwnerUnknown("a sandbox")

    monkeypatch.setattr(client_identity, "owner", untold)
    async with ruled(only(Activity.CONFIG, uid=os.getuid()), answer(b"in")) as served:
        monkeypatch.setattr(accounts, "own_uid", lambda: 999)
        assert (await ask(served.port)).body == b"in"


async def test_an_unidentified_client_is_allowed_only_what_everybody_is(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(client_identity, "owner", lambda *_: None)
    monkeypatch.setattr(client_identity, "owner_in_tables", lambda *_: None)
    async with ruled(only(Activity.CONFIG), answer(b"scanned")) as served:
        assert (await ask(served.port)).status == 403
        assert (await ask(served.port, "POST", "/eSCL/ScanJobs", b"x")).body == b"scanned"


AS_NOBODY = """
import encodings.idna, os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
where = sys.argv[1]
if where.isdigit():
    client = socket.create_connection(("127.0.0.1", int(where)))
else:
    client = socket.socket(socket.AF_UNIX)
    client.connect(where)
client.sendall(sys.argv[2].encode() + b" / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
print(client.recv(65536).split()[1].decode())
"""


async def as_nobody(where: str, method: str = "GET") -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", AS_NOBODY, where, method, stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    return out.decode().strip()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="permits-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize(("uid", "status"), [(NOBODY, "200"), (SOMEBODY_ELSE, "403")])
@pytest.mark.parametrize("way", ["tcp", "unix"])
async def test_a_client_of_another_user_is_identified_by_the_kernel(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch, way: str, uid: int, status: str
):
    monkeypatch.undo()
    if os.geteuid() != 0:
        pytest.xfail("only root can become somebody else")
    async with ruled(only(Activity.CONFIG, uid=uid), answer(b"x")) as served:
        where = str(served.port)
        if way == "unix":
            listening = socket.socket(socket.AF_UNIX)
            where = str(open_folder / "s")
            listening.bind(where)
            Path(where).chmod(0o777)
            listening.listen()
            listening.setblocking(False)
            await served.site.listen(listening)
        assert await as_nobody(where) == status
        assert len(served.printer.heard) == (status == "200")
