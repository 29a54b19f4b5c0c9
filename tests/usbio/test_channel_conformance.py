"""One suite for every Channel: what the layers above rely on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest
import usb.backend.libusb1
from support.rigs import (
    DeviceRig,
    Rig,
    async_rig,
    fake_rig,
    kernel_async_rig,
    kernel_thread_rig,
    simulated_rig,
    thread_rig,
)
from support.waiting import until

from ippusbd.errors import DeviceGone, TransferFailed, TransferTimeout, UsbError
from ippusbd.usbio.protocols import Pacing

RIGS = {
    "fake": fake_rig,
    "threads": thread_rig,
    "async": async_rig,
    "simulated": simulated_rig,
    "kernel-async": kernel_async_rig,
    "kernel-threads": kernel_thread_rig,
}
MARKED = [
    pytest.param(name, marks=pytest.mark.guest if name.startswith("kernel") else ())
    for name in RIGS
]


@pytest.fixture(autouse=True, scope="session")
def _libusb_is_loaded_once(request: pytest.FixtureRequest) -> None:
    """pyusb keeps libusb's context, with its descriptors, as long as the process lives."""
    if any(item.get_closest_marker("guest") for item in request.session.items):
        usb.backend.libusb1.get_backend()


@pytest.fixture(params=MARKED)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    manager: AbstractAsyncContextManager[Rig] = RIGS[request.param]()
    async with manager as made:
        yield made


def pattern(size: int) -> bytes:
    """Bytes whose order can be seen; 251 divides no packet."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


async def read_exactly(rig: Rig, size: int) -> bytes:
    data = b""
    async with asyncio.timeout(20):
        while len(data) < size:
            got = await rig.channel.read()
            assert got
            data += got
    return data


async def heard(rig: Rig, size: int) -> bytes:
    async with asyncio.timeout(20):
        while len(rig.heard()) < size:  # noqa: ASYNC110 -- the printer is another thread
            await asyncio.sleep(0.005)
    return rig.heard()


@pytest.mark.parametrize("size", [1, 511, 512, 513, 1024, 4096, 65_535, 65_536, 65_537, 300_000])
async def test_bytes_come_in_order_whatever_their_number(rig: Rig, size: int):
    said = pattern(size)
    rig.say(said)
    assert await read_exactly(rig, size) == said


async def test_many_transfers_come_in_order(rig: Rig):
    parts = [bytes([n]) * (n * 37 % 1500 + 1) for n in range(200)]
    rig.say(*parts)
    assert await read_exactly(rig, sum(map(len, parts))) == b"".join(parts)


async def test_an_answer_of_whole_packets_arrives_within_300_ms(rig: Rig):
    reading = asyncio.create_task(read_exactly(rig, 1024))
    await asyncio.sleep(0.05)
    rig.say(b"k" * 1024)  # no short packet says that this is all
    async with asyncio.timeout(0.35):
        assert await reading == b"k" * 1024


async def test_zero_length_packets_are_neither_an_end_nor_data(rig: Rig):
    rig.say(b"", b"a", b"", b"", b"b", b"")
    assert await read_exactly(rig, 2) == b"ab"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await rig.channel.read()


async def test_a_read_waits_through_silence(rig: Rig):
    reading = asyncio.create_task(rig.channel.read())
    await asyncio.sleep(0.6)
    assert not reading.done()
    rig.say(b"at last")
    assert await reading == b"at last"


async def test_what_was_read_ahead_is_what_the_next_read_returns(rig: Rig):
    rig.say(b"head")
    assert await read_exactly(rig, 4) == b"head"
    rig.channel.read_ahead(8, exact=True)
    rig.say(b"the rest")
    await asyncio.sleep(0.05)
    rig.channel.read_ahead(8, exact=True)
    assert await read_exactly(rig, 8) == b"the rest"


async def test_a_cancelled_read_loses_nothing(rig: Rig):
    got = b""
    for n in range(20):
        reading = asyncio.create_task(rig.channel.read())
        await asyncio.sleep(0.002)
        reading.cancel()
        if n % 2:
            await asyncio.sleep(0)
        rig.say(b"%02d" % n)
        await asyncio.wait([reading])
        got += b"" if reading.cancelled() else reading.result()
    got += await read_exactly(rig, 40 - len(got))
    assert got == b"".join(b"%02d" % n for n in range(20))


@pytest.mark.parametrize("size", [1, 512, 65_536, 65_537, 1_000_000])
async def test_a_write_reaches_the_printer_completely(rig: Rig, size: int):
    data = pattern(size)
    await rig.channel.write(data)
    assert await heard(rig, size) == data


async def test_many_writes_follow_each_other(rig: Rig):
    parts = [bytes([n % 256]) * (n * 13 % 700 + 1) for n in range(1000)]
    for part in parts:
        await rig.channel.write(part)
    assert await heard(rig, sum(map(len, parts))) == b"".join(parts)


async def test_reading_and_writing_do_not_wait_for_each_other(rig: Rig):
    rig.stop_taking()
    writing = asyncio.create_task(rig.channel.write(b"w" * 2_000_000))
    await asyncio.sleep(0.05)
    rig.say(b"early answer")
    assert await read_exactly(rig, 12) == b"early answer"
    assert not writing.done()
    rig.take_again()
    await writing
    assert len(await heard(rig, 2_000_000)) == 2_000_000


async def test_no_more_is_read_ahead_than_the_window(rig: Rig):
    said = b"x" * 3_000_000
    rig.say(said)
    first = len(await rig.channel.read())
    await asyncio.sleep(0.3)
    assert rig.unread() >= len(said) - rig.window - 65_536 or rig.window > len(said)
    await read_exactly(rig, len(said) - first)  # and it goes on from there


async def test_nothing_of_an_answer_that_was_left_reaches_the_next_one(rig: Rig):
    rig.say(b"stale" * 60_000)
    assert (await rig.channel.read()).startswith(b"stale")
    rig.channel.rest()
    rig.channel.discard()
    await rig.channel.drain(rig.quiet_s, 1 << 20)
    rig.say(b"fresh")
    assert await read_exactly(rig, 5) == b"fresh"


@pytest.mark.parametrize("stale", [0, 200, 1024, 100_000])
async def test_a_claim_drains_stale_bytes(rig: Rig, stale: int):
    if stale:
        rig.say(b"s" * stale)
    assert await rig.channel.drain(rig.quiet_s, 1 << 20) == stale
    rig.say(b"fresh")
    assert await read_exactly(rig, 5) == b"fresh"


async def test_a_drain_is_not_over_because_the_machine_is_busy(rig: Rig):
    rig.say(b"s" * 100_000)
    drain = asyncio.create_task(rig.channel.drain(rig.quiet_s, 1 << 20))
    for _ in range(20):
        await asyncio.sleep(0)
        # Then both are due: what arrived, and the end of the silence.
        time.sleep(rig.quiet_s + 0.01)  # noqa: ASYNC251
    assert await drain == 100_000


async def test_a_drain_of_an_endless_stream_is_limited(rig: Rig):
    rig.say(b"s" * 200_000)
    with pytest.raises(TransferFailed):
        await rig.channel.drain(rig.quiet_s, 100_000)


async def test_a_cancelled_write_fails_the_channel_until_a_reset(rig: Rig):
    rig.stop_taking()
    writing = asyncio.create_task(rig.channel.write(b"w" * 2_000_000))
    await asyncio.sleep(0.05)
    writing.cancel()
    await asyncio.wait([writing])
    for call in (rig.channel.read(), rig.channel.write(b"x")):
        with pytest.raises(UsbError):
            await call

    rig.take_again()
    await rig.channel.reset()
    before = len(rig.heard())
    await rig.channel.write(b"after")
    assert (await heard(rig, before + 5)).endswith(b"after")
    rig.say(b"answer")
    assert await read_exactly(rig, 6) == b"answer"


async def test_clearing_the_halts_makes_a_failed_channel_work_again(rig: Rig):
    rig.stop_taking()
    writing = asyncio.create_task(rig.channel.write(b"w" * 2_000_000))
    await asyncio.sleep(0.05)
    writing.cancel()
    await asyncio.wait([writing])

    rig.take_again()
    await rig.channel.clear_halt()
    rig.say(b"answer")
    assert await read_exactly(rig, 6) == b"answer"


async def test_a_failed_channel_ends_reads_and_writes_until_a_reset(rig: Rig):
    rig.stop_taking()
    calls = [
        asyncio.create_task(rig.channel.read()),
        asyncio.create_task(rig.channel.write(b"w" * 2_000_000)),
    ]
    await asyncio.sleep(0.05)
    rig.channel.fail(TransferTimeout("deaf"))
    async with asyncio.timeout(2):
        await asyncio.wait(calls)
    assert [type(call.exception()) for call in calls] == [TransferTimeout, TransferTimeout]
    rig.channel.read_ahead(1, exact=True)
    with pytest.raises(TransferTimeout):
        await rig.channel.read()

    rig.take_again()
    await rig.channel.reset()
    rig.say(b"works")
    assert await read_exactly(rig, 5) == b"works"


async def test_a_reset_during_transfers_leaves_a_working_channel(rig: Rig):
    for _ in range(3):
        reading = asyncio.create_task(rig.channel.read())
        await asyncio.sleep(0.01)
        await rig.channel.reset()
        reading.cancel()
        await asyncio.wait([reading])
        rig.say(b"works")
        assert await read_exactly(rig, 5) == b"works"


async def test_an_unplug_ends_reads_and_writes(rig: Rig):
    rig.stop_taking()
    calls = [
        asyncio.create_task(rig.channel.read()),
        asyncio.create_task(rig.channel.write(b"w" * 2_000_000)),
    ]
    await asyncio.sleep(0.05)
    rig.unplug()
    async with asyncio.timeout(2):
        await asyncio.wait(calls)
    for call in calls:
        assert isinstance(call.exception(), DeviceGone)
    with pytest.raises(DeviceGone):
        await rig.channel.read()


async def test_a_second_close_does_nothing(rig: Rig):
    await rig.channel.close()
    await rig.channel.close()
    assert rig.channel.number == 0


@pytest.mark.parametrize(
    "rig", [one for one in MARKED if one.values[0] not in ("fake", "simulated")], indirect=True
)
async def test_whole_packets_end_with_an_empty_one_where_a_quirk_wants_it(rig: DeviceRig):
    offered = await rig.claim_again(Pacing(write_zlp=True))
    await rig.channel.write(b"w" * 1024)
    await rig.channel.write(b"w" * 100)
    await until(lambda: rig.heard() == b"w" * 1124, "all that was written")
    assert offered == [1024, 0, 100]


@pytest.mark.parametrize(
    "rig", [one for one in MARKED if one.values[0] not in ("fake", "simulated")], indirect=True
)
async def test_a_small_rest_goes_with_the_bytes_before_it(rig: DeviceRig):
    offered = await rig.claim_again(Pacing())
    await rig.channel.write(b"w" * 70_000)
    await rig.channel.write(b"w" * 150_000)
    assert offered == [70_000, 65_536, 65_536, 18_928]

    offered = await rig.claim_again(Pacing(write_bytes=16_384))
    await rig.channel.write(b"w" * 16_394)
    assert offered == [16_384, 10]
