"""Leases: one exchange at a time per interface, and none is ever lost."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from support.fake_channel import FakeChannel
from support.waiting import until

from ippusbd.errors import DeviceGone, IppUsbError, NoInterface, PrinterSilent, TransferFailed
from ippusbd.model import Awaits
from ippusbd.usbio.pool import InterfacePool, Lane, Lease
from ippusbd.usbio.protocols import Channel


class Answer:
    """An answer that ends when the test says so."""

    def __init__(
        self, failure: Exception | None = None, *, end_with: Exception | None = None
    ) -> None:
        self.end = asyncio.Event()
        self.failure = failure
        self.end_with = end_with
        self.finishing = False

    async def finish(self, quiet_s: float, excused: object = None) -> None:
        self.finishing = True
        if self.failure is not None:
            raise self.failure
        await self.end.wait()
        if self.end_with is not None:
            raise self.end_with


class Writes(Answer):
    """The printer is to take a document."""

    awaits = Awaits.PRINTER_TAKES


async def leave_early(pool: InterfacePool, answer: Answer) -> None:
    async with pool.lease(wait_s=1) as lease:
        lease.unfinished = answer


async def test_an_interface_serves_one_lease_at_a_time():
    pool = InterfacePool([FakeChannel()], drain_s=1)
    async with pool.lease(wait_s=1):
        with pytest.raises(NoInterface):
            async with pool.lease(wait_s=0.01):
                pass
    async with pool.lease(wait_s=0.01) as lease:
        assert lease.channel.number == 0
    await pool.close()


async def test_waiting_requests_are_served_in_order_of_arrival():
    pool = InterfacePool([FakeChannel()], drain_s=1)
    served: list[int] = []

    async def client(n: int) -> None:
        async with pool.lease(wait_s=5):
            served.append(n)

    async with asyncio.TaskGroup() as group, pool.lease(wait_s=1):
        for n in range(5):
            group.create_task(client(n))
            await until(lambda n=n: pool.status().waiting == n + 1)
    assert served == [0, 1, 2, 3, 4]
    await pool.close()


async def test_long_requests_leave_one_interface_to_short_ones():
    pool = InterfacePool([FakeChannel(number=n) for n in range(3)], drain_s=1)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(pool.lease(wait_s=1, lane=Lane.LONG))
        with pytest.raises(NoInterface):
            async with pool.lease(wait_s=0.01, lane=Lane.LONG):
                pass
        async with pool.lease(wait_s=0.01, lane=Lane.SHORT) as lease:
            assert lease.channel.number == 2
    await pool.close()


async def test_a_waiting_long_request_does_not_delay_a_short_one():
    pool = InterfacePool([FakeChannel(number=n) for n in range(2)], drain_s=1)
    async with pool.lease(wait_s=1, lane=Lane.LONG):
        waiting = asyncio.create_task(_hold(pool, Lane.LONG))
        await until(lambda: pool.status().waiting == 1)
        async with pool.lease(wait_s=0.01, lane=Lane.SHORT):
            assert not waiting.done()
    await waiting
    await pool.close()


async def _hold(pool: InterfacePool, lane: Lane) -> None:
    async with pool.lease(wait_s=5, lane=lane):
        pass


async def test_a_request_that_turns_out_long_counts_as_long():
    """Its name did not show it: the other interface is kept for short ones all the same."""
    pool = InterfacePool([FakeChannel(number=n) for n in range(2)], drain_s=1)
    async with pool.lease(wait_s=1) as turned:
        turned.turns_long()
        with pytest.raises(NoInterface):
            async with pool.lease(wait_s=0.01, lane=Lane.LONG):
                pass
        async with pool.lease(wait_s=0.01):
            pass
    async with pool.lease(wait_s=0.01, lane=Lane.LONG):
        pass
    turned.turns_long()  # too late: its interface is another's
    async with pool.lease(wait_s=1) as short, pool.lease(wait_s=0.01, lane=Lane.LONG):
        assert short.channel is not None


async def test_a_request_that_lasts_long_counts_as_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ippusbd.usbio.pool_types.LONG_S", 0.02)
    pool = InterfacePool([FakeChannel(number=n) for n in range(2)], drain_s=1)
    async with pool.lease(wait_s=1):
        await asyncio.sleep(0.03)
        with pytest.raises(NoInterface):
            async with pool.lease(wait_s=0.01, lane=Lane.LONG):
                pass


async def test_a_lease_hinders_those_who_wait_or_write():
    pool = InterfacePool([FakeChannel(number=n) for n in range(2)], drain_s=1)
    async with pool.lease(wait_s=1) as reader, pool.lease(wait_s=1) as writer:
        assert not reader.hinders
        writer.unfinished = Writes()
        assert (reader.hinders, reader.contended, writer.hinders) == (True, False, False)
        writer.unfinished = None
        waiting = asyncio.create_task(_hold(pool, Lane.SHORT))
        await until(lambda: reader.contended)
        assert reader.hinders
    await waiting


async def test_a_single_interface_serves_long_requests_too():
    pool = InterfacePool([FakeChannel()], drain_s=1)
    async with pool.lease(wait_s=0.01, lane=Lane.LONG) as lease:
        assert isinstance(lease, Lease)
    await pool.close()


async def test_an_unfinished_exchange_is_finished_before_the_next_lease():
    pool = InterfacePool([FakeChannel()], drain_s=1)
    answer = Answer()
    await leave_early(pool, answer)
    next_client = asyncio.create_task(_hold(pool, Lane.SHORT))
    await until(lambda: answer.finishing)
    assert not next_client.done()
    assert pool.status().draining == 1

    answer.end.set()
    await next_client
    assert pool.finished == 1
    await pool.close()


async def test_a_cancelled_client_passes_its_interface_on_without_waiting():
    pool = InterfacePool([FakeChannel()], drain_s=1)
    entered = asyncio.Event()

    async def client() -> None:
        async with pool.lease(wait_s=1):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(client())
    await entered.wait()
    task.cancel()
    async with pool.lease(wait_s=1):
        assert task.done()
    await pool.close()


@pytest.mark.parametrize("steps", range(6))
async def test_an_interface_granted_to_a_client_that_just_left_is_freed(steps: int):
    pool = InterfacePool([FakeChannel()], drain_s=1)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(pool.lease(wait_s=1))
        waiter = asyncio.create_task(_hold(pool, Lane.SHORT))
        await until(lambda: pool.status().waiting == 1)
    for _ in range(steps):
        await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait([waiter])
    async with pool.lease(wait_s=0.1):
        assert pool.status().in_use == 1
    await pool.close()


async def test_a_grant_and_a_time_out_in_the_same_step_lose_no_interface():
    pool = InterfacePool([FakeChannel()], drain_s=1)
    for _ in range(50):
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(pool.lease(wait_s=1))
            waiter = asyncio.create_task(_try(pool, 0.001))
            await asyncio.sleep(0.001)
        await waiter
        async with pool.lease(wait_s=0.1):
            assert pool.status().in_use == 1
    await pool.close()


async def _try(pool: InterfacePool, wait_s: float) -> bool:
    try:
        async with pool.lease(wait_s=wait_s):
            return True
    except NoInterface:
        return False


async def test_an_endless_response_costs_one_reset_and_nothing_else():
    channel = FakeChannel()
    pool = InterfacePool([channel], drain_s=0.001)
    await leave_early(pool, Answer())
    async with pool.lease(wait_s=5):
        assert channel.resets == 1
    assert pool.recovered == 1
    await pool.close()


@pytest.mark.parametrize("failure", [TransferFailed("x"), PrinterSilent("y")])
async def test_a_failed_drain_is_followed_by_a_recovery(failure: Exception):
    channel = FakeChannel()
    pool = InterfacePool([channel], drain_s=1)
    await leave_early(pool, Answer(failure))
    async with pool.lease(wait_s=5):
        assert channel.resets == 1
    await pool.close()


async def test_an_interface_that_cannot_be_recovered_is_marked_and_reported():
    bad, good = FakeChannel(number=0), FakeChannel(number=1)
    bad.reset_failure = TransferFailed("no")
    told: list[int] = []
    pool = InterfacePool(
        [bad, good], drain_s=1, on_broken=lambda channel, _: told.append(channel.number)
    )
    await leave_early(pool, Answer(TransferFailed("x")))
    await until(lambda: told == [0])
    assert pool.status().broken == 1

    async with pool.lease(wait_s=1, lane=Lane.LONG) as lease:  # the only one left serves all
        assert lease.channel is good

    bad.reset_failure = None
    assert await pool.retry_broken() == 1
    assert pool.status().broken == 0
    await pool.close()


async def test_a_waiting_print_gets_the_free_interface_while_the_other_one_is_recovered():
    """Its client left a document unfinished there: an exchange that is over keeps no lane."""
    recovers = asyncio.Event()

    async def recover(channel: Channel, reason: IppUsbError) -> None:
        await recovers.wait()
        raise NoInterface(str(reason))

    pool = InterfacePool([FakeChannel(number=n) for n in range(2)], drain_s=1, recover=recover)
    answer = Answer(end_with=TransferFailed("x"))
    async with pool.lease(wait_s=1, lane=Lane.LONG) as lease:
        lease.unfinished = answer
    waiting = asyncio.create_task(_hold(pool, Lane.LONG))
    await until(lambda: pool.status().waiting == 1)
    answer.end.set()
    await waiting

    recovers.set()
    await until(lambda: pool.status().broken == 1)
    recovers.clear()
    again = asyncio.create_task(pool.retry_broken())
    await until(lambda: not pool.status().broken)
    async with pool.lease(wait_s=0.01, lane=Lane.LONG) as lease:
        assert lease.channel.number == 1
    recovers.set()
    assert await again == 0
    await pool.close()


async def test_when_the_last_interface_breaks_requests_wait_until_it_works_again():
    channel = FakeChannel()
    channel.reset_failure = TransferFailed("no")
    pool = InterfacePool([channel], drain_s=1)
    await leave_early(pool, Answer(TransferFailed("x")))
    await until(lambda: pool.status().broken == 1)
    with pytest.raises(NoInterface, match="does not answer"):
        async with pool.lease(wait_s=0.01):
            pass
    channel.reset_failure = None
    waiting = asyncio.create_task(_hold(pool, Lane.SHORT))
    await until(lambda: pool.status().waiting == 1)
    assert await pool.retry_broken() == 1
    await waiting
    await pool.close()


async def test_an_unplug_fails_waiting_and_later_requests():
    pool = InterfacePool([FakeChannel()], drain_s=1)
    async with pool.lease(wait_s=1):
        waiting = asyncio.create_task(_hold(pool, Lane.SHORT))
        await until(lambda: pool.status().waiting == 1)
        pool.abandon(DeviceGone("unplugged"))
        with pytest.raises(DeviceGone):
            await waiting
    with pytest.raises(DeviceGone):
        async with pool.lease(wait_s=1):
            pass
    assert pool.is_gone
    await pool.close()


async def test_a_device_that_vanishes_while_draining_ends_the_pool():
    pool = InterfacePool([FakeChannel(number=n) for n in range(2)], drain_s=1)
    await leave_early(pool, Answer(DeviceGone("unplugged")))
    assert isinstance(await pool.gone(), DeviceGone)
    await pool.close()


async def test_join_waits_for_exchanges_in_flight_up_to_a_limit():
    pool = InterfacePool([FakeChannel()], drain_s=1)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(pool.lease(wait_s=1))
        await pool.join(grace_s=0.01)
        joining = asyncio.create_task(pool.join(grace_s=5))
        await asyncio.sleep(0)
        assert not joining.done()
    await joining
    assert pool.idle
    await pool.close()


async def test_closing_stops_draining():
    pool = InterfacePool([FakeChannel()], drain_s=100)
    answer = Answer()
    await leave_early(pool, answer)
    await until(lambda: answer.finishing)
    await pool.close()
    assert pool.is_gone


async def test_a_lease_knows_that_others_wait():
    pool = InterfacePool([FakeChannel()], drain_s=1)
    async with pool.lease(wait_s=1) as lease:
        assert not lease.contended
        waiting = asyncio.create_task(_hold(pool, Lane.SHORT))
        await until(lambda: pool.status().waiting == 1)
        assert lease.contended
    await waiting
    await pool.close()
