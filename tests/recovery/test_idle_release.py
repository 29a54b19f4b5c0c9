"""Unused interfaces are released to the kernel; the next request claims them again."""

from __future__ import annotations

import asyncio

import pytest
from support.fake_channel import FakeChannel
from support.waiting import until

from ippusbd.errors import DeviceBusy, DeviceGone, NoInterface, TransferFailed, UsbError
from ippusbd.usbio.pool import InterfacePool, Lane

SOON_S = 0.01


class Desk:
    """Grants claims, as the kernel does."""

    def __init__(self) -> None:
        self.claimed: list[int] = []
        self.released: list[int] = []
        self.refusal: UsbError | None = None
        self.go = asyncio.Event()
        self.go.set()

    async def claim(self, number: int) -> FakeChannel:
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        self.claimed.append(number)
        return FakeChannel(number=number)

    async def release(self, channel: FakeChannel) -> None:
        await self.go.wait()
        self.released.append(channel.number)
        await channel.close()


def pool_of(desk: Desk, interfaces: int = 2, **settings: object) -> InterfacePool:
    channels = [FakeChannel(number=n) for n in range(interfaces)]
    return InterfacePool(
        channels,
        drain_s=1,
        claims=desk,
        idle_release_s=SOON_S,
        **settings,  # type: ignore[arg-type]
    )


async def use(pool: InterfacePool, wait_s: float = 2, lane: Lane = Lane.SHORT) -> int:
    async with pool.lease(wait_s=wait_s, lane=lane) as lease:
        return lease.channel.number


async def test_after_the_last_exchange_all_interfaces_are_released():
    desk = Desk()
    pool = pool_of(desk)
    await use(pool)
    await until(lambda: desk.released == [0, 1])
    assert pool.status().released == 2
    assert pool.idle
    await pool.close()


async def test_the_next_request_claims_the_one_interface_it_needs():
    desk = Desk()
    pool = pool_of(desk)
    await use(pool)
    await until(lambda: pool.status().released == 2)
    assert await use(pool) == 0
    assert desk.claimed == [0]
    await until(lambda: pool.status().released == 2)  # and again
    await pool.close()


async def test_nothing_is_released_while_one_interface_is_in_use():
    desk = Desk()
    pool = pool_of(desk)
    async with pool.lease(wait_s=1):
        await use(pool)
        await asyncio.sleep(5 * SOON_S)
        assert desk.released == []
    await pool.close()


async def test_a_request_during_the_release_is_served():
    desk = Desk()
    desk.go.clear()
    pool = pool_of(desk)
    await use(pool)
    await until(lambda: not pool.idle)
    request = asyncio.create_task(use(pool))
    await asyncio.sleep(SOON_S)
    assert not request.done()
    desk.go.set()
    assert await request in (0, 1)
    await pool.close()


async def test_two_requests_claim_two_interfaces_and_two_documents_only_one_of_two():
    desk = Desk()
    pool = InterfacePool([], drain_s=1, claims=desk, released=[0, 1], idle_release_s=60)
    async with pool.lease(wait_s=1, lane=Lane.LONG):
        with pytest.raises(NoInterface):
            await use(pool, SOON_S, Lane.LONG)
        assert desk.claimed == [0]
        await use(pool)
        assert desk.claimed == [0, 1]
    await pool.close()


async def test_a_device_held_by_another_program_is_waited_for():
    desk = Desk()
    desk.refusal = DeviceBusy("held by process 7 (scanner)")
    pool = InterfacePool([], drain_s=1, claims=desk, released=[0])
    with pytest.raises(NoInterface, match="held by process 7"):
        await use(pool, wait_s=0.05)
    assert [str(one) for one in pool.troubles] == ["held by process 7 (scanner)"]
    request = asyncio.create_task(use(pool))
    await asyncio.sleep(SOON_S)
    desk.refusal = None
    assert await request == 0
    assert not pool.troubles
    await pool.close()


@pytest.mark.parametrize("failure", [DeviceGone("unplugged"), TransferFailed("i/o error")])
async def test_a_device_that_cannot_be_claimed_again_ends_the_pool(failure: UsbError):
    desk = Desk()
    desk.refusal = failure
    pool = InterfacePool([], drain_s=1, claims=desk, released=[0])
    with pytest.raises(type(failure)):
        await use(pool)
    assert await pool.gone() is failure
    await pool.close()


async def test_an_idle_time_of_zero_means_never():
    desk = Desk()
    pool = InterfacePool([FakeChannel()], drain_s=1, claims=desk, idle_release_s=0)
    await use(pool)
    await asyncio.sleep(5 * SOON_S)
    assert desk.released == []
    await pool.close()


async def test_a_pool_closed_while_waiting_leaves_no_timer():
    desk = Desk()
    desk.refusal = DeviceBusy("held")
    pool = InterfacePool([], drain_s=1, claims=desk, released=[0])
    with pytest.raises(NoInterface):
        await use(pool, wait_s=SOON_S)
    await pool.close()
    desk.refusal = None
    await asyncio.sleep(0.3)
    assert desk.claimed == []
