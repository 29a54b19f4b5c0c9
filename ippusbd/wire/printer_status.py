"""A printer's current state, supplies and counters, from its answer.

CUPS' marker attributes are parallel lists, PWG's printer-supply has one string of
key=value for each supply; printers have either or both. Lists of different length, levels
that mean "unknown" and malformed strings lose that supply, nothing else.

Knows IPP messages; `state_reasons` has the words for people.
"""

from __future__ import annotations

from typing import Final

from ippusbd.model import Condition, Supply
from ippusbd.wire.ipp import Attribute, Group, Message, Tag
from ippusbd.wire.ipp_requests import get_printer_attributes
from ippusbd.wire.text import small_number, utf8_line

REQUESTED: Final[tuple[str, ...]] = (
    "marker-colors",
    "marker-high-levels",
    "marker-levels",
    "marker-low-levels",
    "marker-names",
    "marker-types",
    "printer-impressions-completed",
    "printer-media-sheets-completed",
    "printer-pages-completed",
    "printer-state",
    "printer-state-message",
    "printer-state-reasons",
    "printer-supply",
    "printer-supply-description",
    "queued-job-count",
)
SUPPLIES_MAX: Final = 64
REASONS_MAX: Final = 64
NAME_BYTES: Final = 120
LOW_PERCENT: Final = 10  # where the printer has no threshold of its own
FULL_PERCENT: Final = 90


def question(printer_uri: str) -> bytes:
    """The request for the attributes that `read` reads."""
    return get_printer_attributes(printer_uri, REQUESTED)


def read(message: Message) -> Condition:
    """The condition in an answer; empty where an attribute is missing."""
    given: dict[str, Attribute] = {}
    for group in message.groups:
        if group.tag == Tag.PRINTER:
            given.update((each.name, each) for each in group.attributes)
    printer = Group(Tag.PRINTER, tuple(given.values()))
    reasons = _texts(printer, "printer-state-reasons")[:REASONS_MAX]
    pages = _count(printer, "printer-impressions-completed")
    return Condition(
        state=_count(printer, "printer-state"),
        reasons=tuple(dict.fromkeys(r for r in reasons if r and r != "none")),
        message=next(iter(_texts(printer, "printer-state-message")), ""),
        supplies=_markers(printer) or _supplies(printer),
        pages=_count(printer, "printer-pages-completed") if pages is None else pages,
        sheets=_count(printer, "printer-media-sheets-completed"),
        jobs=_count(printer, "queued-job-count"),
    )


def _texts(printer: Group, name: str) -> list[str]:
    """All strings at their positions; empty where a value is not a string."""
    found = printer.get(name)
    values = found.values[:SUPPLIES_MAX] if found else ()
    return [utf8_line(value.text or "", NAME_BYTES) for value in values]


def _integers(printer: Group, name: str) -> list[int | None]:
    found = printer.get(name)
    return [value.integer for value in found.values[:SUPPLIES_MAX]] if found else []


def _count(printer: Group, name: str) -> int | None:
    number = next(iter(_integers(printer, name)), None)
    return number if number is not None and number >= 0 else None


# --- marker-*


def _markers(printer: Group) -> tuple[Supply, ...]:
    names = _texts(printer, "marker-names")
    levels = _integers(printer, "marker-levels")
    if len(names) != len(levels):
        return ()
    kinds = _padded(_texts(printer, "marker-types"), len(names), "")
    colors = _padded(_texts(printer, "marker-colors"), len(names), "")
    lows = _padded(_integers(printer, "marker-low-levels"), len(names), None)
    highs = _padded(_integers(printer, "marker-high-levels"), len(names), None)
    return tuple(map(_marker, names, kinds, colors, levels, lows, highs))


def _padded(values: list[str] | list[int | None], length: int, filler: object) -> list[object]:
    """As many as there are names; a list of another length is ignored."""
    return list(values) if len(values) == length else [filler] * length


def _marker(
    name: str, kind: object, color: object, level: int | None, low: object, high: object
) -> Supply:
    kind, color = str(kind), str(color)
    return supply(
        name or kind or "supply",
        kind,
        color if color.startswith("#") else "",
        level,
        low=low if isinstance(low, int) else None,
        high=high if isinstance(high, int) else None,
    )


# --- printer-supply


def _supplies(printer: Group) -> tuple[Supply, ...]:
    found = printer.get("printer-supply")
    names = _texts(printer, "printer-supply-description")
    supplies = []
    for place, value in enumerate(found.values[:SUPPLIES_MAX] if found else ()):
        fields = _fields(value.raw)
        kind = fields.get("type", "")
        name = names[place] if place < len(names) else ""
        if kind:
            level = _percent(fields)
            fills = fields.get("class", "") == "receptacleThatIsFilled"
            supplies.append(supply(name or kind, kind, "", level, fills=fills))
    return tuple(supplies)


def _fields(raw: bytes) -> dict[str, str]:
    """`type=toner;level=80;` as a table; other text is left out."""
    text = utf8_line(raw.decode("utf-8", "replace"))
    pairs = (part.partition("=") for part in text.split(";"))
    return {key.strip(): value.strip() for key, sign, value in pairs if sign}


def _percent(fields: dict[str, str]) -> int | None:
    level = small_number(fields.get("level", ""))
    most = small_number(fields.get("maxcapacity", ""))
    if level is None or most is None or level < 0 or most <= 0:
        return None
    return round(100 * level / most)


def supply(
    name: str,
    kind: str,
    color: str,
    level: int | None,
    *,
    low: int | None = None,
    high: int | None = None,
    fills: bool | None = None,
) -> Supply:
    """One supply; levels of -1 to -3 mean that the printer does not know it."""
    level = level if level is not None and 0 <= level <= 100 else None
    if fills is None:
        fills = kind.startswith("waste")
    low = low if low is not None and 0 < low < 100 else LOW_PERCENT
    high = high if high is not None and 0 < high < 100 else FULL_PERCENT
    is_low = level is not None and (level >= high if fills else level <= low)
    return Supply(name, kind, color, level, is_low, fills)
