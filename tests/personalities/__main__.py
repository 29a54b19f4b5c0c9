"""`make personalities`: prints the table line by line; names as arguments select."""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from pathlib import Path

from personalities.outcomes import OUTCOMES
from personalities.script import Line, table, verdict


def main(names: list[str]) -> int:
    """1 if any line is wrong."""
    logging.getLogger("ippusbd").addHandler(logging.NullHandler())
    logging.getLogger("ippusbd").propagate = False
    cases = {name: OUTCOMES[name] for name in names or OUTCOMES}
    wrong: list[str] = []

    def told(line: Line) -> None:
        print(line, flush=True)
        if complaint := verdict(line, cases[line.name]):
            wrong.append(complaint)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(table(cases, Path(folder), told=told))
    print(*(f"wrong: {one}" for one in wrong), sep="\n")
    print(f"{len(cases) - len(wrong)} as expected, {len(wrong)} not")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
