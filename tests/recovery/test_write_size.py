"""A printer that stalls on large transfers is detected; a single stall is not."""

from __future__ import annotations

from ippusbd.daemon.recovery.learning import TRIALS, ConnectionTrial, WriteSizeTrial
from ippusbd.quirks.load import load
from ippusbd.quirks.match import MatchTarget


class StallingPrinter:
    """A printer whose uploads stall when the test says so."""

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
        return self.choking.stalled(excused_at)


def test_an_upload_that_stalls_twice_makes_transfers_smaller():
    printer = StallingPrinter()
    assert [printer.after(600) for _ in range(4)] == [False, True, False, True]
    assert printer.learned == [("write_bytes", 16_384), ("write_bytes", 4_096)]


def test_nothing_is_learned_from_stalls_that_are_far_apart():
    printer = StallingPrinter()
    assert not any(printer.after(12_000) for _ in range(10))
    assert printer.learned == []


def test_a_reason_reported_after_a_stall_explains_it():
    printer = StallingPrinter()
    assert not printer.after(600)
    assert not printer.after(600, excused_at=700)  # paper was out all the time
    assert printer.learned == []


def test_a_quirks_size_is_the_start_and_there_is_a_minimum():
    printer = StallingPrinter(write_bytes=2_000)
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


def test_nothing_is_tried_where_a_quirk_names_the_model():
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
