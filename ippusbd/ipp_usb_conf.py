"""The configuration file of ipp-usb: what it means for ours, and what has no counterpart.

    [network]                          [listen] port_min, port_max, ipv6, interface;
      http-min-port = 60000            [dnssd] publisher
    [auth uid]
      print, fax = lp, @lp             [access] print and fax; with any rule here, whatever no
      scan = *                         rule names is refused to everybody
    [logging]                          [log] level

Its access rules hold here as long as [access] does not set the same key, also when the file is
deleted with ipp-usb's package: the daemon keeps a copy. A rule that cannot be read closes the
printers: nothing that was closed there may be open here. The file is never written.

Knows ipp-usb's keys and the user database; opens only the files it is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ippusbd.config import Config
from ippusbd.errors import ConfigError
from ippusbd.ini_lines import Line, lines
from ippusbd.toml_lines import MAX_FILE_BYTES
from ippusbd.toml_schema import account
from ippusbd.users.accounts import Account, allowed

KINDS: Final = ("print", "scan", "fax", "config")
NOBODY: Final[tuple[Account, ...]] = ("root",)  # who may do everything anyway
COPY: Final = "ipp-usb.conf"  # in our state directory
_OPERATIONS: Final[Mapping[str, tuple[str, ...]]] = {"all": KINDS} | {k: (k,) for k in KINDS}
_LEVELS: Final = ("error", "info", "debug")  # as there; "trace-..." are more than debug
_TRACES: Final = ("trace-ipp", "trace-escl", "trace-http", "trace-usb", "trace-all", "all")
_DEFAULTS: Final[Mapping[str, str]] = {
    "http-min-port": "60000",
    "http-max-port": "65535",
    "dns-sd": "enable",
    "interface": "loopback",
    "ipv6": "enable",
    "device-log": "all",
    "main-log": "debug",
    "console-log": "debug",
    "max-file-size": "256K",
    "max-backup-files": "5",
    "console-color": "enable",
    "get-all-printer-attrs": "false",
}


@dataclass(frozen=True, slots=True)
class Remark:
    """Something of the file that is not taken over. `wrong`: it is an error there, too."""

    where: str  # file:line
    text: str
    wrong: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


@dataclass(slots=True)
class IppUsbConf:
    """What a file says, in terms of ours."""

    path: Path
    settings: dict[str, tuple[object, int]] = field(default_factory=dict)  # key: value, line
    access: dict[str, tuple[Account, ...]] = field(default_factory=dict)  # of restricted kinds
    access_line: int = 0  # of the first rule
    access_broken: bool = False  # a rule cannot be read: everything is refused
    remarks: list[Remark] = field(default_factory=list)

    def add(self, line: Line, text: str, *, wrong: bool = False) -> None:
        """Remark on a line."""
        shown = f"{line.text}: {text}"
        if line.section and line.key:
            shown = f"[{line.section}] {shown}"
        self.remarks.append(Remark(f"{self.path}:{line.number}", shown, wrong))


def found(config: Config, state_folder: Path) -> IppUsbConf | None:
    """What ipp-usb's file says, or our copy of it if it was deleted. None: there is neither."""
    for path in (config.ipp_usb_conf, state_folder / COPY):
        if (conf := read(path)) is not None:
            return conf
    return None


def read(path: Path) -> IppUsbConf | None:
    """What the file says; None if there is no file. One that cannot be read closes everything."""
    try:
        with path.open("rb") as file:
            return parse(file.read(MAX_FILE_BYTES).decode("utf-8", "replace"), path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        conf = IppUsbConf(path, access_broken=True, access=dict.fromkeys(KINDS, NOBODY))
        conf.remarks.append(Remark(str(path), exc.strerror or "cannot be read", wrong=True))
        return conf


def parse(document: str, path: Path) -> IppUsbConf:
    """What the text of a file says; `path` names it in remarks. Blocks (user database)."""
    conf = IppUsbConf(path)
    rules: dict[str, list[Account]] = {}
    given: dict[str, Line] = {}
    for line in lines(document):
        section = " ".join(line.section.lower().split())
        unknown = bool(line.error) and line.text.startswith("[")
        if unknown or _is_auth(section):
            if line.key or line.error:
                conf.access_line = conf.access_line or line.number
                _rule(conf, line, rules)
        elif line.error:
            conf.add(line, line.error, wrong=True)
        elif line.key and section in ("network", "logging"):
            given[" ".join(line.key.lower().split())] = line
        elif line.key:
            conf.add(line, "stands in no section that is known here")
    _set_access(conf, rules)
    _set_network(conf, given)
    _set_logging(conf, given)
    for key in given.keys() - _DEFAULTS.keys():
        conf.add(given[key], "is no key that is known here")
    return conf


# --- who may do what


def _is_auth(section: str) -> bool:
    """ipp-usb compares only as far as both names go."""
    return section != "" and ("auth uid".startswith(section) or section.startswith("auth uid"))


def _rule(conf: IppUsbConf, line: Line, rules: dict[str, list[Account]]) -> None:
    """Add one line's users to the operations that it names."""
    operations = {part.strip().lower() for part in line.key.split(",")} - {""}
    unknown = sorted(operations - _OPERATIONS.keys())
    if line.error or unknown or not operations:
        error = line.error or f"there is no operation {', '.join(unknown)}"
        conf.add(line, f"{error}; only root may use printers until it is corrected", wrong=True)
        conf.access_broken = True
        return
    users = list(_users(conf, line))
    for operation in operations:
        for kind in _OPERATIONS[operation]:
            rules.setdefault(kind, []).extend(users)


def _users(conf: IppUsbConf, line: Line) -> Iterator[Account]:
    """Those that exist here: an unknown one may do nothing there either."""
    for name in filter(None, (part.strip() for part in line.value.split(","))):
        user: Account = int(name) if re.fullmatch("[0-9]{1,10}", name) else name
        if name in ("*", "@*"):
            yield "*"
            continue
        try:
            allowed((account(user),), "")
        except (ConfigError, ValueError) as exc:
            conf.add(line, f"{str(exc).removeprefix(': ')}; {name} is left out")
        else:
            yield user


def _set_access(conf: IppUsbConf, rules: Mapping[str, Iterable[Account]]) -> None:
    if not rules and not conf.access_broken:
        return
    for kind in KINDS:
        names = tuple(dict.fromkeys(rules.get(kind, ())))
        if conf.access_broken:
            conf.access[kind] = NOBODY
        elif "*" not in names:
            conf.access[kind] = names or NOBODY


# --- the rest


def _set_network(conf: IppUsbConf, given: Mapping[str, Line]) -> None:
    _set_ports(conf, given)
    _word(conf, given, "dns-sd", "disable", "dnssd.publisher", "off")
    _word(conf, given, "ipv6", "disable", "listen.ipv6", "")
    if line := _differs(given, "interface"):
        if line.value == "all" and all(conf.access.get(kind) for kind in KINDS):
            conf.add(line, "no client from the network may do anything, so nothing is shared")
        elif line.value == "all" and "listen.ipv6" in conf.settings:
            conf.add(
                line, "sharing uses IPv6, too: set [listen] interface and [share] allow yourself"
            )
        else:
            _word(conf, given, "interface", "all", "listen.interface", "all")


def _set_ports(conf: IppUsbConf, given: Mapping[str, Line]) -> None:
    """Both or none; a port that the file does not name is the default of both programs."""
    ports = {"http-min-port": 60000, "http-max-port": 65535}
    changed = [(key, line) for key in ports if (line := _differs(given, key))]
    for key, line in changed:
        ports[key] = int(line.value) if re.fullmatch("[0-9]{1,5}", line.value) else 0
    low, high = ports.values()
    right = 1 <= low < high <= 65535
    for key, line in changed:
        if not right:
            conf.add(line, "must be a port from 1 to 65535, the first below the last", wrong=True)
        elif low < 1024:
            conf.add(line, "ports below 1024 are not used here")
        else:
            conf.settings[f"listen.port_{key[5:8]}"] = ports[key], line.number


def _word(
    conf: IppUsbConf, given: Mapping[str, Line], key: str, word: str, ours: str, value: object
) -> None:
    """`key` is its default, or `word`, which is `value` of our key."""
    if line := _differs(given, key):
        if line.value == word:
            conf.settings[ours] = value, line.number
        else:
            conf.add(line, f"must be {word} or {_DEFAULTS[key]}", wrong=True)


def _set_logging(conf: IppUsbConf, given: Mapping[str, Line]) -> None:
    """The level is that of the most verbose log, if both log less than usual."""
    levels = [_level(conf, given, "main-log"), _level(conf, given, "device-log")]
    if max(levels) == 0:
        conf.settings["log.level"] = "error", given["main-log"].number
    advice: Mapping[str, str] = {
        "console-log": "the console shows what the log has",
        "max-file-size": "the journal limits its own size (journald.conf)",
        "max-backup-files": "the journal rotates by itself (journald.conf)",
        "console-color": "there are no colours",
        "get-all-printer-attrs": "`ippusbd trace` records whole answers",
    }
    for key, text in advice.items():
        if line := _differs(given, key):
            conf.add(line, f"has no counterpart: {text}")


def _level(conf: IppUsbConf, given: Mapping[str, Line], key: str) -> int:
    """The index in `_LEVELS`."""
    line = _differs(given, key)
    words = {part.strip() for part in line.value.split(",")} - {""} if line else set()
    if line is None or not words:
        return len(_LEVELS) - 1
    if unknown := sorted(words - {*_LEVELS, *_TRACES}):
        conf.add(line, f"there is no log level {', '.join(unknown)}", wrong=True)
        return len(_LEVELS) - 1
    if words & {*_TRACES}:
        conf.add(line, "has no counterpart: use `ippusbd trace` for USB and HTTP traffic")
        return len(_LEVELS) - 1
    return max(_LEVELS.index(word) for word in words)


def _differs(given: Mapping[str, Line], key: str) -> Line | None:
    """The key's line, if it says something else than ipp-usb's default."""
    line = given.get(key)
    return line if line is not None and line.value != _DEFAULTS[key] else None
