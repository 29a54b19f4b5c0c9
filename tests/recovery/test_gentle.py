"""Quirks for limited firmware: each changes what is on the wire."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from pathlib import Path
from typing import Any

import pytest
from support.daemon import run_daemon
from support.fake_channel import FakeChannel
from support.http_client import ask, ask_ipp

from ippusbd.usbio.pool import InterfacePool
from ippusbd.virtual.services.console import pseudo_random_sha256
from ippusbd.virtual.usb.backend import VirtualBackend
from ippusbd.wire.ipp import Operation

DOCUMENT = bytes(range(251)) * 300  # 75 KB


@pytest.fixture
def quirk(tmp_path: Path):
    """`quirks_dirs` with one entry for the virtual printer."""

    def write(*lines: str) -> tuple[Path, ...]:
        folder = tmp_path / "quirks"
        folder.mkdir()
        entry = ('usb = "1209:0001"', 'reason = "this story"', *lines)
        (folder / "own.toml").write_text("\n".join(("[[quirk]]", *entry)))
        return (folder,)

    return write


class Wire:
    """Sizes and times of the transfers that a backend is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: list[tuple[float, int]] = []
        self.bytes = bytearray()
        self.read: set[int] = set()
        write, read = VirtualBackend.bulk_write, VirtualBackend.bulk_read

        def bulk_write(backend: Any, handle: Any, ep: int, intf: int, data: Any, t: int) -> int:
            self.written.append((time.monotonic(), len(data)))
            self.bytes += bytes(data)
            return write(backend, handle, ep, intf, data, t)

        def bulk_read(backend: Any, handle: Any, ep: int, intf: int, buff: Any, t: int) -> int:
            self.read.add(len(buff))
            return read(backend, handle, ep, intf, buff, t)

        monkeypatch.setattr(VirtualBackend, "bulk_write", bulk_write)
        monkeypatch.setattr(VirtualBackend, "bulk_read", bulk_read)

    def largest(self) -> int:
        return max(size for _, size in self.written)

    def shortest_pause_s(self) -> float:
        """Between full transfers, which belong to one document."""
        whole = [at for at, size in self.written if size == self.largest()]
        return min(later - earlier for earlier, later in itertools.pairwise(whole))


async def test_a_quirk_limits_size_and_rate_of_transfers(
    make_printer, state_path, quirk, monkeypatch
):
    wire = Wire(monkeypatch)
    folders = quirk("write_bytes = 4000", "write_pause_s = 0.005", "read_bytes = 2500")
    printer = make_printer(interfaces=1)
    async with run_daemon(printer, state_path=state_path, quirks_dirs=folders) as daemon:
        assert (await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=DOCUMENT)).ok
        reply = await ask(daemon.port(), target="/big?bytes=100000")
    assert hashlib.sha256(reply.body).hexdigest() == pseudo_random_sha256(100_000)
    assert printer.documents[0].sha256 == hashlib.sha256(DOCUMENT).hexdigest()
    assert wire.largest() == 4000
    assert wire.shortest_pause_s() >= 0.005
    assert wire.read == {2048}, "whole packets, or something would be lost"


async def test_a_pause_may_be_left_out_after_small_transfers(make_printer, state_path, quirk):
    folders = quirk("write_bytes = 4000", "write_pause_s = 1.0", "write_pause_bytes = 4000")
    printer = make_printer(interfaces=1)
    async with run_daemon(printer, state_path=state_path, quirks_dirs=folders) as daemon:
        async with asyncio.timeout(10):  # with a pause after each it would take 19 s
            assert (await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=DOCUMENT)).ok


async def test_a_quirk_ends_whole_packets_with_an_empty_one(
    make_printer, state_path, quirk, monkeypatch
):
    wire = Wire(monkeypatch)
    folders = quirk("write_bytes = 1024", "write_zlp = true")
    printer = make_printer(interfaces=1)
    async with run_daemon(printer, state_path=state_path, quirks_dirs=folders) as daemon:
        assert (await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=DOCUMENT)).ok
    assert printer.documents[0].sha256 == hashlib.sha256(DOCUMENT).hexdigest()
    sizes = [size for _, size in wire.written]
    after_whole = [b for a, b in itertools.pairwise(sizes) if a and a % 512 == 0]
    assert len(after_whole) > 50
    assert set(after_whole) == {0}
    assert sizes.count(0) == len(after_whole)


async def test_a_quirk_replaces_and_removes_header_fields_of_clients_and_of_the_daemon(
    make_printer, state_path, quirk, monkeypatch
):
    wire = Wire(monkeypatch)
    folders = quirk('headers = { User-Agent = "Known/1", X-Extra = "" }')
    printer = make_printer(interfaces=1)
    async with run_daemon(printer, state_path=state_path, quirks_dirs=folders) as daemon:
        own = bytes(wire.bytes)
        wire.bytes.clear()
        fields = (("User-Agent", "curl"), ("X-Extra", "1"), ("X-Other", "2"))
        assert (await ask(daemon.port(), headers=fields)).status == 200
    assert b"User-Agent: Known/1\r\n" in own
    assert b"User-Agent: ippusbd" not in own
    assert b"User-Agent: Known/1\r\n" in wire.bytes
    assert b"X-Other: 2\r\n" in wire.bytes
    assert not {b"curl", b"X-Extra"} & {
        each for each in (b"curl", b"X-Extra") if each in wire.bytes
    }


async def test_without_quirks_transfers_are_large(make_printer, state_path, monkeypatch):
    wire = Wire(monkeypatch)
    async with run_daemon(make_printer(interfaces=1), state_path=state_path) as daemon:
        assert (await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=DOCUMENT)).ok
    assert wire.largest() > 16_384
    assert wire.read == {262_144}


async def test_a_pause_is_left_between_requests_on_the_same_interface():
    pool = InterfacePool([FakeChannel(number=0)], drain_s=1, pause_s=0.1)
    loop = asyncio.get_running_loop()
    begun = []
    for _ in range(3):
        async with pool.lease(wait_s=5):
            begun.append(loop.time())
    assert begun[1] - begun[0] >= 0.1
    assert begun[2] - begun[1] >= 0.1
    await pool.close()


async def test_the_pause_delays_nothing_while_another_interface_is_free():
    pool = InterfacePool([FakeChannel(number=n) for n in range(2)], drain_s=1, pause_s=60)
    used = []
    for _ in range(2):
        async with pool.lease(wait_s=5) as lease:
            used.append(lease.channel.number)
    assert used == [0, 1]
    await pool.close()


async def test_a_quirk_sets_the_pause_between_requests(make_printer, state_path, quirk):
    folders = quirk("request_pause_s = 0.2", "max_interfaces = 1")
    async with run_daemon(make_printer(), state_path=state_path, quirks_dirs=folders) as daemon:
        start = time.monotonic()
        for _ in range(4):
            assert (await ask(daemon.port())).status == 200
        assert time.monotonic() - start >= 0.6


async def test_a_quirk_delays_the_start_of_a_printer(make_printer, state_path, quirk):
    printer = make_printer()
    folders = quirk("start_delay_s = 1.0")
    async with run_daemon(
        printer, state_path=state_path, quirks_dirs=folders, wait=("opening",)
    ) as daemon:
        await daemon.until(lambda: "1 s to start" in daemon.reason())
        assert printer.stats["requests"] == 0
        assert set(daemon.backend.port(printer.device).drivers) == {0, 1, 2}
        assert (await ask(daemon.port())).status == 503
        assert await daemon.until_state("ready") > 0.3
        daemon.unplug(printer)
        await daemon.until_state("away")
        daemon.plug(printer)
        await daemon.until(lambda: "1 s to start" in daemon.reason())


async def test_the_log_names_lines_of_ipp_usbs_quirk_files_without_effect(
    make_printer, state_path, tmp_path, caplog
):
    (tmp_path / "own.conf").write_text("[*]\ninit-timeout = soon\n")
    async with run_daemon(make_printer(), state_path=state_path, quirks_dirs=(tmp_path,)):
        assert f"{tmp_path}/own.conf:2: [*] init-timeout = soon: must be a time" in caplog.text
