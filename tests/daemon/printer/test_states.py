"""States follow the table, pauses grow, resets are counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.daemon.printer.states import NEXT, Event, State, step
from ippusbd.daemon.recovery.backoff import Backoff, ResetBudget


@pytest.mark.parametrize("state", list(State))
def test_a_printer_may_go_at_any_time(state: State):
    assert step(state, Event.GONE) is State.AWAY


@given(st.lists(st.sampled_from(list(Event)), max_size=50))
def test_any_sequence_of_events_follows_the_table(events: list[Event]):
    state = State.AWAY
    for event in events:
        if event is not Event.GONE and (state, event) not in NEXT:
            with pytest.raises(KeyError):
                step(state, event)
            continue
        state = step(state, event)
        assert state in State


def test_every_state_can_be_reached_and_left():
    reached = {State.AWAY}
    for _ in State:
        reached |= {after for (before, _), after in NEXT.items() if before in reached}
    assert reached == set(State)
    assert {before for before, _ in NEXT} == set(State)


def test_pauses_double_up_to_a_limit_and_start_again():
    pauses = Backoff(1.0, 10.0)
    assert [pauses.next() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    pauses.reset()
    assert pauses.next() == 1.0


def test_resets_are_limited_within_a_window():
    now = [0.0]
    budget = ResetBudget(3, 600.0, clock=lambda: now[0])
    assert [budget.allow() for _ in range(4)] == [True, True, True, False]
    now[0] = 599.9
    assert budget.spent
    now[0] = 600.0
    assert not budget.spent
    assert [budget.allow() for _ in range(4)] == [True, True, True, False]


@given(st.lists(st.floats(0.01, 300.0), max_size=60), st.integers(0, 5))
def test_no_window_ever_has_more_resets_than_allowed(pauses: list[float], limit: int):
    now = [0.0]
    budget = ResetBudget(limit, 600.0, clock=lambda: now[0])
    done = []
    for pause in pauses:
        now[0] += pause
        if budget.allow():
            done.append(now[0])
    for moment in done:
        assert sum(moment - 600.0 < other <= moment for other in done) <= limit
