"""Claiming interfaces again: a failure concerns that interface only."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from support.fake_channel import FakeChannel
from support.time_lapse import told

from ippusbd.errors import DeviceBusy, DeviceGone, NoInterface, TransferTimeout, UsbError
from ippusbd.usbio.pool import InterfacePool
from ippusbd.usbio.protocols import Channel


class Desk:
    """`Claims` whose interfaces refuse what `refusals` say, by number."""

    def __init__(self, **refusals: UsbError) -> None:
        self.refusals = {int(name[1:]): failure for name, failure in refusals.items()}
        self.tried: list[tuple[float, int]] = []
        self.released: list[int] = []

    async def claim(self, number: int) -> Channel:
        self.tried.append((asyncio.get_running_loop().time(), number))
        await asyncio.sleep(0)
        if number in self.refusals:
            raise self.refusals[number]
        return FakeChannel(number=number)

    async def release(self, channel: Channel) -> None:
        self.released.append(channel.number)

    def tries(self, number: int) -> list[float]:
        return [at for at, tried in self.tried if tried == number]


class SlowDesk(Desk):
    """A release takes as long as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.releasing = asyncio.Event()
        self.goes_on = {number: asyncio.Event() for number in range(2)}

    async def release(self, channel: Channel) -> None:
        self.releasing.set()
        await self.goes_on[channel.number].wait()
        await super().release(channel)


def pool_of(desk: Desk, released: list[int], **settings: object) -> InterfacePool:
    return InterfacePool([], drain_s=1, claims=desk, released=released, **settings)  # type: ignore[arg-type]


async def use(pool: InterfacePool, wait_s: float = 5) -> int:
    async with pool.lease(wait_s=wait_s) as lease:
        return lease.channel.number


def test_two_free_interfaces_are_used_while_another_program_holds_the_first():
    async def story() -> None:
        desk = Desk(_0=DeviceBusy("interface 0 is held by process 7"))
        pool = pool_of(desk, [0, 1, 2])
        async with pool.lease(wait_s=5) as one, pool.lease(wait_s=5) as two:
            assert {one.channel.number, two.channel.number} == {1, 2}
        assert [str(trouble) for trouble in pool.troubles] == ["interface 0 is held by process 7"]
        await pool.close()

    told(story)


def test_an_interface_that_another_program_left_is_in_no_trouble_once_the_printer_is_used():
    async def story() -> None:
        held = {f"_{number}": DeviceBusy(f"interface {number} is held") for number in range(3)}
        desk = Desk(**held)
        pool = pool_of(desk, [0, 1, 2])
        with pytest.raises(NoInterface):
            await use(pool)
        desk.refusals.clear()
        await use(pool)
        await asyncio.sleep(2)
        assert pool.troubles == []
        assert not pool.status().in_use
        await pool.close()

    told(story)


@pytest.mark.parametrize("failure", [TransferTimeout("SET_INTERFACE"), UsbError("i/o error")])
def test_an_interface_that_cannot_be_claimed_ends_no_exchange_of_the_others(failure: UsbError):
    async def story() -> None:
        desk = Desk(_1=failure)
        pool = pool_of(desk, [0, 1])
        async with pool.lease(wait_s=5) as printing:
            assert printing.channel.number == 0
            with pytest.raises(NoInterface, match=str(failure)):
                await use(pool, wait_s=60)
            assert not pool.is_gone
        assert await use(pool) == 0
        await pool.close()

    told(story)


def test_a_failed_claim_is_retried_with_growing_pauses():
    async def story() -> None:
        desk = Desk(_1=TransferTimeout("SET_INTERFACE"))
        pool = pool_of(desk, [0, 1])
        async with pool.lease(wait_s=5):
            with pytest.raises(NoInterface):
                await use(pool, wait_s=120)
        tries = desk.tries(1)
        pauses = [round(later - sooner, 1) for sooner, later in pairwise(tries)]
        assert 8 <= len(tries) <= 20
        assert pauses == sorted(pauses)
        await pool.close()

    told(story)


def test_an_interface_that_fails_for_long_does_not_delay_the_next_try_of_another():
    async def story() -> None:
        desk = Desk(_0=UsbError("i/o error"))
        pool = pool_of(desk, [0, 1])
        async with pool.lease(wait_s=5):
            waiting = asyncio.create_task(use(pool, wait_s=60))
            await asyncio.sleep(10)
            pauses = [later - earlier for earlier, later in pairwise(desk.tries(0))]
            assert max(pauses) >= 4, "the next try of interface 0 is far away"
            desk.refusals[1] = DeviceBusy("interface 1 is held by process 7")
            pool.renew()
        await asyncio.sleep(0.5)
        del desk.refusals[1]
        async with asyncio.timeout(1.5):
            assert await waiting == 1
        await pool.close()

    told(story)


def test_a_device_without_a_claimable_interface_ends_the_pool_and_an_unplug_does_at_once():
    async def story() -> None:
        for failure, tries in ((TransferTimeout("no"), 4), (DeviceGone("unplugged"), 1)):
            desk = Desk(_0=failure, _1=failure)
            pool = pool_of(desk, [0, 1])
            with pytest.raises(type(failure)):
                await use(pool, wait_s=60)
            assert await pool.gone() is failure
            assert len(desk.tries(0)) <= tries
            await pool.close()

    told(story)


def test_interfaces_are_renewed_as_soon_as_they_are_free():
    async def story() -> None:
        desk = Desk()
        pool = pool_of(desk, [0, 1])
        async with pool.lease(wait_s=5):
            await use(pool)
            pool.renew()
            await asyncio.sleep(0.1)
            assert desk.released == [1]
        await asyncio.sleep(0.1)
        assert desk.released == [1, 0]
        assert await use(pool) in (0, 1)
        await pool.close()

    told(story)


def test_a_request_does_not_wait_for_the_release_of_another_interface():
    async def story() -> None:
        desk = SlowDesk()
        pool = pool_of(desk, [0, 1], idle_release_s=2.0)
        async with pool.lease(wait_s=5):
            await use(pool)
        await desk.releasing.wait()
        waiting = asyncio.create_task(use(pool))
        await asyncio.sleep(0.1)
        desk.goes_on[0].set()
        async with asyncio.timeout(1):
            assert await waiting == 0
        desk.goes_on[1].set()
        await pool.close()

    told(story)


def test_nothing_is_released_while_the_printer_prints():
    async def story() -> None:
        desk, printing = Desk(), [True]
        pool = pool_of(desk, [0], idle_release_s=2.0, may_release=lambda: not printing[0])
        await use(pool)
        await asyncio.sleep(600)
        assert desk.released == []
        printing[0] = False
        await asyncio.sleep(3)
        assert desk.released == [0]
        await pool.close()

    told(story)
