"""The idle clock, with a clock of the test's own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from support.fake_directory import FakeTime

from ippusbd.broker.idle import IdleClock, Sample


@dataclass
class World:
    time: FakeTime = field(default_factory=FakeTime)
    busy: bool = False
    count: int = 0

    def look(self) -> Sample:
        return Sample(self.busy, self.count)

    def clock(self, idle_s: float = 10.0) -> IdleClock:
        return IdleClock(idle_s, look=self.look, now=self.time.now, sleep=self.time.sleep)


async def expiry_s(world: World, clock: IdleClock) -> float:
    start_s = world.time.now_s
    await clock.expired()
    return world.time.now_s - start_s


async def test_it_runs_out_after_the_idle_time():
    world = World()
    assert await expiry_s(world, world.clock()) == pytest.approx(10, abs=0.01)


async def test_a_touch_restarts_it():
    world = World()
    clock = world.clock()
    world.time.now_s += 9
    clock.touch()
    assert await expiry_s(world, clock) == pytest.approx(10, abs=0.01)


async def test_it_stands_still_while_it_is_held():
    world = World()
    clock = world.clock()
    end_s = world.time.now_s + 60
    with clock.hold():
        waiting = asyncio.create_task(clock.expired())
        minute = asyncio.Event()
        world.time.on_sleep = lambda: minute.set() if world.time.now_s > end_s else None
        await minute.wait()
        assert not waiting.done()
    start_s = world.time.now_s
    await waiting
    assert world.time.now_s - start_s == pytest.approx(10, abs=0.6)


async def test_a_long_request_keeps_it_from_running_out_until_ten_seconds_after_its_end():
    world = World(busy=True)
    end_s = world.time.now_s + 33

    def pass_by() -> None:
        world.busy = world.time.now_s < end_s

    world.time.on_sleep = pass_by
    took_s = await expiry_s(world, world.clock())
    assert 43 - 0.6 <= took_s <= 43.1


async def test_a_request_between_two_looks_is_seen_by_its_count():
    world = World()
    done_s = world.time.now_s + 7

    def pass_by() -> None:
        world.count = int(world.time.now_s >= done_s)

    world.time.on_sleep = pass_by
    assert await expiry_s(world, world.clock()) == pytest.approx(17, abs=0.6)


async def test_a_very_short_idle_time_is_kept_too():
    world = World()
    assert await expiry_s(world, world.clock(0.1)) == pytest.approx(0.1, abs=0.03)


async def test_an_endless_idle_time_never_runs_out():
    world = World()
    clock = world.clock(float("inf"))
    waiting = asyncio.create_task(clock.expired())
    for _ in range(1000):
        await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
