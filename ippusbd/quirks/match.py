"""Which entries match a device, and which of them is the most specific.

    03f0:1234             exactly this product              (3, 0)
    HP LaserJet M*        a model, by its literal letters   (2, 12)
    03f0:*                every product of a vendor         (1, 0)
    *                     every device                      (0, 0)

A model pattern's only special character is `*`; case does not matter. It is
compared with manufacturer and product together, and with the product alone:
printers of "Hewlett-Packard" are called "HP ...".

Pure; a pattern comes from a file, a name from a device.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ippusbd.model import DeviceFacts, UsbId

MAX_NAME_CHARS = 256  # of a device's name that are compared
_ID = re.compile(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{4}|\*)")

Rank = tuple[int, int]


@dataclass(frozen=True, slots=True)
class MatchTarget:
    """What patterns are compared with; either part may be unknown."""

    usb_id: UsbId | None = None
    names: tuple[str, ...] = ()

    @classmethod
    def from_facts(cls, facts: DeviceFacts) -> MatchTarget:
        """A device on the bus."""
        return cls(facts.usb_id, (facts.model, facts.product))

    @classmethod
    def from_text(cls, text: str) -> MatchTarget:
        """From a command line: `VID:PID` or a model."""
        usb_id = parse_usb_id(text)
        return cls(usb_id) if usb_id else cls(names=(text,))


@dataclass(frozen=True, slots=True)
class UsbPattern:
    """`VID:PID`, or `VID:*` when `product` is None."""

    text: str
    vendor: int
    product: int | None

    @classmethod
    def parse(cls, text: str) -> UsbPattern:
        """Raises ValueError with "must be ..."."""
        match = _ID.fullmatch(text)
        if not match:
            raise ValueError('must be a USB id like "03f0:1234" or "03f0:*"')
        product = None if match[2] == "*" else int(match[2], 16)
        return cls(text.lower(), int(match[1], 16), product)

    @property
    def rank(self) -> Rank:
        return (1, 0) if self.product is None else (3, 0)

    def matches(self, device: MatchTarget) -> bool:
        """Whether it matches."""
        usb_id = device.usb_id
        if usb_id is None or usb_id.vendor != self.vendor:
            return False
        return self.product in (None, usb_id.product)


@dataclass(frozen=True, slots=True)
class ModelPattern:
    """A model's name with `*` for any text."""

    text: str

    @property
    def rank(self) -> Rank:
        literal = len(self.text.replace("*", ""))
        return (2, literal) if literal else (0, 0)

    def matches(self, device: MatchTarget) -> bool:
        """Whether it matches; only `*` matches a device without a name."""
        if not self.text.strip("*"):
            return True
        return any(glob(self.text, name[:MAX_NAME_CHARS]) for name in device.names if name)


Pattern = UsbPattern | ModelPattern


def glob(pattern: str, name: str) -> bool:
    """`*` matches any text; linear, because `name` comes from a device."""
    name = name.casefold()
    first, *rest = pattern.casefold().split("*")
    if not rest:
        return name == first
    if not name.startswith(first):
        return False
    *middle, last = rest
    at = len(first)
    for part in middle:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(name) - at >= len(last) and name.endswith(last)


def parse_usb_id(text: str) -> UsbId | None:
    """`VID:PID` in hexadecimal, or None for anything else."""
    match = _ID.fullmatch(text.strip())
    if not match or match[2] == "*":
        return None
    return UsbId(int(match[1], 16), int(match[2], 16))
