"""Quirk files, and the settings that they give a device.

    [[quirk]]
    model = "HP LaserJet MFP M28*"        # or usb = "03f0:1234"; a list names several
    reason = "drops the connection unless asked to keep it"
    connection = "keep-alive"

For every setting an administrator's entry wins, whatever it matches by, then what was
learned about the device, then a built-in entry. Of several the most specific one wins, and
the later one of two that are equally specific: each directory of the configuration is read
in turn, the files of each in the order of their names.

A file is read as a whole or refused, with line and key. `*.conf` are files of ipp-usb
(`ipp_usb_files`): what of them is not used is listed in `QuirkTable.unused`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Final, cast

from ippusbd.errors import ConfigError
from ippusbd.model import DeviceFacts
from ippusbd.quirks import ipp_usb_files
from ippusbd.quirks.ipp_usb_files import Unused
from ippusbd.quirks.match import MatchTarget, ModelPattern, Pattern, UsbPattern
from ippusbd.quirks.model import KNOWN, Effective, Origin, Quirks
from ippusbd.toml_lines import KeyPath, line_of, read_file, tables_and_lines
from ippusbd.toml_schema import checked, text, unknown

__all__ = ["Effective", "Entry", "Origin", "QuirkTable", "Quirks", "Unused", "load", "parse"]

BUILT_IN: Final = "built-in"
LEARNED: Final = "learned"
_SUFFIXES: Final = (".toml", ".conf")
_MATCH_KEYS: Final = ("model", "usb")  # either, both, or lists of them
_REASON: Final = "reason"
HEADERS: Final = "headers"  # key and field
_ALL_KEYS: Final = (*_MATCH_KEYS, _REASON, *KNOWN)


@dataclass(frozen=True, slots=True)
class Entry:
    """One `[[quirk]]`: what it matches and what it sets, with the origin of each value."""

    patterns: tuple[Pattern, ...]
    values: Mapping[str, object]  # by field of Quirks
    origins: Mapping[str, Origin]
    built_in: bool = False

    def best_match(self, device: MatchTarget) -> Pattern | None:
        """The most specific pattern that matches `device`."""
        matching = [p for p in self.patterns if p.matches(device)]
        return max(matching, key=lambda p: p.rank, default=None)


class QuirkTable:
    """All entries, in the order in which they were read."""

    def __init__(self, entries: Iterable[Entry] = (), unused: Iterable[Unused] = ()) -> None:
        self.entries = tuple(entries)
        self.unused = tuple(unused)  # lines of ipp-usb's files

    def effective(
        self, facts: DeviceFacts, learned: Mapping[str, object] | None = None
    ) -> Effective:
        """The settings of a device on the bus; `learned`: those the daemon learned itself."""
        return self.effective_for(MatchTarget.from_facts(facts), learned)

    def effective_for(
        self, device: MatchTarget, learned: Mapping[str, object] | None = None
    ) -> Effective:
        """The settings of a device of which only the id or the name may be known.

        Entries for its id may correct its strings, by which others then match.
        """
        if device.usb_id is not None:
            by_id = self._settings(MatchTarget(device.usb_id), {})
            device = device.corrected(by_id.manufacturer, by_id.product)
        return self._settings(device, learned or {})

    def _settings(self, device: MatchTarget, learned: Mapping[str, object]) -> Effective:
        values: dict[str, object] = {}
        origins: dict[str, Origin] = {}
        for entry, pattern in self._matching(device, learned):
            own = {k: replace(o, pattern=pattern.text) for k, o in entry.origins.items()}
            if HEADERS in origins and HEADERS in own:  # fields add up
                fields = (*values[HEADERS], *entry.values[HEADERS])  # type: ignore[misc]
                values |= {**entry.values, HEADERS: tuple(dict(fields).items())}
                own[HEADERS] = replace(own[HEADERS], value=dict(fields))
            else:
                values |= entry.values
            origins |= own
        return replace(Effective(origins=origins), **values)  # type: ignore[arg-type]

    def _matching(
        self, device: MatchTarget, learned: Mapping[str, object]
    ) -> list[tuple[Entry, Pattern]]:
        """Entries that match, weakest first."""
        admin = (entry for entry in self.entries if not entry.built_in)
        found = _by_rank((entry for entry in self.entries if entry.built_in), device)
        if learned and device.usb_id:
            found += _by_rank([_learned(str(device.usb_id), learned)], device)
        return found + _by_rank(admin, device)


def _by_rank(entries: Iterable[Entry], device: MatchTarget) -> list[tuple[Entry, Pattern]]:
    """Those that match; the sort is stable: of equal ones the later wins."""
    found = [(entry, pattern) for entry in entries if (pattern := entry.best_match(device))]
    return sorted(found, key=lambda pair: pair[1].rank)


def _learned(usb_id: str, settings: Mapping[str, object]) -> Entry:
    """An entry from the state file, without keys that are unknown (now)."""
    values: dict[str, object] = {}
    origins: dict[str, Origin] = {}
    for key, value in settings.items():
        try:
            values[KNOWN[key].field] = KNOWN[key].check(value)
        except (KeyError, ValueError):
            continue
        origins[key] = Origin(LEARNED, 0, usb_id, "learned while using the device", value)
    return Entry((UsbPattern.parse(usb_id),), values, origins)


# --- reading


def load(dirs: Sequence[Path] = ()) -> QuirkTable:
    """The built-in quirks and those of `dirs`; a missing directory has none.

    Raises ConfigError that names file, line and key.
    """
    unused: list[Unused] = []
    local = [entry for folder in dirs for entry in _of_folder(folder, unused)]
    return QuirkTable([*_built_in(), *local], unused)


def _built_in() -> Iterator[Entry]:
    folder = resources.files("ippusbd.quirks") / "data"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            # Its path, which can be opened; in a zip file only its name.
            name = str(file) if isinstance(file, Path) else f"{BUILT_IN}/{file.name}"
            yield from parse(file.read_bytes(), name, built_in=True)


def _of_folder(folder: Path, unused: list[Unused]) -> Iterator[Entry]:
    """The files of ipp-usb first; of their equal sections the first one applies, as there."""
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix in _SUFFIXES and p.is_file())
    except FileNotFoundError:
        return
    except OSError as exc:
        raise ConfigError(f"[daemon] quirks_dirs: {folder}: {exc.strerror}") from exc
    theirs = []
    for path in (path for path in files if path.suffix == ".conf"):
        document = read_file(path).decode("utf-8", "replace")
        sections, left_out = ipp_usb_files.sections(document, str(path))
        theirs += [Entry((each.pattern,), each.values, each.origins) for each in sections]
        unused += left_out
    yield from reversed(theirs)
    for path in (path for path in files if path.suffix == ".toml"):
        yield from parse(read_file(path), str(path))


def parse(raw: bytes, origin: str, *, built_in: bool = False) -> list[Entry]:
    """The entries in a file's bytes; `origin` names the file in errors and origins."""
    tables, lines = tables_and_lines(raw, origin)
    for name in tables.keys() - {"quirk"}:
        where = f"{origin}:{line_of(lines, (name,))}"
        raise unknown(where, "table (entries are [[quirk]]):", name, ["quirk"])
    entries = tables.get("quirk", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{origin}:{line_of(lines, ('quirk',))}: write entries as [[quirk]]")
    return [
        _entry(entry, _Place(origin, lines, number), built_in)
        for number, entry in enumerate(entries)
    ]


@dataclass(frozen=True, slots=True)
class _Place:
    """One entry's place in its file."""

    file: str
    lines: Mapping[KeyPath, int]
    number: int

    def line(self, *key: str) -> int:
        return line_of(self.lines, ("quirk", self.number, *key))

    def __str__(self) -> str:
        return f"{self.file}:{self.line()}"

    def at(self, key: str) -> str:
        return f"{self.file}:{self.line(key)}"


def _entry(table: Mapping[str, object], place: _Place, built_in: bool) -> Entry:
    for key in table:
        if key not in _ALL_KEYS:
            raise unknown(place.at(key), "key", key, _ALL_KEYS)
    patterns = tuple(_patterns(table, place))
    if not patterns:
        raise ConfigError(f"{place}: an entry needs a model or a usb id")
    if not table.get(_REASON):
        raise ConfigError(f"{place}: an entry needs a reason")
    reason = str(checked(place.at(_REASON), _REASON, table[_REASON], text(500)))
    keys = [key for key in table if key in KNOWN]
    return Entry(
        patterns,
        {KNOWN[k].field: checked(place.at(k), k, table[k], KNOWN[k].check) for k in keys},
        {k: Origin(place.file, place.line(k), "", reason, table[k], built_in) for k in keys},
        built_in,
    )


def _patterns(table: Mapping[str, object], place: _Place) -> Iterator[Pattern]:
    for key in _MATCH_KEYS:
        given = table.get(key, [])
        for item in given if isinstance(given, list) else [given]:
            yield cast(Pattern, checked(place.at(key), key, item, _PATTERN_CHECKS[key]))


def _usb_pattern(value: object) -> UsbPattern:
    return UsbPattern.parse(str(text(9)(value)))


def _model_pattern(value: object) -> ModelPattern:
    if not (name := str(text(200)(value)).strip()):
        raise ValueError("must not be empty")
    return ModelPattern(name)


_PATTERN_CHECKS: Final = {"model": _model_pattern, "usb": _usb_pattern}
