"""The states of a printer, and which event leads from one to the next.

State is data: a pair that is not listed is a bug, and `step` raises.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class State(Enum):
    AWAY = "away"  # not plugged in
    OPENING = "opening"  # being opened and claimed
    PROBING = "probing"  # answering requests already, not announced yet
    READY = "ready"  # announced
    PARTIAL = "partial"  # announced for what works; the rest is asked for again
    WAITING = "waiting"  # failed, will be tried again
    REFUSED = "refused"  # given up, with the reason
    IGNORED = "ignored"  # by the configuration or a quirk


class Event(Enum):
    PLUGGED = "plugged"
    OPENED = "opened"
    FACTS = "facts"
    SOME_FACTS = "some facts"
    FAILED = "failed"
    RETRY = "retry"
    REFUSED = "refused"
    IGNORED = "ignored"
    GONE = "gone"


NEXT: Final = {
    (State.AWAY, Event.PLUGGED): State.OPENING,
    (State.OPENING, Event.OPENED): State.PROBING,
    (State.OPENING, Event.FAILED): State.WAITING,
    (State.OPENING, Event.REFUSED): State.REFUSED,
    (State.OPENING, Event.IGNORED): State.IGNORED,
    (State.PROBING, Event.FACTS): State.READY,
    (State.PROBING, Event.SOME_FACTS): State.PARTIAL,
    (State.PROBING, Event.FAILED): State.WAITING,
    (State.PROBING, Event.REFUSED): State.REFUSED,
    (State.PARTIAL, Event.FACTS): State.READY,
    (State.PARTIAL, Event.SOME_FACTS): State.PARTIAL,
    (State.PARTIAL, Event.FAILED): State.WAITING,
    (State.PARTIAL, Event.REFUSED): State.REFUSED,
    (State.READY, Event.FAILED): State.WAITING,
    (State.READY, Event.REFUSED): State.REFUSED,
    (State.WAITING, Event.RETRY): State.OPENING,
    (State.WAITING, Event.FAILED): State.WAITING,  # it could not even be opened again
    (State.WAITING, Event.REFUSED): State.REFUSED,
    (State.WAITING, Event.IGNORED): State.IGNORED,  # a quirk matches a string read only now
    (State.REFUSED, Event.RETRY): State.OPENING,
    (State.REFUSED, Event.FAILED): State.WAITING,
    (State.REFUSED, Event.REFUSED): State.REFUSED,
    (State.REFUSED, Event.IGNORED): State.IGNORED,
    (State.IGNORED, Event.RETRY): State.OPENING,
    (State.IGNORED, Event.FAILED): State.WAITING,
    (State.IGNORED, Event.REFUSED): State.REFUSED,
    (State.IGNORED, Event.IGNORED): State.IGNORED,
}


def step(state: State, event: Event) -> State:
    """The state after `event`; a printer may go at any time."""
    if event is Event.GONE:
        return State.AWAY
    return NEXT[state, event]
