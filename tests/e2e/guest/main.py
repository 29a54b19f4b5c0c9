"""The checks in the guest: all, a part of them, or those whose name has `--only TEXT`."""

from __future__ import annotations

import argparse
import sys
import time

import checks_channel
import checks_clients
import checks_crash
import checks_cycles
import checks_layouts
import checks_many
import checks_ops
import checks_plug
import checks_recovery
import checks_transfers
from lab import Desktop, logs
from report import Report

# Two guests at once take about the same time for their parts.
PARTS = {
    "1": (checks_plug.GROUP, checks_clients.GROUP, checks_ops.GROUP, *checks_many.GROUPS),
    "2": (
        checks_cycles.GROUP,
        checks_crash.GROUP,
        checks_channel.GROUP,
        checks_recovery.GROUP,
        checks_layouts.GROUP,
        *checks_transfers.GROUPS,
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT")
    parser.add_argument("--part", choices=PARTS, action="append")
    options = parser.parse_args()
    desktop = Desktop()
    start = time.monotonic()
    desktop.start()
    print(f"-- a desktop, in {time.monotonic() - start:.1f} s", flush=True)
    try:
        groups = [group for part in options.part or PARTS for group in PARTS[part]]
        good = Report(options.only, logs).run(groups)
    finally:
        desktop.stop()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
