"""Quirk files of ipp-usb, read as they are, so that administrators can keep them.

    [HP LaserJet MFP M28-M31]       # a model, `*` for any text
      http-connection = keep-alive  ; "" removes the header

Its keys are translated; a key that has no meaning here, or a malformed line, is left out and
logged: a file that is not ours never keeps the daemon from starting.

Pure: text in, sections and messages for the log out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ippusbd.quirks.match import ModelPattern, Pattern, UsbPattern
from ippusbd.quirks.model import KNOWN, Origin

REASON: Final = "from a quirk file of ipp-usb"

Setting = tuple[str, object]


def _boolean(key: str, *, negated: bool = False) -> Callable[[str], Setting]:
    def translate(value: str) -> Setting:
        if value not in ("true", "false"):
            raise ValueError("must be true or false")
        return key, (value == "true") is not negated

    return translate


def _milliseconds(key: str) -> Callable[[str], Setting]:
    return lambda value: (key, int(value.removesuffix("ms")) / 1000)


def _reset(value: str) -> Setting | None:
    if value not in ("none", "soft", "hard"):
        raise ValueError("must be none, soft or hard")
    return None if value == "none" else (f"{value}_reset_at_start", True)


def _sanitize(value: str) -> Setting:
    return "sanitize_ipp", value == "sanitize"


def _interfaces(value: str) -> Setting | None:
    return ("max_interfaces", int(value)) if int(value) else None  # 0: all


# What each key becomes; None: it means nothing here.
TRANSLATED: Final[Mapping[str, Callable[[str], Setting | None]]] = {
    "blacklist": _boolean("ignore_device"),
    "buggy-ipp-responses": _sanitize,
    "disable-fax": _boolean("fax", negated=True),
    "http-connection": lambda value: ("connection", value.lower() or "drop"),
    "ignore-ipp-status": _boolean("ignore_ipp_status"),
    "init-delay": _milliseconds("start_delay_s"),
    "init-reset": _reset,
    "init-retry-partial": _boolean("retry_partial_start"),
    "init-timeout": _milliseconds("start_timeout_s"),
    "request-delay": _milliseconds("request_pause_s"),
    "usb-max-interfaces": _interfaces,
    "usb-send-delay": _milliseconds("write_pause_s"),
    "zlp-recv-hack": lambda value: None,  # every printer is read so
}


@dataclass(slots=True)
class Section:
    """One model's settings, by field of Quirks, each with its origin."""

    pattern: Pattern
    values: dict[str, object] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)


def sections(document: str, origin: str) -> tuple[list[Section], list[str]]:
    """The sections of a file, and messages about what was left out."""
    found: list[Section] = []
    left_out: list[str] = []
    current: Section | None = None
    for number, line in _lines(document):
        where = f"{origin}:{number}"
        try:
            if line.startswith("["):
                current = None
                current = Section(_pattern(line))
                found.append(current)
            elif current is not None:
                _set(current, line, origin, number)
        except ValueError as exc:
            left_out.append(f"{where}: {line}: {exc}")
    return [section for section in found if section.values], left_out


def _lines(document: str) -> Iterator[tuple[int, str]]:
    """Numbered lines without comments and blanks around."""
    for number, line in enumerate(document.splitlines(), 1):
        quoted = False
        for at, letter in enumerate(line):
            quoted ^= letter == '"'
            if letter in "#;" and not quoted:
                line = line[:at]
                break
        if line := line.strip():
            yield number, line


def _pattern(line: str) -> Pattern:
    name = line[1:].partition("]")[0].strip()
    if not line.endswith("]") or not name or len(name) > 200:
        raise ValueError("not a section")
    if set(name) & set("?\\"):
        raise ValueError("only * is understood in a model's name")
    try:
        return UsbPattern.parse(name)
    except ValueError:
        return ModelPattern(name)


def _set(section: Section, line: str, origin: str, number: int) -> None:
    key, equals, value = (part.strip() for part in line.partition("="))
    if not equals or key not in TRANSLATED:
        raise ValueError("has no meaning here")
    setting = TRANSLATED[key](value.strip('"'))
    if setting is None:
        return
    ours, translated = setting
    known = KNOWN[ours]
    section.values[known.field] = known.check(translated)
    section.origins[ours] = Origin(origin, number, "", REASON, translated)
