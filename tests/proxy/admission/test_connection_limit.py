"""Who gives way when there are more connections than places."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from dataclasses import dataclass, field

import pytest

from ippusbd.proxy.admission.connection_limit import (
    IDLE_S,
    READING_S,
    Connection,
    ConnectionLimit,
    Doing,
)

STALL_S = 60.0


@dataclass
class House:
    """Guests with a clock in the test's hand; `left` are those who had to go, by number."""

    places: int
    now: float = 0.0
    left: list[tuple[int, bool]] = field(default_factory=list)
    connections: ConnectionLimit = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        self.connections = ConnectionLimit(self.places, stall_s=STALL_S, clock=lambda: self.now)

    def comes(self, *owner: Hashable, doing: Doing = Doing.NOTHING) -> Connection | None:
        number, self._count = self._count, self._count + 1
        client_connection = self.connections.admit(
            owner, lambda told: self.left.append((number, told))
        )
        if client_connection is not None:
            self.connections.now(client_connection, doing)
        return client_connection


def test_connections_are_admitted_up_to_the_limit():
    house = House(3)
    assert all(house.comes(client) for client in "aab")
    assert house.comes("a", doing=Doing.SERVED) is None
    assert len(house.connections) == 3


def test_a_closed_connection_frees_one_place_even_if_reported_twice():
    house = House(1)
    first = house.comes("a", doing=Doing.SERVED)
    assert first is not None
    house.connections.left(first)
    house.connections.left(first)
    assert house.comes("b", doing=Doing.SERVED) is not None
    assert house.comes("b") is None


def test_the_connection_idle_for_longest_is_closed_without_a_response():
    house = House(2)
    house.comes("a")
    house.now = 1.0
    house.comes("a")
    house.now = 5.0
    assert house.comes("a")
    assert house.left == [(0, False)]


def test_a_new_or_just_answered_connection_is_not_idle():
    house = House(1)
    house.comes("a")
    house.now = IDLE_S / 2
    assert house.comes("b") is None
    house.now = IDLE_S
    assert house.comes("b")


def test_the_client_with_the_fewest_connections_keeps_its_idle_one():
    house = House(3)
    house.comes("modest")
    house.now = 1.0
    house.comes("greedy")
    house.comes("greedy")
    house.now = 9.0
    assert house.comes("greedy")
    assert house.comes("other")
    assert [number for number, _ in house.left] == [1, 2]
    assert all(house.comes("greedy") or True for _ in range(9))
    assert 0 not in [number for number, _ in house.left], "the modest one stays"


def test_a_connection_stalled_in_a_request_is_closed_with_503():
    house = House(1)
    sender = house.comes("a", doing=Doing.SENDING)
    assert sender is not None
    house.now = STALL_S - 1
    assert house.comes("b") is None
    house.connections.now(sender, Doing.SENDING)  # it sends
    house.now = STALL_S + 1
    assert house.comes("b") is None
    house.now = 2 * STALL_S
    assert house.comes("b")
    assert house.left == [(0, True)]


def test_a_connection_stalled_in_an_answer_is_closed_without_another_one_in_its_middle():
    house = House(1)
    house.comes("a", doing=Doing.READING)
    house.now = STALL_S - 1
    assert house.comes("b") is None
    house.now = STALL_S
    assert house.comes("b")
    assert house.left == [(0, False)]


def test_the_last_of_many_waiting_requests_is_closed_for_a_client_with_fewer():
    house = House(3)
    for _ in range(3):
        house.comes("greedy", doing=Doing.WAITING)
    assert house.comes("modest", doing=Doing.WAITING)
    assert house.left == [(2, True)]
    assert house.comes("modest") is None, "two and one is as fair as it gets"


def test_a_connection_that_is_being_served_is_not_closed():
    house = House(2)
    house.comes("a", doing=Doing.SERVED)
    house.comes("a", doing=Doing.SERVED)
    house.now = 1e6
    assert house.comes("b") is None


def test_the_limit_is_logged_once_until_there_was_room_again(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    house = House(4)
    connections = [house.comes("a", doing=Doing.SERVED) for _ in range(4)]
    for _ in range(50):
        assert house.comes("b") is None
    assert caplog.text.count("are in use") == 1
    for client_connection in connections[:2]:
        assert client_connection is not None
        house.connections.left(client_connection)
    for _ in range(50):
        house.comes("b", doing=Doing.SERVED)
    assert caplog.text.count("are in use") == 2


def test_many_unfinished_requests_of_one_client_keep_no_other_out():
    house = House(6)
    for _ in range(6):
        house.comes("greedy", doing=Doing.SENDING)
    for client in "abc":
        assert house.comes(client, doing=Doing.SENDING), "at once"
    assert house.left == [(5, True), (4, True), (3, True)]


def test_answers_that_a_greedy_client_does_not_read_keep_no_other_out():
    house = House(3)
    for _ in range(3):
        house.comes("greedy", doing=Doing.READING)
    house.now = READING_S - 1
    assert house.comes("modest") is None, "radio networks pause"
    house.now = READING_S
    assert house.comes("modest")
    assert house.left == [(0, False)]


def test_silent_new_connections_of_a_greedy_client_go_at_once_and_just_answered_ones_later():
    house = House(3)
    for doing in (Doing.NOTHING, Doing.SERVED, Doing.SERVED):
        house.comes("greedy", doing=doing)
    assert house.comes("modest") is None, "its answer may be on its way"
    house = House(3)
    for _ in range(3):
        house.connections.admit(("greedy",), lambda told: house.left.append((0, told)))
    assert house.comes("modest")
    assert house.left == [(0, False)]


def test_more_processes_gain_a_user_nothing():
    house = House(6)
    for pid in range(6):
        house.comes(1000, pid, doing=Doing.WAITING)
    assert house.comes(1001, 7)
    assert house.left == [(5, True)]


def test_of_one_user_the_process_with_more_connections_gives_way():
    house = House(4)
    house.comes(1000, 1, doing=Doing.WAITING)
    for _ in range(3):
        house.comes(1000, 2, doing=Doing.WAITING)
    assert house.comes(1000, 3, doing=Doing.WAITING)
    assert house.left == [(3, True)]
