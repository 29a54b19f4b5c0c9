"""Other processes that have a USB device's node open, as far as /proc shows them to us."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ippusbd.model import BusAddress
from ippusbd.wire.text import one_line

PROC, DEV = Path("/proc"), Path("/dev")


def holders(address: BusAddress, *, proc: Path = PROC, dev: Path = DEV) -> list[str]:
    """Each as "process 123 (name)", this process excluded. Blocks."""
    node = str(dev / f"bus/usb/{address.bus:03d}/{address.address:03d}")
    found = []
    for process in proc.glob("[0-9]*"):
        if process.name != str(os.getpid()) and _has_open(process, node):
            found.append(f"process {process.name} ({_name(process)})")
    return found


def _has_open(process: Path, node: str) -> bool:
    with suppress(OSError):  # no permission, or it just ended
        for entry in (process / "fd").iterdir():
            with suppress(OSError):
                if str(entry.readlink()) == node:
                    return True
    return False


def _name(process: Path) -> str:
    with suppress(OSError):
        return one_line((process / "comm").read_text(errors="replace").strip(), 32)
    return "?"
