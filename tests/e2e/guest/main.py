"""The checks in the guest, all or those whose name has `--only TEXT`."""

from __future__ import annotations

import argparse
import sys

import checks_clients
import checks_plug
from lab import Desktop, logs
from report import Report

GROUPS = (checks_plug.GROUP, checks_clients.GROUP)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT")
    options = parser.parse_args()
    desktop = Desktop()
    desktop.start()
    try:
        good = Report(options.only, logs).run(GROUPS)
    finally:
        desktop.stop()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
