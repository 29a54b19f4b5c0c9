"""Which entries match a device, and which of them is the most specific.

    03f0:1234             exactly this product              (3, 0)
    HP LaserJet M*        a model, by its literal letters   (2, 12)
    03f0:*                every product of a vendor         (1, 0)
    *                     every device                      (0, 0)

In a model pattern `*` stands for any text, `?` for one character, and a backslash takes away the
meaning of the next character; case does not matter. It is compared with manufacturer and product
together, and with the product alone: printers of "Hewlett-Packard" are called "HP ...".

Pure; a pattern comes from a file, a name from a device.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ippusbd.model import BusAddress, DeviceFacts, UsbId

MAX_NAME_CHARS = 256  # of a device's name that are compared
_ID = re.compile(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{4}|\*)")

Rank = tuple[int, int]


@dataclass(frozen=True, slots=True)
class MatchTarget:
    """What patterns are compared with; either part may be unknown."""

    usb_id: UsbId | None = None
    names: tuple[str, ...] = ()
    facts: DeviceFacts | None = None  # of a device with a USB id

    @classmethod
    def from_facts(cls, facts: DeviceFacts) -> MatchTarget:
        """A device on the bus."""
        names = (facts.model, facts.ipp_usb_model, facts.product)
        return cls(facts.usb_id, tuple(dict.fromkeys(names)), facts)

    @classmethod
    def from_text(cls, text: str) -> MatchTarget:
        """From a command line: `VID:PID` or a model."""
        usb_id = parse_usb_id(text)
        if usb_id is None:
            return cls(names=(text,))
        return cls.from_facts(DeviceFacts(usb_id, BusAddress(0, 0)))

    def corrected(self, manufacturer: str, product: str) -> MatchTarget:
        """The same device with other strings, where they are not empty."""
        if self.facts is None or not (manufacturer or product):
            return self
        facts = self.facts
        return self.from_facts(
            replace(
                facts,
                manufacturer=manufacturer or facts.manufacturer,
                product=product or facts.product,
            )
        )


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
    """A model's name with wildcards."""

    text: str

    @property
    def rank(self) -> Rank:
        literal = sum(len(part) == 1 for part in _parts(self.text))
        return (2, literal) if literal else (0, 0)

    def matches(self, device: MatchTarget) -> bool:
        """Whether it matches; only `*` matches a device without a name."""
        if not self.text.strip("*"):
            return True
        return any(glob(self.text, name[:MAX_NAME_CHARS]) for name in device.names if name)


Pattern = UsbPattern | ModelPattern

_ANY, _ONE = "any text", "one character"


def _parts(pattern: str) -> list[str]:
    """Each literal character, `_ANY` and `_ONE`."""
    special = {"*": _ANY, "?": _ONE}
    found = re.findall(r"\\.|.", pattern.casefold(), re.DOTALL)
    return [each[1] if len(each) == 2 else special.get(each, each) for each in found]


def glob(pattern: str, name: str) -> bool:
    """Whether all of `name` matches; at most quadratic, because `name` comes from a device."""
    parts, name = _parts(pattern), name.casefold()
    at = done = 0  # in `name`, in `parts`
    retry_at, retry_done = 0, -1  # where the last `*` may take one character more
    while at < len(name):
        part = parts[done] if done < len(parts) else ""
        if part == _ANY:
            retry_at, retry_done = at, done + 1
            done += 1
        elif part in (_ONE, name[at]):
            at, done = at + 1, done + 1
        elif retry_done >= 0:
            retry_at += 1
            at, done = retry_at, retry_done
        else:
            return False
    return all(part == _ANY for part in parts[done:])


def parse_usb_id(text: str) -> UsbId | None:
    """`VID:PID` in hexadecimal, or None for anything else."""
    match = _ID.fullmatch(text.strip())
    if not match or match[2] == "*":
        return None
    return UsbId(int(match[1], 16), int(match[2], 16))
