"""The simulation itself: the same seed makes the same world, and the laws hold in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulation.run import Plan, simulate

TESTS = Path(__file__).parents[1]
KNOWN = ()  # laws that the daemon breaks still
QUICK_SEEDS = (1, 2, 3)


def digest(hash_seed: str) -> str:
    """Of half a day with two printers, in a process of its own."""
    code = (
        "from simulation.run import Plan, simulate;"
        f"print(simulate(Plan(20, 12.0, 2, {KNOWN!r})).trace.digest)"
    )
    environ = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_one_seed_makes_one_trace_in_any_process():
    assert digest("1") == digest("2")


def test_a_simulation_leaves_nothing_to_the_next_one():
    plan = Plan(3, 2.0)
    assert simulate(plan).trace.digest == simulate(plan).trace.digest


def test_another_seed_makes_another_trace():
    assert simulate(Plan(1, 2.0)).trace.digest != simulate(Plan(2, 2.0)).trace.digest


@pytest.mark.parametrize("seed", QUICK_SEEDS)
def test_the_laws_hold_for_a_day(seed: int):
    outcome = simulate(Plan(seed, without=KNOWN))
    assert not outcome.fault, "\n".join((*outcome.trace.last, outcome.fault, str(outcome)))
