"""Imports ipp-usb's port and name of a printer, so that existing print queues keep working.

ipp-usb keeps a file per device, VVVV-PPPP-SERIAL-MODEL.state (early versions:
VVVV-SERIAL-PRODUCT.state). Every character but ASCII letters, digits, `-` and `_` is replaced by
`-`; MODEL is manufacturer and product:

    [device]
    http-port = 60000
    dns-sd-name = "Example Printer"
    dns-sd-override = "Example Printer (USB)"    # as it was announced

Before the first announcement the override is the name, to which " (USB)" is then added.
It is read once, when a printer is seen for the first time, and never written. A file that cannot
be parsed is ignored. Knows files; neither state nor sockets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ippusbd.model import DeviceFacts

MAX_FILE_BYTES: Final = 1 << 16
MAX_NAME_BYTES: Final = 63  # of a DNS-SD name
LINE: Final = re.compile(r"\s*([\w-]+)\s*=\s*(?:\"([^\"]*)\"|([^#;]*))")


@dataclass(frozen=True, slots=True)
class Imported:
    """A port (0: unknown) and a name (empty: unknown)."""

    port: int
    name: str


def find(folder: Path, facts: DeviceFacts) -> Imported | None:
    """What a file in `folder` says about the device. Blocks."""
    for name in file_names(facts):
        try:
            with (folder / name).open("rb") as file:
                imported = parse(file.read(MAX_FILE_BYTES).decode("utf-8", "replace"))
        except OSError:
            continue
        if imported.port or imported.name:
            return imported
    return None


def file_names(facts: DeviceFacts) -> list[str]:
    """Names of the device's file in the versions of ipp-usb."""
    vendor, product = f"{facts.usb_id.vendor:04x}", f"{facts.usb_id.product:04x}"
    names = [
        f"{ids}-{facts.serial}-{model}"
        for ids in (f"{vendor}-{product}", vendor)
        for model in (facts.model, facts.product)
    ]
    return list(dict.fromkeys(map(_plain, names)))


def _plain(text: str) -> str:
    return re.sub(r"[^0-9A-Za-z_-]", "-", text)[:200] + ".state"


def parse(document: str) -> Imported:
    """The valid values in the section `[device]`."""
    values: dict[str, str] = {}
    section = ""
    for line in document.splitlines():
        if line.strip().startswith("["):
            section = line.strip()
        elif section == "[device]" and (match := LINE.match(line)):
            values[match[1]] = (match[2] if match[2] is not None else match[3]).strip()
    port = values.get("http-port", "")
    name = values.get("dns-sd-name", "")
    override = values.get("dns-sd-override", "")
    if override not in ("", name):
        name = override
    elif name:
        name += " (USB)"
    fits = 0 < len(name.encode()) <= MAX_NAME_BYTES and name.isprintable()
    return Imported(int(port) if re.fullmatch("[0-9]{1,5}", port) else 0, name if fits else "")
