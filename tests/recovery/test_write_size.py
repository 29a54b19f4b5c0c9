"""A printer that chokes on large transfers is found out, and an accident is not taken for it."""

from __future__ import annotations

from ippusbd.daemon.recovery.learning import TRIALS, ConnectionTrial, WriteSizeTrial
from ippusbd.quirks.load import load
from ippusbd.quirks.match import MatchTarget


class Choked:
    """A printer whose uploads stand still when the test says so."""

    def __init__(self, write_bytes: int | None = None) -> None:
        self.now = 0.0
        self.learned: list[tuple[str, object]] = []
        self.choking = WriteSizeTrial(
            write_bytes, lambda key, value: self.learned.append((key, value)), clock=self.clock
        )

    def clock(self) -> float:
        return self.now

    def after(self, seconds: float, excused_at: float = -1.0) -> bool:
        self.now += seconds
        return self.choking.stood_still(excused_at)


def test_an_upload_that_stands_still_twice_makes_transfers_smaller():
    printer = Choked()
    assert [printer.after(600) for _ in range(4)] == [False, True, False, True]
    assert printer.learned == [("write_bytes", 16_384), ("write_bytes", 4_096)]


def test_accidents_that_lie_far_apart_teach_nothing():
    printer = Choked()
    assert not any(printer.after(12_000) for _ in range(10))
    assert printer.learned == []


def test_a_reason_that_shows_up_after_a_stall_explains_it():
    printer = Choked()
    assert not printer.after(600)
    assert not printer.after(600, excused_at=700)  # paper was out all the time
    assert printer.learned == []


def test_what_a_quirk_says_is_where_it_begins_and_there_is_an_end():
    printer = Choked(write_bytes=2_000)
    assert [printer.after(600) for _ in range(8)].count(True) == 1
    assert printer.learned == [("write_bytes", 512)]


def test_headers_are_tried_one_after_the_other_and_then_none_again():
    learned: list[tuple[str, object]] = []
    connection_trial = ConnectionTrial(lambda key, value: learned.append((key, value)))
    usual = load().effective_for(MatchTarget.from_text("Some Printer"))
    tried = []
    while connection_trial.may_go_on(usual):
        connection_trial.go_on()
        tried.append(dict(connection_trial.current))
    assert tried == [*map(dict, TRIALS), {}]
    assert learned == []


def test_nothing_is_tried_where_a_quirk_speaks_of_the_model():
    connection_trial = ConnectionTrial(lambda key, value: None)
    known = load().effective_for(MatchTarget.from_text("HP OfficeJet Pro 8730"))
    assert not connection_trial.may_go_on(known)


def test_the_header_with_which_it_answers_is_learned_unless_something_else_was_done_too():
    learned: list[tuple[str, object]] = []
    connection_trial = ConnectionTrial(lambda key, value: learned.append((key, value)))
    for _ in range(2):
        connection_trial.go_on()
    connection_trial.stop()  # it was reset
    connection_trial.worked()
    assert learned == []
    connection_trial.afresh()
    for _ in range(2):
        connection_trial.go_on()
    connection_trial.worked()
    assert learned == [("connection", "keep-alive")]
