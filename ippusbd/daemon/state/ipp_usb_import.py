"""What ipp-usb knew of a printer: a print queue that was made in its time goes on working.

A file per device, VVVV-PPPP-SERIAL-MODEL.state (early versions: VVVV-SERIAL-PRODUCT.state), in
which every letter but ASCII's letters, digits, `-` and `_` is a `-`; MODEL is maker and product:

    [device]
    http-port = 60000
    dns-sd-name = "Example Printer"
    dns-sd-override = "Example Printer (USB)"    # after a collision

It is asked for once, when a printer is seen for the first time; nothing there is ever written.
A file that makes no sense tells nothing. Knows files; neither state nor sockets.
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
class Kept:
    """A port, 0 if none is known, and a name, empty if none is."""

    port: int
    name: str


def find(folder: Path, facts: DeviceFacts) -> Kept | None:
    """What a file in `folder` says of the device. Blocks."""
    for name in file_names(facts):
        try:
            with (folder / name).open("rb") as file:
                kept = parse(file.read(MAX_FILE_BYTES).decode("utf-8", "replace"))
        except OSError:
            continue
        if kept.port or kept.name:
            return kept
    return None


def file_names(facts: DeviceFacts) -> list[str]:
    """Of the device's file, as versions of ipp-usb have called it."""
    vendor, product = f"{facts.usb_id.vendor:04x}", f"{facts.usb_id.product:04x}"
    names = [
        f"{ids}-{facts.serial}-{model}"
        for ids in (f"{vendor}-{product}", vendor)
        for model in (facts.model, facts.product)
    ]
    return list(dict.fromkeys(map(_plain, names)))


def _plain(text: str) -> str:
    return re.sub(r"[^0-9A-Za-z_-]", "-", text)[:200] + ".state"


def parse(document: str) -> Kept:
    """What is said in the section `[device]`, as far as it can be meant."""
    values: dict[str, str] = {}
    section = ""
    for line in document.splitlines():
        if line.strip().startswith("["):
            section = line.strip()
        elif section == "[device]" and (match := LINE.match(line)):
            values[match[1]] = (match[2] if match[2] is not None else match[3]).strip()
    port = values.get("http-port", "")
    name = values.get("dns-sd-override") or values.get("dns-sd-name", "")
    fits = 0 < len(name.encode()) <= MAX_NAME_BYTES and name.isprintable()
    return Kept(int(port) if re.fullmatch("[0-9]{1,5}", port) else 0, name if fits else "")
