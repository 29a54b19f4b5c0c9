"""A job of 500 MB costs no memory, up or down: measured in a daemon of its own."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.http_client import IPP_TYPE, ask_ipp, connected, head, ipp_request, message

from ippusbd.virtual.control import ask as ask_virtual
from ippusbd.virtual.services.console import pseudo_random, pseudo_random_sha256
from ippusbd.wire.ipp import Operation

SIZE = 500 << 20
GROWTH_MIB = 8.0
CONFIG = """
[daemon]
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[listen]
port_min = 61000
[dnssd]
publisher = "off"
[log]
level = "warning"
"""


class Daemon:
    def __init__(self, pid: int, port: int, control: Path) -> None:
        self.pid = pid
        self.port = port
        self.control = control

    @property
    def rss_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        assert found
        return int(found[1]) / 1024


@asynccontextmanager
async def daemon_of_its_own(folder: Path) -> AsyncIterator[Daemon]:
    config, control = folder / "ippusbd.conf", folder / "virtual.sock"
    config.write_text(CONFIG.format(folder=folder))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ippusbd", "run", "--virtual", "--config", str(config)),
        *("--virtual-control", str(control)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            while not (found := re.search(rb"localhost:(\d+)/", await process.stdout.readline())):
                assert not process.stdout.at_eof(), "the daemon ended"
        yield Daemon(process.pid, int(found[1]), control)
    finally:
        process.terminate()
        assert await process.wait() == 0


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """Warm: it has served a page and taken a small job."""
    async with daemon_of_its_own(tmp_path) as daemon:
        assert (await ask_ipp(daemon.port, Operation.PRINT_JOB, document=b"small")).ok
        yield daemon


@pytest.mark.timeout(180)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_a_job_of_500_mb_does_not_grow_memory(daemon: Daemon, chunked: bool):
    before = peak = daemon.rss_mib
    start = ipp_request(Operation.PRINT_JOB)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {SIZE + len(start)}"
    name, _, value = framing.partition(": ")
    digest = hashlib.sha256()
    async with connected(daemon.port) as connection:
        await connection.send(head("POST", "/ipp/print", (*IPP_TYPE, (name, value))))
        await connection.send(b"%x\r\n%b\r\n" % (len(start), start) if chunked else start)
        for number, piece in enumerate(pseudo_random(SIZE)):
            digest.update(piece)
            data = b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else bytes(piece)
            await connection.send(data)
            if number % 200 == 0:
                peak = max(peak, daemon.rss_mib)
        if chunked:
            await connection.send(b"0\r\n\r\n")
        assert (await connection.reply("POST", timeout_s=60)).status == 200
    peak = max(peak, daemon.rss_mib)

    documents = await asyncio.to_thread(ask_virtual, daemon.control, "documents")
    stored = documents["documents"][-1]  # type: ignore[index]
    assert (stored["size"], stored["sha256"]) == (SIZE, digest.hexdigest())
    assert peak - before < GROWTH_MIB


@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", ["", "&chunked=1"], ids=["length", "chunked"])
async def test_an_answer_of_500_mb_does_not_grow_memory(daemon: Daemon, how: str):
    before = peak = daemon.rss_mib
    digest, size = hashlib.sha256(), 0
    async with connected(daemon.port) as connection:
        await connection.send(message("GET", f"/big?bytes={SIZE}{how}"))
        async for piece in _body(connection.reader, chunked=bool(how)):
            digest.update(piece)
            size += len(piece)
            if size % (32 << 20) < len(piece):
                peak = max(peak, daemon.rss_mib)
    peak = max(peak, daemon.rss_mib)
    sent = await asyncio.to_thread(pseudo_random_sha256, SIZE)
    assert (size, digest.hexdigest()) == (SIZE, sent)
    assert peak - before < GROWTH_MIB


@pytest.mark.timeout(180)
async def test_a_client_that_reads_slowly_does_not_grow_memory(daemon: Daemon):
    before = daemon.rss_mib
    async with connected(daemon.port) as connection:
        await connection.send(message("GET", f"/big?bytes={SIZE}"))
        await connection.reader.readexactly(1000)
        connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(20):
            await asyncio.sleep(0.1)
            assert daemon.rss_mib - before < GROWTH_MIB


async def _body(reader: asyncio.StreamReader, *, chunked: bool) -> AsyncIterator[bytes]:
    """The pieces of an answer of SIZE bytes."""
    await reader.readuntil(b"\r\n\r\n")
    left = 0 if chunked else SIZE
    while True:
        if chunked and not left:
            left = int(await reader.readline(), 16)
            if not left:
                return
        piece = await reader.read(min(left, 1 << 18))
        assert piece, "cut"
        yield piece
        left -= len(piece)
        if chunked and not left:
            assert await reader.readexactly(2) == b"\r\n"
        elif not left:
            return
