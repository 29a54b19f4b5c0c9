"""Places are shared out by client: whoever has most makes room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ippusbd.fair_tasks import FairTasks


@asynccontextmanager
async def tasks(count: int) -> AsyncIterator[list[asyncio.Task[None]]]:
    made = [asyncio.create_task(asyncio.sleep(60)) for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            one.cancel()
        await asyncio.gather(*made, return_exceptions=True)


async def test_the_oldest_of_the_client_with_most_makes_room():
    places = FairTasks(3)
    async with tasks(5) as made:
        assert places.add(made[0], "quiet") is None
        places.add(made[1], "greedy")
        places.add(made[2], "greedy")
        assert places.add(made[3], "new") is made[1]
        assert len(places) == 3
        assert places.add(made[4], "another") is made[0]  # all have one: the oldest


async def test_more_processes_gain_a_user_nothing():
    places = FairTasks(4)
    async with tasks(5) as made:
        places.add(made[0], "other user", 1)
        for number, one in enumerate(made[1:4]):
            places.add(one, "greedy user", number + 10)
        assert places.add(made[4], "third user", 5) is made[1]


async def test_a_task_that_ended_has_no_place():
    places = FairTasks(1)
    async with tasks(2) as made:
        places.add(made[0], "a")
        made[0].cancel()
        await asyncio.wait([made[0]])
        assert len(places) == 0
        assert places.add(made[1], "b") is None
