"""Interfaces do not alternate between us and a kernel driver."""

from __future__ import annotations

from ippusbd.usbio.idle_release import MAX_S, IdleRelease


def monitored(every_s: float, hours: float) -> tuple[int, IdleRelease]:
    """How often interfaces are released while a monitor polls this often."""
    idle, claimed, released_count, last = IdleRelease(2.0), True, 0, 0.0
    now = 0.0
    while now < hours * 3600:
        now += every_s
        if claimed and now - last > idle.after_s:
            idle.released(last + idle.after_s)
            claimed, released_count = False, released_count + 1
        if not claimed:
            idle.claimed(now)
            claimed = True
        last = now
    return released_count, idle


def test_a_monitor_that_polls_every_three_seconds_causes_one_release():
    released, idle = monitored(3.0, 1)
    assert (released, idle.after_s) == (1, 4.0)


def test_after_rare_requests_interfaces_are_released_soon():
    released, idle = monitored(600.0, 10)
    assert released == 60
    assert idle.after_s == 2.0


def test_the_idle_time_has_a_limit_and_falls_again():
    idle = IdleRelease(2.0)
    for now in range(100, 1100, 100):
        idle.released(now)
        idle.claimed(now + 1)
    assert idle.after_s == MAX_S
    for now in range(2000, 20_000, 1000):
        idle.released(now)
        idle.claimed(now + 900)
    assert idle.after_s == 2.0


def test_an_idle_time_of_zero_disables_the_release():
    idle = IdleRelease(0.0)
    idle.claimed(1)
    assert idle.after_s == 0
