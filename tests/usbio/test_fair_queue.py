"""The order of several clients that wait for one interface."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from support.fake_channel import FakeChannel

from ippusbd.usbio.fair_queue import KEPT, FairQueue
from ippusbd.usbio.pool import InterfacePool, Lane


async def served(*waiting: str) -> str:
    """The order in which waiting clients get the only interface."""
    pool = InterfacePool([FakeChannel()], drain_s=1)
    order: list[str] = []

    async def ask(client: str) -> None:
        async with pool.lease(wait_s=5, client=client):
            order.append(client)

    async with asyncio.TaskGroup() as group, pool.lease(wait_s=1, client="holder"):
        for client in waiting:
            group.create_task(ask(client))
            await asyncio.sleep(0)
    await pool.close()
    return "".join(order)


async def test_one_client_with_many_requests_does_not_delay_another_with_one():
    assert await served(*"aaaaaab") == "abaaaaa"


async def test_a_client_served_without_waiting_comes_after_a_new_one():
    pool = InterfacePool([FakeChannel()], drain_s=1)
    order: list[str] = []

    async def ask(client: str) -> None:
        async with pool.lease(wait_s=5, client=client):
            order.append(client)

    async with asyncio.TaskGroup() as group, pool.lease(wait_s=1, client="holder"):
        for client in ("holder", "newcomer"):
            group.create_task(ask(client))
            await asyncio.sleep(0)
    assert order == ["newcomer", "holder"]
    await pool.close()


def test_memory_for_clients_that_do_not_wait_is_bounded():
    queue = FairQueue()
    for client in range(10_000):
        queue.served_at_once(client)
    assert len(queue._last) <= KEPT


def test_a_client_that_gave_up_waiting_is_not_behind_when_nobody_waits():
    queue = FairQueue()
    for _ in range(50):
        queue.next_of("impatient")
    queue.served_at_once("other")
    assert queue.next_of("impatient") <= queue.next_of("other") <= queue.next_of("impatient")


async def test_clients_are_served_in_order_of_arrival():
    assert await served(*"cabcab") == "cabcab"


async def test_a_request_that_gives_up_leaves_the_queue_unchanged():
    pool = InterfacePool([FakeChannel()], drain_s=1)
    order: list[str] = []

    async def ask(client: str) -> None:
        async with pool.lease(wait_s=5, client=client):
            order.append(client)

    async with asyncio.TaskGroup() as group, pool.lease(wait_s=1):
        tasks = [group.create_task(ask(client)) for client in "aab"]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.sleep(0)
    assert order == ["b", "a"]
    await pool.close()


async def test_a_short_request_passes_long_ones_of_others_whose_turn_it_is():
    pool = InterfacePool([FakeChannel(number=n) for n in range(2)], drain_s=1)
    order: list[str] = []

    async def ask(client: str, lane: Lane) -> None:
        async with pool.lease(wait_s=5, lane=lane, client=client):
            order.append(client)

    async with asyncio.TaskGroup() as group, pool.lease(wait_s=1, lane=Lane.LONG):
        for client in "abc":
            group.create_task(ask(client, Lane.LONG))
        await asyncio.sleep(0)
        await ask("short", Lane.SHORT)
        assert order == ["short"]
    assert order == ["short", "a", "b", "c"]
    await pool.close()


@given(st.lists(st.sampled_from("abcd")))
def test_a_client_waits_for_at_most_one_request_of_each_other_client_per_own_request(asked):
    queue = FairQueue()
    waiting = [(queue.next_of(client), number, client) for number, client in enumerate(asked)]
    order = [client for _, _, client in sorted(waiting)]
    for client in set(asked):
        last = len(order) - 1 - order[::-1].index(client)
        own = asked.count(client)
        assert last + 1 <= own * len(set(asked))


@given(st.lists(st.sampled_from("abcd"), min_size=1))
def test_a_new_client_comes_before_every_other_clients_second_request(asked):
    queue = FairQueue()
    waiting = [queue.next_of(client) for client in asked]
    queue.reached(min(waiting))
    assert queue.next_of("newcomer") <= min(waiting)
