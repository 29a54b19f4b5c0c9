"""No more transfers than needed: real firmware loses data when one is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from support.rigs import SPEC, DeviceRig, async_rig, device_rig, thread_rig
from support.usbip_libusb import Counted, UsbIpHost, UsbIpLibusb
from support.waiting import until

from ippusbd.exchange.exchange import Exchange
from ippusbd.exchange.request import Request
from ippusbd.virtual.personalities.base import ActivePersonalities
from ippusbd.virtual.personalities.usb import IgnoresCancel
from ippusbd.virtual.usb.backend import VirtualBackend
from ippusbd.virtual.usb.device import VirtualDevice

HEAD = b"HTTP/1.1 200 OK\r\n"
TRANSFER = 65_536


class CountedRig:
    """The asynchronous channel, and what became of its IN transfers."""

    def __init__(
        self, rig: DeviceRig, libusb: UsbIpLibusb, personalities: ActivePersonalities
    ) -> None:
        self.rig, self.libusb, self.personalities = rig, libusb, personalities
        self.counted = libusb.counted

    async def exchange(self, *said: bytes, cut_response_s: float | None = None) -> bytes:
        """The body of the answer to a small question, read to its end."""
        request = Request("GET", "/", ())
        exchange = Exchange(self.rig.channel, request, cut_response_s=cut_response_s)
        self.rig.say(*said)
        async with asyncio.timeout(20):
            await exchange.answer()
            body = b"".join([data async for data in exchange.chunks()])
            await exchange.sent()
        assert exchange.complete
        return body

    async def at_rest(self) -> None:
        await until(lambda: not self.counted.pending, "no transfer posted")


@pytest.fixture
def transfer_bytes() -> int:
    """Of USB transfers, in bytes."""
    return TRANSFER


@pytest.fixture
async def counted(transfer_bytes: int) -> AsyncIterator[CountedRig]:
    personalities = ActivePersonalities({})
    device = VirtualDevice(SPEC, personalities)
    device.plug()
    async with AsyncExitStack() as stack:
        host = UsbIpHost(VirtualBackend([device]), device, size=transfer_bytes)
        rig = await stack.enter_async_context(device_rig(device, host, window=6 * transfer_bytes))
        yield CountedRig(rig, host.libusb, personalities)


def by_length(size: int) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % size + bytes(size)


def chunked(size: int, *, piece: int = 4000) -> bytes:
    sizes = [min(piece, size - at) for at in range(0, size, piece)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (length, bytes(length)) for length in sizes)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


async def test_silence_costs_one_small_transfer(counted: CountedRig):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await counted.rig.channel.read()

    assert counted.counted == Counted(submitted=1, cancelled=0, pending=1, largest=512)


@pytest.mark.parametrize("size", [0, 100, 5000, 60_000])
async def test_small_answers_over_one_interface_cancel_no_transfer(counted: CountedRig, size: int):
    for _ in range(5):
        assert len(await counted.exchange(by_length(size))) == size
        assert counted.counted.pending == 0

    assert counted.counted.cancelled == 0
    assert counted.counted.submitted <= 10


@pytest.mark.parametrize("size", [100, 5000, 60_000])
async def test_small_chunked_answers_cancel_no_transfer(counted: CountedRig, size: int):
    for _ in range(3):
        assert len(await counted.exchange(chunked(size))) == size
        assert counted.counted.pending == 0

    assert counted.counted.cancelled == 0


async def test_the_rest_of_an_answer_is_on_its_way_while_its_head_is_looked_at(counted: CountedRig):
    exchange = Exchange(counted.rig.channel, Request("GET", "/", ()))
    counted.rig.say(by_length(5000))
    await exchange.answer()
    assert counted.counted.submitted == 2
    await counted.at_rest()

    assert len(b"".join([data async for data in exchange.chunks()])) == 5000
    await exchange.sent()
    assert (counted.counted.submitted, counted.counted.cancelled) == (2, 0)


async def test_an_answer_of_whole_packets_ends_by_its_length(counted: CountedRig):
    answer = by_length(4096 - len(by_length(1000)) + 1000)
    assert len(answer) == 4096

    for _ in range(3):
        async with asyncio.timeout(1):
            await counted.exchange(answer)

    assert counted.counted.cancelled == counted.counted.pending == 0


async def test_a_large_answer_with_a_length_cancels_no_transfer(counted: CountedRig):
    await counted.exchange(by_length(10_000_000))

    assert counted.counted.cancelled == counted.counted.pending == 0
    assert counted.counted.largest == TRANSFER


async def test_a_large_chunked_answer_takes_full_transfers_and_cancels_the_last_ones(
    counted: CountedRig,
):
    await counted.exchange(chunked(10_000_000))
    await counted.at_rest()

    assert counted.counted.cancelled <= 3
    assert counted.counted.submitted < 250  # 153 full ones, and those of its first 64 KB


@pytest.mark.parametrize("transfer_bytes", [262_144])
@pytest.mark.parametrize(("said", "cancels"), [(by_length, 0), (chunked, 3)])
async def test_a_fast_printer_gets_transfers_of_the_configured_size(
    counted: CountedRig, said: Callable[[int], bytes], cancels: int
):
    body = await counted.exchange(said(10_000_000))
    await counted.at_rest()

    assert len(body) == 10_000_000
    assert counted.counted.largest == 262_144
    assert counted.counted.cancelled <= cancels


async def test_transfers_that_the_kernel_has_no_memory_for_wait_for_one_that_ends(
    counted: CountedRig,
):
    """All programs share 16 MB; many interfaces at once need more."""
    counted.libusb.memory = 3 * TRANSFER // 2
    assert len(await counted.exchange(by_length(1_000_000))) == 1_000_000
    read_refused = counted.counted.refused
    document = bytes(range(250)) * 4000
    await counted.rig.channel.write(document)
    await until(lambda: counted.rig.heard().endswith(document), "the document whole")

    assert 0 < read_refused < counted.counted.refused


@pytest.mark.parametrize("transfer_bytes", [262_144])
@pytest.mark.parametrize("memory", [0, 1_500_000])
@pytest.mark.parametrize("pace", [0.4e6, 1.6e6])
async def test_a_slow_answer_costs_few_cancels_though_nothing_ends_its_transfers(
    counted: CountedRig, pace: float, memory: int
):
    """A scanner that first empties its memory, and goes on as its carriage moves."""
    clock, piece = asyncio.get_running_loop().time, 16_384
    answer = chunked(memory + int(pace))
    at = max(memory, piece)
    asking = asyncio.create_task(counted.exchange(answer[:at]))
    began = clock()
    while at < len(answer):
        await asyncio.sleep(max(began + (at - memory) / pace - clock(), 0))
        counted.rig.say(answer[at : at + piece])
        at += piece
    assert len(await asking) == memory + int(pace)
    assert counted.counted.cancelled <= 20


@pytest.mark.parametrize("transfer_bytes", [262_144])
async def test_bytes_wait_less_than_the_silence_that_ends_an_answer(counted: CountedRig):
    """Whatever pauses the printer made before: a quirk of HP ends answers after a second."""
    answer = chunked(400_000)
    for _ in range(3):
        asking = asyncio.create_task(counted.exchange(answer[:200_000]))
        cancelled = counted.counted.cancelled
        await until(lambda before=cancelled: counted.counted.cancelled > before, "a pause noted")
        counted.rig.say(answer[200_000:])
        await asking

    size = next(size for size in range(3_000_000, 3_001_000) if not len(chunked(size)) % 512)
    assert len(await counted.exchange(chunked(size), cut_response_s=1.0)) == size


async def test_bytes_wait_in_no_transfer_because_the_next_one_was_refused(counted: CountedRig):
    counted.libusb.memory = 3 * TRANSFER // 2
    exchange = Exchange(counted.rig.channel, Request("GET", "/", ()))
    said = chunked(500_000)[:99_840]  # 195 packets, and no empty one
    counted.rig.say(said)
    await exchange.answer()
    body = b""
    async with asyncio.timeout(20):
        async for data in exchange.chunks():
            body += data
            if len(body) > 99_000:
                break
    assert counted.counted.refused


async def test_a_pause_in_a_large_answer_costs_at_most_one_round_of_cancels(counted: CountedRig):
    answer = chunked(500_000)
    asking = asyncio.create_task(counted.exchange(answer[:400_000]))
    await until(lambda: counted.counted.cancelled, "the transfers that go beyond being ended")
    await until(lambda: counted.counted.pending == 1, "one small transfer that waits")
    assert counted.counted.cancelled <= 3

    counted.rig.say(answer[400_000:])
    assert len(await asking) == 500_000


async def test_an_answer_before_the_end_of_its_upload_leaves_no_transfer_posted(
    counted: CountedRig,
):
    rig = counted.rig
    rig.stop_taking()

    async def document() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(100_000)

    exchange = Exchange(rig.channel, Request("POST", "/", (), stream=document()))
    answering = asyncio.create_task(exchange.answer())
    await until(lambda: counted.counted.pending, "the transfer for an early answer")
    rig.say(by_length(10))
    await answering
    assert len(b"".join([data async for data in exchange.chunks()])) == 10
    rig.take_again()
    await exchange.sent()

    assert counted.counted.cancelled == counted.counted.pending == 0


async def test_a_drain_costs_one_transfer_which_the_next_answer_uses(counted: CountedRig):
    assert await counted.rig.channel.drain(0.05, 1000) == 0
    assert counted.counted == Counted(submitted=1, cancelled=0, pending=1, largest=512)

    await counted.exchange(by_length(100))
    assert counted.counted == Counted(submitted=1, cancelled=0, pending=0, largest=512)


@pytest.mark.parametrize("make", [async_rig, thread_rig])
async def test_transfers_are_counted_for_the_status(make: Callable[..., Any]):
    async with make() as rig:
        await rig.channel.write(b"question")
        rig.say(b"answer")
        assert await rig.channel.read() == b"answer"
        await until(lambda: rig.counts.completed == 2, lambda: rig.counts)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await rig.channel.read()
        rig.channel.rest()
        await until(lambda: rig.counts.cancelled == 1, lambda: rig.counts)
        assert rig.counts.submitted == 3


async def test_small_answers_of_a_printer_that_ignores_cancels_are_read(counted: CountedRig):
    counted.personalities.switch_on(IgnoresCancel)
    await counted.rig.channel.drain(0.05, 1000)

    for size in (100, 5000, 60_000):
        assert len(await counted.exchange(by_length(size))) == size
        assert len(await counted.exchange(chunked(size))) == size


async def test_bytes_after_the_end_of_an_answer_do_not_reach_the_next_one(counted: CountedRig):
    exchange = Exchange(counted.rig.channel, Request("GET", "/", ()))
    counted.rig.say(by_length(1000) + by_length(3000))
    await exchange.answer()
    assert len(b"".join([data async for data in exchange.chunks()])) == 1000
    await exchange.sent()
    assert not exchange.complete

    await exchange.finish(1.0)
    assert await counted.exchange(HEAD + b"Content-Length: 2\r\n\r\nok") == b"ok"
