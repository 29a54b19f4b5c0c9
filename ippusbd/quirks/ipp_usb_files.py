"""Quirk files of ipp-usb, read as they are, so that administrators can keep them.

    [HP LaserJet MFP M28-M31]       # a model with `*` and `?`, or VID:PID, or VID:*
      http-connection = keep-alive  ; "" removes the header
      init-timeout    = 2m30s       ; a number without unit is milliseconds

Its keys are translated. Whatever is not used is returned with file, line and reason: a file that
is not ours never keeps the daemon from starting, and nothing in it is skipped silently.

Pure: text in, sections and unused lines out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ippusbd.ini_lines import Line, lines
from ippusbd.quirks.match import ModelPattern, Pattern, UsbPattern
from ippusbd.quirks.model import KNOWN, Origin, Quirks
from ippusbd.wire.http1 import may_override

REASON: Final = "from a quirk file of ipp-usb"
MAX_NAME_CHARS: Final = 200
_UNITS_S: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3} | {
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(ns|us|µs|μs|ms|s|m|h)")
_OF_USB_IDS: Final = ("mfg", "model")  # keys of sections that are USB ids

Settings = dict[str, object]
"""Values as in a file of our own, by key; None: as without any quirk."""


@dataclass(frozen=True, slots=True)
class Unused:
    """A line that has no effect. `wrong`: it is an error there, too."""

    where: str  # file:line
    section: str
    text: str
    reason: str
    wrong: bool = True
    pattern: Pattern | None = None  # what the section matches

    def __str__(self) -> str:
        section = f"[{self.section}] " if self.section and self.text[:1] != "[" else ""
        return f"{self.where}: {section}{self.text}: {self.reason}"


class NoCounterpart(ValueError):
    """ipp-usb knows the key, and there is nothing like it here."""


def _boolean(key: str, *, negated: bool = False) -> Callable[[str], Settings]:
    return lambda value: {key: _truth(value) is not negated}


def _truth(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError("must be true or false")
    return value == "true"


def _duration(key: str) -> Callable[[str], Settings]:
    return lambda value: {key: seconds(value)}


def seconds(value: str) -> float:
    """`300ms`, `0.5s` or `2m30s`; a number without unit is milliseconds. Raises ValueError."""
    if re.fullmatch("[0-9]{1,10}", value):
        return int(value) / 1000
    parts = _PART.findall(value)
    if not parts or "".join(map("".join, parts)) != value:
        raise ValueError("must be a time like 300ms, 0.5s or 2m30s, or a number of milliseconds")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def _number(value: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", value):
        raise ValueError("must be a whole number")
    return int(value)


def _interfaces(value: str) -> Settings:
    return {"max_interfaces": min(_number(value), 32) or None}


def _reset(value: str) -> Settings:
    if value not in ("none", "soft", "hard"):
        raise ValueError("must be none, soft or hard")
    return {f"{each}_reset_at_start": value == each for each in ("soft", "hard")}


def _sanitize(value: str) -> Settings:
    if value not in ("reject", "allow", "sanitize"):
        raise ValueError("must be reject, allow or sanitize")
    return {"sanitize_ipp": value == "sanitize"}


def _cut(value: str) -> Settings:
    _truth(value)
    return {}  # answers at start are ended by silence, whatever the device


def _connection(value: str) -> Settings:
    return {"connection": value.lower() or "drop"}


def _host(value: str) -> Settings:
    if value.lower() != "localhost":
        raise NoCounterpart('only "localhost" is possible')
    return {"host_header": "localhost"}


# What each key becomes.
TRANSLATED: Final[Mapping[str, Callable[[str], Settings]]] = {
    "blacklist": _boolean("ignore_device"),
    "buggy-ipp-responses": _sanitize,
    "disable-fax": _boolean("fax", negated=True),
    "disable-scan": _boolean("scan", negated=True),
    "http-connection": _connection,
    "http-host": _host,
    "ignore-ipp-status": _boolean("ignore_ipp_status"),
    "init-delay": _duration("start_delay_s"),
    "init-reset": _reset,
    "init-retry-partial": _boolean("retry_partial_start"),
    "init-timeout": _duration("start_timeout_s"),
    "mfg": lambda value: {"manufacturer": value},
    "model": lambda value: {"product": value},
    "request-delay": _duration("request_pause_s"),
    "usb-max-interfaces": _interfaces,
    "usb-send-delay": _duration("write_pause_s"),
    "usb-send-delay-threshold": lambda value: {"write_pause_bytes": _number(value)},
    "zlp-recv-hack": _cut,
    "zlp-send": _boolean("write_zlp"),
}


@dataclass(slots=True)
class Section:
    """One model's settings, by field of Quirks, each with its origin."""

    name: str
    pattern: Pattern
    keys: set[str] = field(default_factory=set)  # of ipp-usb
    values: dict[str, object] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)


def sections(document: str, origin: str) -> tuple[list[Section], list[Unused]]:
    """The sections of a file, and the lines that are not used."""
    found: list[Section] = []
    unused: list[Unused] = []
    current: Section | None = None
    for line in lines(document):
        where = f"{origin}:{line.number}"
        try:
            if line.error:
                current = current if line.key or not line.text.startswith("[") else None
                raise ValueError(line.error)
            if not line.key:
                current = None
                current = Section(line.section, _pattern(line.section))
                found.append(current)
            elif current is None:
                raise ValueError("stands in no section")
            else:
                _set(current, line, origin)
        except ValueError as exc:
            wrong = not isinstance(exc, NoCounterpart)
            pattern = current.pattern if current is not None else None
            unused.append(Unused(where, line.section, line.text, str(exc), wrong, pattern))
    return [section for section in found if section.values], unused


def _pattern(name: str) -> Pattern:
    if not name or len(name) > MAX_NAME_CHARS:
        raise ValueError(f"a section must have a name of 1 to {MAX_NAME_CHARS} characters")
    try:
        return UsbPattern.parse(name)
    except ValueError:
        return ModelPattern(name)


def _set(section: Section, line: Line, origin: str) -> None:
    key = line.key.lower() if line.key.lower().startswith("http-") else line.key
    if key in section.keys:
        raise ValueError("is set above already")
    for ours, value in _translated(section, key, line.value).items():
        known = KNOWN[ours]
        shown = value
        if ours == "headers" and ours in section.origins:
            shown = {**section.origins[ours].value, **value}  # type: ignore[dict-item]
        checked = getattr(Quirks(), known.field) if value is None else known.check(shown)
        section.values[known.field] = checked
        section.origins[ours] = Origin(origin, line.number, "", REASON, shown)
    section.keys.add(key)


def _translated(section: Section, key: str, value: str) -> Settings:
    if key in _OF_USB_IDS and not isinstance(section.pattern, UsbPattern):
        raise ValueError("belongs in a section whose name is a USB id, like [03f0:1234]")
    if key in TRANSLATED:
        return TRANSLATED[key](value)
    if key.startswith("http-"):
        if not may_override(name := key.removeprefix("http-")):
            raise NoCounterpart("the field is the daemon's own")
        return {"headers": {name: value}}
    raise NoCounterpart("is no key that is known here")
