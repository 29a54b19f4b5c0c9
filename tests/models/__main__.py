"""`make e2e-models`: every captured model in a folder before real clients, as a table.

Each must be served, print and scan, with the values that `right` derives or has in its tables.
Several run at a time, each at a desk of its own.
"""

from __future__ import annotations

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue

from models.examined import DATA, Values, examine, models
from models.right import wrong
from support.office import open_desk

from ippusbd.virtual.model_file import DeviceAnswers

DESKS = 3
Waiting = SimpleQueue[tuple[str, DeviceAnswers]]


def main(folder: Path, names: list[str]) -> int:
    """1 if anything is not as it has to be."""
    began = time.monotonic()
    found = {name: one for name, one in models(folder).items() if name in names or not names}
    waiting: Waiting = SimpleQueue()
    for one in found.items():
        waiting.put(one)
    with ThreadPoolExecutor(DESKS) as pool:
        desks = [pool.submit(_at_a_desk, waiting) for _ in range(min(DESKS, len(found)))]
    bad = sum(desk.result() for desk in desks)
    took_s = time.monotonic() - began
    print(f"# {len(found) - bad} of {len(found)} models as they have to be, in {took_s:.0f} s")
    return 1 if bad or not found else 0


def _at_a_desk(waiting: Waiting) -> int:
    """Examine what is waiting, one after the other; how many were wrong."""
    bad = 0
    with tempfile.TemporaryDirectory() as sane, open_desk(Path(sane)) as office:
        while True:
            try:
                name, answers = waiting.get_nowait()
            except Empty:
                return bad
            values = examine(office, name, answers)
            faults = wrong(name, answers, values)
            bad += bool(faults)
            print(_lines(name, values, faults), flush=True)


def _lines(name: str, values: Values, faults: list[str]) -> str:
    """As in the tables."""
    first = f'["{name}"]' + ("  # WRONG" if faults else "")
    lines = [f'"{key}" = "{value}"' for key, value in values.items()]
    return "\n".join((first, *lines, *(f"# wrong: {one}" for one in faults), ""))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA, sys.argv[2:]))
