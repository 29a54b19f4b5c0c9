"""Pending cancellations over a restart of the daemon, as when the package is upgraded.

Written when the daemon stops, read once when it starts again, and valid within one boot of this
machine: the times in it are those of a clock that starts with it. In any doubt nothing is kept.

Blocks; knows nothing of what is cancelled.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from ippusbd.daemon.state.files import replace_file

log = logging.getLogger("ippusbd.daemon")

NAME: Final = "cancels.json"
MAX_BYTES: Final = 16 << 20
SAME_BOOT_S: Final = 5.0  # how far the time of this boot may seem to have moved

Kept = dict[str, list[dict[str, Any]]]  # by the printer's key


def save(
    folder: Path, kept: Mapping[str, list[dict[str, Any]]], clock: Callable[[], float]
) -> None:
    """Write `kept`; an empty one removes the file."""
    path = folder / NAME
    wanted = {key: entries for key, entries in kept.items() if entries}
    try:
        if wanted:
            content = {"booted_at": time.time() - clock(), "printers": wanted}
            replace_file(path, json.dumps(content).encode())
        else:
            path.unlink(missing_ok=True)
    except OSError as exc:
        log.warning("cancellations of cut prints are lost: %s: %s", path, exc.strerror)


def take(folder: Path, clock: Callable[[], float]) -> Kept:
    """What was written during this boot; the file is removed."""
    path = folder / NAME
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(MAX_BYTES))
        path.unlink()
        moved_s = abs(content["booted_at"] - (time.time() - clock()))
        if moved_s > SAME_BOOT_S:
            return {}
        return {str(key): list(entries) for key, entries in content["printers"].items()}
    except FileNotFoundError:
        return {}
    except (
        *(OSError, ValueError, LookupError, TypeError, AttributeError),
        *(OverflowError, RecursionError),
    ) as exc:
        log.warning("%s cannot be used: %s", path, type(exc).__name__)
        return {}
