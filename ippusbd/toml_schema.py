"""Values from TOML files, checked once, at the border.

A dataclass declares each key where it declares the field: `setting()` has the
default, the key's name in the file and the check. A value that passed is
typed, in range and needs no other check; the rest is refused by file, line
and key, with the closest known name when a key is unknown.

Knows TOML's types; never which keys exist.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final, TypeVar, cast

from ippusbd.errors import ConfigError

T = TypeVar("T")
Check = Callable[[object], object]
"""Takes TOML's value, returns ours, or raises ValueError with "must be ..."."""

_KEY: Final = "key"
_CHECK: Final = "check"
_DOC: Final = "doc"
_DEFAULT: Final = "default"
DAY_S: Final = 86400.0
_INTERFACE: Final = re.compile(r"[^\s/:]{1,15}")
_HOST_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,252}[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class Known:
    """One key a file may have: the dataclass's field, the check of its value, and its manual.

    `doc` says what the key does; `default` what holds without it, as in the file.
    """

    field: str
    check: Check
    doc: str
    default: str


def setting(default: T, key: str, check: Check, doc: str = "", *, unset: str = "") -> T:
    """A dataclass field with its key in the file, its check and its documentation.

    `unset`: the default in words, where it is no value that the file could have.
    """
    return field(default=default, metadata={_KEY: key, _CHECK: check, _DOC: doc, _DEFAULT: unset})


def known_keys(cls: type) -> dict[str, Known]:
    """The keys that `cls` declares by `setting`, in their order."""
    return {
        f.metadata[_KEY]: Known(
            f.name, f.metadata[_CHECK], f.metadata[_DOC], f.metadata[_DEFAULT] or _toml(f.default)
        )
        for f in fields(cls)
        if _KEY in f.metadata
    }


def _toml(value: object) -> str:
    """A default as it would stand in a file."""
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return f"{value:g}" if isinstance(value, float) else str(value)


def accepted(check: Check) -> str:
    """What `check` accepts, in words: those of its own error."""
    try:
        check(object())
    except ValueError as exc:
        return str(exc).removeprefix("must be ")
    return "anything"


def checked(where: str, key: str, value: object, check: Check) -> object:
    """`value` as `check` returns it. Raises ConfigError that names `where` and `key`."""
    try:
        return check(value)
    except ValueError as exc:
        raise ConfigError(f"{where}: {key} {exc}, not {_shown(value)}") from exc


def unknown(where: str, what: str, name: str, known: Collection[str]) -> ConfigError:
    """An error about an unknown name, with the closest known one."""
    import difflib  # for mistakes only

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f" (did you mean {near[0]}?)" if near else f" (known: {', '.join(sorted(known))})"
    return ConfigError(f"{where}: unknown {what} {name}{hint}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# --- checks


def boolean(value: object) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def integer(low: int, high: int) -> Check:
    """A whole number from `low` to `high`."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return check


def seconds(low: float = 0.0, high: float = DAY_S) -> Check:
    """A duration; whole numbers are accepted, too."""

    def check(value: object) -> float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= cast(float, value) <= high:  # refuses nan and inf, too
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}")
        return float(cast(float, value))

    return check


def text(max_chars: int = 255) -> Check:
    """A string without control characters."""

    def check(value: object) -> str:
        if not isinstance(value, str) or len(value) > max_chars or not value.isprintable():
            raise ValueError(f"must be a text of at most {max_chars} printable characters")
        return value

    return check


def one_of(*names: str) -> Check:
    """One of a few words."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError("must be one of " + ", ".join(f'"{name}"' for name in names))
        return value

    return check


def account(value: object) -> str | int:
    """A user or a group, by name or number."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32:
        return value
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 32:
        raise ValueError("must be names or numbers")
    return value


def directory(value: object) -> Path:
    """An absolute path, whether or not it exists."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError("must be an absolute path")
    return Path(value)


def host_name(value: object) -> str:
    """A name as in a URL, returned in lower case; `*` for any."""
    name = value.lower().removesuffix(".") if isinstance(value, str) else ""
    if name != "*" and not _HOST_NAME.fullmatch(name):
        raise ValueError('must be host names like "printer.home", without port, or "*"')
    return name


def interfaces(value: object) -> tuple[str, ...]:
    """A list of names; "loopback" becomes an empty one, "all" `*`."""
    if value in ("loopback", "all"):
        return ("*",) if value == "all" else ()
    names = value if isinstance(value, list) else [None]
    if not all(isinstance(name, str) and _INTERFACE.fullmatch(name) for name in names):
        raise ValueError('must be "loopback", "all" or a list of names like ["eth0"]')
    return tuple(dict.fromkeys(names))


def network(value: object) -> IPv4Network | IPv6Network:
    """Addresses like "192.168.1.0/24", or one of them."""
    try:
        return ip_network(value if isinstance(value, str) else "")
    except ValueError as exc:
        why = " (it has bits of a host set)" if "host bits" in str(exc) else ""
        raise ValueError(f'must be networks like "192.168.1.0/24"{why}') from None


def list_of(check: Check) -> Check:
    """An array, each value of which passes `check`."""

    def check_all(value: object) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise ValueError("must be a list")
        return tuple(check(item) for item in value)

    return check_all


def table_of(names: Collection[str], check: Check) -> Check:
    """A table with keys of `names`, as pairs; each value passes `check`."""

    def check_all(value: object) -> tuple[tuple[str, object], ...]:
        if not isinstance(value, dict) or not set(value) <= set(names):
            raise ValueError("must be a table with keys out of " + ", ".join(names))
        return tuple((name, check(item)) for name, item in value.items())

    return check_all
