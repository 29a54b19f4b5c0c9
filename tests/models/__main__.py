"""`make e2e-models`: every captured model in a folder before real clients, as a table.

Each must be served, print and scan, with the values that `right` derives or has in its table.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from models.examined import DATA, examine, models
from models.right import wrong
from support.office import open_desk


def main(folder: Path, names: list[str]) -> int:
    """1 if anything is not as it has to be."""
    bad = 0
    found = {name: one for name, one in models(folder).items() if name in names or not names}
    with tempfile.TemporaryDirectory() as sane, open_desk(Path(sane)) as office:
        for name, answers in found.items():
            values = examine(office, name, answers)
            faults = wrong(name, answers, values)
            bad += bool(faults)
            print(f'["{name}"]' + ("  # WRONG" if faults else ""), flush=True)
            for key, value in values.items():
                print(f'"{key}" = "{value}"', flush=True)
            print(*(f"# wrong: {one}" for one in faults), sep="\n", flush=True)
    print(f"# {len(found) - bad} of {len(found)} models as they have to be")
    return 1 if bad or not found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA, sys.argv[2:]))
