"""`make simulate`: an office for some hours in some seconds; ends with 1 when a law was broken."""

from __future__ import annotations

import argparse
import secrets
import sys
import time

from simulation.run import Plan, simulate


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--hours", type=float, default=720.0)
    parser.add_argument("--printers", type=int, default=1)
    parser.add_argument("--without", nargs="*", default=(), help="laws that may be broken")
    parser.add_argument("--echo", action="store_true", help="print every event")
    options = parser.parse_args(words)
    began = time.monotonic()
    plan = Plan(options.seed, options.hours, options.printers, tuple(options.without))
    outcome = simulate(plan, sys.stdout if options.echo else None)
    took_s = time.monotonic() - began
    if outcome.fault:
        print(*outcome.trace.last, outcome.fault, sep="\n")
        print(
            f"repeat it: make simulate SEED={plan.seed} HOURS={options.hours:g}"
            f" PRINTERS={options.printers}"
        )
    print(f"{outcome}; {outcome.hours * 3600 / took_s:.0f} times real time")
    return 1 if outcome.fault else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
