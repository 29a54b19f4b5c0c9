"""A client that is too slow is disconnected while others wait; nobody else is timed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ippusbd.proxy.stall_timers import StallTimer


class Clock:
    """The loop's time and timers in the test's hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, pause_s: float, call: Callable[[], None]) -> Clock:
        self.timers.append((self.now + pause_s, call))
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def pass_to(self, moment: float) -> None:
        while due := [timer for timer in self.timers if timer[0] <= moment]:
            self.timers.remove(due[0])
            self.now = due[0][0]
            due[0][1]()
        self.now = moment


class Client:
    """Moves bytes, keeps others waiting or not, and is disconnected."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.moved = 0
        self.blameless = False
        self.disconnected_at: list[float] = []

    def disconnect(self) -> None:
        self.disconnected_at.append(self.clock.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(clock: Clock) -> Client:
    return Client(clock)


@pytest.fixture
async def timer(client: Client) -> StallTimer:
    """Wants 1,000 bytes in 10 seconds."""
    timer = StallTimer(
        lambda: client.moved, lambda: client.blameless, client.disconnect, stall_s=10.0, least=1000
    )
    timer._loop = client.clock  # type: ignore[assignment]
    return timer


async def test_a_client_that_stalls_is_disconnected_once(
    clock: Clock, client: Client, timer: StallTimer
):
    with timer:
        client.moved += 500_000
        clock.pass_to(19.9)
        assert client.disconnected_at == []
        clock.pass_to(100.0)
        assert client.disconnected_at == [20.0]


async def test_a_trickle_is_disconnected_like_a_stall(
    clock: Clock, client: Client, timer: StallTimer
):
    with timer:
        for second in range(100):
            clock.pass_to(float(second))
            client.moved += 99
    assert client.disconnected_at == [10.0]


async def test_a_client_at_the_least_rate_is_not_disconnected(
    clock: Clock, client: Client, timer: StallTimer
):
    with timer:
        for second in range(100):
            clock.pass_to(float(second))
            client.moved += 101
    assert client.disconnected_at == []


async def test_a_client_that_keeps_nobody_waiting_may_stall(
    clock: Clock, client: Client, timer: StallTimer
):
    client.blameless = True
    with timer:
        clock.pass_to(1000.0)
        assert client.disconnected_at == []


async def test_a_pause_that_is_not_the_clients_restarts_its_time(
    clock: Clock, client: Client, timer: StallTimer
):
    with timer:
        client.blameless = True
        clock.pass_to(15.0)
        client.blameless = False
        clock.pass_to(29.9)
        assert client.disconnected_at == []
        clock.pass_to(30.0)
        assert client.disconnected_at == [30.0]


async def test_no_timer_outlives_the_transfer(clock: Clock, timer: StallTimer):
    with timer:
        clock.pass_to(25.0)
    assert clock.timers == []
