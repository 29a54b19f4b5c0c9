"""What a slow client has not read waits in memory, then in a nameless file, and arrives whole."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import stat
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.waiting import until

from ippusbd.errors import ClientGone, DeviceGone
from ippusbd.proxy.spool import FAST_S, MEMORY, PIECE, Spool, SpoolSpace

MIB = 1 << 20


async def all_of(spool: Spool) -> bytes:
    found = bytearray()
    while data := await spool.take():
        found += data
    return bytes(found)


def patterned(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def open_files(folder: Path) -> list[os.stat_result]:
    """Files below `folder` that this process has open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if str(entry.readlink()).startswith(str(folder)):
                found.append(entry.stat())
    return found


# --- what comes out


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 600_000), min_size=1, max_size=12),
    takes=st.lists(st.booleans(), max_size=24),
    file_bytes=st.sampled_from([0, MIB, 64 * MIB]),
)
def test_bytes_come_out_as_they_went_in_however_slowly_they_are_taken(
    sizes: list[int], takes: list[bool], file_bytes: int
):
    document = patterned(sum(sizes))

    async def told() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            space = SpoolSpace(Path(folder), file_bytes)
            spool = Spool(space)

            async def fill() -> None:
                at = 0
                for size in sizes:
                    await spool.put(document[at : at + size])
                    at += size
                spool.end()

            filling = asyncio.create_task(fill())
            found = bytearray()
            for take in takes:
                await asyncio.sleep(0)
                if take:
                    found += await spool.take()
            found += await all_of(spool)
            await filling
            spool.close()
            assert (space.memory_left, space.file_left) == (4 * MIB, file_bytes)
            return bytes(found)

    assert asyncio.run(told()) == document


async def test_many_small_pieces_are_joined(tmp_path: Path):
    spool = Spool(SpoolSpace(tmp_path, 0))
    for _ in range(10_000):
        await spool.put(b"x")
    spool.end()
    assert len(await spool.take()) == 10_000
    assert await spool.take() == b""
    spool.close()


async def test_a_failure_is_raised_after_all_that_came_before_it(tmp_path: Path):
    spool = Spool(SpoolSpace(tmp_path, 0))
    await spool.put(b"half")
    spool.end(DeviceGone("unplugged"))
    assert await spool.take() == b"half"
    with pytest.raises(DeviceGone):
        await spool.take()
    spool.close()


# --- where it is kept


async def test_more_than_a_megabyte_goes_to_a_file_without_a_name_that_nobody_else_can_read(
    tmp_path: Path,
):
    space = SpoolSpace(tmp_path, 64 * MIB)
    spool = Spool(space)
    document = patterned(10 * MIB)
    for at in range(0, len(document), PIECE):
        await spool.put(document[at : at + PIECE])
    assert list(tmp_path.iterdir()) == []
    (file,) = open_files(tmp_path)
    assert (stat.S_IMODE(file.st_mode), file.st_nlink, file.st_size) == (0o600, 0, 9 * MIB)
    assert space.file_left == (64 - 9) * MIB
    spool.end()
    assert await all_of(spool) == document
    (file,) = open_files(tmp_path)
    assert file.st_size == 0  # read to its end, it is emptied
    spool.close()
    assert open_files(tmp_path) == []
    assert space.file_left == 64 * MIB


async def test_when_the_space_is_used_up_the_printer_waits_for_the_client(tmp_path: Path):
    space = SpoolSpace(tmp_path, 2 * MIB)
    spool = Spool(space)
    for _ in range(12):  # a megabyte in memory, two in the file
        await spool.put(bytes(PIECE))
    waiting = asyncio.create_task(spool.put(bytes(PIECE)))
    await until(lambda: space.is_short)
    for _ in range(2):  # the memory is emptied; bytes of the file come before new ones
        await spool.take()
    assert not waiting.done()
    taken = sum([len(await spool.take()) for _ in range(12 - 2)])
    await waiting
    assert not space.is_short
    assert taken == 10 * PIECE
    spool.close()


async def test_an_answer_of_which_nothing_waits_needs_no_space_that_others_have(tmp_path: Path):
    space = SpoolSpace(tmp_path, MIB, memory=MIB)
    greedy, modest = Spool(space), Spool(space)
    for _ in range(8):
        await greedy.put(bytes(PIECE))
    for _ in range(3):
        await modest.put(bytes(PIECE))
        assert len(await modest.take()) == PIECE
    greedy.close()
    modest.close()


async def test_without_a_file_memory_alone_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    spool = Spool(SpoolSpace(tmp_path / "missing", 64 * MIB))
    for _ in range(4):
        await spool.put(bytes(PIECE))
    waiting = asyncio.create_task(spool.put(b"last"))
    await until(lambda: "no temporary file" in caplog.text)
    await spool.take()
    await waiting
    spool.end()
    assert (await all_of(spool)).endswith(b"last")
    spool.close()


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may be larger than 300,000 bytes: as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
async def test_a_disk_that_becomes_full_loses_nothing(tmp_path: Path):
    spool = Spool(SpoolSpace(tmp_path, 64 * MIB))
    document = patterned(3 * MIB)

    async def fill() -> None:
        for at in range(0, len(document), PIECE):
            await spool.put(document[at : at + PIECE])
        spool.end()

    filling = asyncio.create_task(fill())
    await until(lambda: spool._file_fails)
    assert await all_of(spool) == document
    await filling
    spool.close()


# --- clients that leave


async def test_a_client_that_leaves_ends_the_waiting_of_the_printers_side(tmp_path: Path):
    space = SpoolSpace(tmp_path, 0)
    spool = Spool(space)
    await spool.put(bytes(MEMORY))
    waiting = asyncio.create_task(spool.put(b"more"))
    await until(lambda: space.is_short)
    spool.abandon(ClientGone("left"))
    with pytest.raises(ClientGone):
        await waiting
    spool.close()


async def test_a_spool_that_is_closed_while_its_file_is_used_leaves_nothing_open(tmp_path: Path):
    spools = [Spool(SpoolSpace(tmp_path, 64 * MIB)) for _ in range(30)]
    await asyncio.sleep(FAST_S)  # from here on they use files
    for spool in spools:
        await spool.put(bytes(MEMORY))
        writing = asyncio.create_task(spool.put(bytes(PIECE)))
        await asyncio.sleep(0.0003)
        writing.cancel()
        await asyncio.wait([writing])
        spool.close()
    await until(lambda: not open_files(tmp_path))


async def test_a_client_that_leaves_before_its_file_is_written_gives_back_only_what_it_used(
    tmp_path: Path,
):
    space = SpoolSpace(tmp_path, 64 * MIB)
    spool = Spool(space)
    await spool.put(bytes(MEMORY))
    await asyncio.sleep(FAST_S)  # from here on it uses a file
    go_on = threading.Event()
    with ThreadPoolExecutor(1) as one_thread:
        asyncio.get_running_loop().set_default_executor(one_thread)
        one_thread.submit(go_on.wait)
        writing = asyncio.create_task(spool.put(bytes(PIECE)))
        await until(lambda: space.file_left < 64 * MIB)
        spool.abandon(ClientGone("left"))
        spool.close()
        go_on.set()
        with pytest.raises(ClientGone):
            await writing
    assert space.file_left == 64 * MIB
