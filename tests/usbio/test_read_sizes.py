"""How many bytes are asked for: an IN transfer ends by itself wherever that is possible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.usbio.read_sizes import IN_FLIGHT, PACE_S, ReadSizes

PACKET, FULL, FAST = 512, 65_536, 262_144


class Sizes(ReadSizes):
    """With a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(PACKET, FULL, FAST, lambda: self.now)


def asked(sizes: ReadSizes, buffered: int = 0) -> list[int]:
    """The transfers that are posted now."""
    posted: list[int] = []
    while size := sizes.next(buffered + sum(posted)):
        posted.append(size)
    return posted


def test_nothing_is_known_of_an_answer_before_its_head():
    assert asked(Sizes()) == [PACKET]


@given(st.integers(1, 10 * FULL), st.booleans())
def test_no_transfer_of_a_small_answer_goes_beyond_the_packet_in_which_it_may_end(
    due: int, exact: bool
):
    sizes = Sizes()
    sizes.arrived(PACKET)
    sizes.expect(due, exact=exact)

    assert sum(asked(sizes)) <= -(-due // PACKET) * PACKET
    assert not sizes.beyond


def test_a_long_answer_has_several_full_transfers_at_once():
    sizes = Sizes()
    sizes.expect(10_000_000, exact=True)

    assert asked(sizes) == [FULL] * IN_FLIGHT


def test_small_chunks_of_a_large_answer_are_read_in_full_transfers():
    sizes = Sizes()
    sizes.arrived(FULL)
    sizes.expect(4000, exact=False)

    assert asked(sizes) == [FULL] * IN_FLIGHT
    assert sizes.beyond


def test_the_end_of_a_large_answer_is_not_passed():
    sizes = Sizes()
    sizes.arrived(FULL)
    sizes.expect(4000, exact=True)

    assert asked(sizes) == [4096]


def test_what_the_reader_has_not_taken_is_counted():
    sizes = Sizes()
    sizes.expect(10_000_000, exact=True)

    assert asked(sizes, buffered=2 * FULL) == [FULL]
    assert asked(sizes, buffered=IN_FLIGHT * FULL) == []


def passed(sizes: Sizes, size: int, pace: float) -> None:
    """`size` bytes arrive with `pace` bytes per second."""
    while size > 0:
        transfer = sizes.next(0)
        sizes.now += transfer / pace
        sizes.arrived(transfer)
        size -= transfer


@pytest.mark.parametrize("pace", [30e3, 100e3, 400e3, 1e6, 4e6])
def test_transfers_beyond_what_is_due_end_soon_at_the_pace_of_the_printer(pace: float):
    sizes = Sizes()
    sizes.expect(100, exact=False)
    passed(sizes, 3 * FULL, pace)

    assert sizes.beyond
    assert max(asked(sizes)) / pace < 1.5 * PACE_S


@pytest.mark.parametrize("exact", [True, False])
def test_a_fast_printer_gets_larger_transfers_until_it_is_slow(exact: bool):
    sizes = Sizes()
    sizes.expect(100_000_000, exact=exact)
    passed(sizes, 1_000_000, 40e6)
    assert asked(sizes) == [FAST] * IN_FLIGHT

    passed(sizes, 1_000_000, 0.4e6)
    assert (asked(sizes) == [FULL] * IN_FLIGHT) is exact
    assert max(asked(sizes)) <= FULL


def test_bytes_of_a_transfer_that_was_cancelled_tell_the_pace():
    """It had 50,000 bytes after 100 ms without an end."""
    sizes = Sizes()
    sizes.expect(4000, exact=False)
    passed(sizes, 1_000_000, 40e6)
    sizes.now += 0.1
    sizes.arrived(50_000, cut=True)

    assert max(asked(sizes)) / 500_000 <= PACE_S


def test_the_pace_of_a_slow_printer_is_known_in_its_next_answer():
    sizes = Sizes()
    sizes.expect(4000, exact=False)
    passed(sizes, 4 * FULL, 0.4e6)
    sizes.rest()
    sizes.arrived(FULL)
    assert max(asked(sizes)) / 0.4e6 < 1.5 * PACE_S


def test_the_next_answer_of_a_fast_printer_begins_small():
    sizes = Sizes()
    sizes.expect(4000, exact=False)
    passed(sizes, 1_000_000, 40e6)
    sizes.rest()
    sizes.expect(FULL + 4000, exact=True)
    assert asked(sizes) == [FULL, 4096]

    sizes.expect(0, exact=False)
    assert asked(sizes) == [PACKET]


def test_small_answers_of_a_printer_that_thinks_are_read_in_few_transfers():
    sizes = Sizes()
    for size in [PACKET, 3584] * 20:
        sizes.awaited()
        sizes.now += 0.03
        sizes.arrived(size)
        if size != PACKET:
            sizes.rest()
    sizes.expect(3000, exact=False)
    assert asked(sizes) == [3072]
    sizes.arrived(FULL)
    assert asked(sizes) == [FULL] * IN_FLIGHT


def test_a_reader_that_takes_its_time_makes_no_printer_slow():
    sizes = Sizes()
    sizes.expect(4000, exact=False)
    passed(sizes, 1_000_000, 40e6)
    for _ in range(10):
        sizes.now += 0.1  # nothing was posted meanwhile
        sizes.awaited()
        passed(sizes, 3 * FAST, 40e6)
    assert asked(sizes) == [FAST] * IN_FLIGHT


def test_larger_transfers_of_a_fast_printer_end_with_its_answer():
    sizes = Sizes()
    sizes.expect(10_000_000, exact=True)
    passed(sizes, 1_000_000, 40e6)
    sizes.expect(FAST + 4000, exact=True)
    assert asked(sizes) == [FAST, 4096]
