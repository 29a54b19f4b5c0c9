"""Who may print, scan, fax, and use the rest of a printer.

What a request is follows from all that a printer might go by: its path in any
spelling, its content type, and what its IPP part names; where they disagree it
is both, and needs both rights. Whatever is none of the three is `config`: the
web console, and everything a maker added.

A list that is empty lets everybody of this machine in. Root and the daemon's own
user always get in: rules that lock out the one who wrote them would only be
worked around. Who cannot be told is nobody.

Knows IPP, paths and ids; neither sockets nor the user database.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import unquote

from ippusbd.errors import BadIpp
from ippusbd.users.accounts import EVERYBODY, Allowed
from ippusbd.wire import ipp, ipp_requests
from ippusbd.wire.ipp_codes import Operation, Status

IPP: Final = "application/ipp"
HEAD_BYTES: Final = 64 * 1024  # an IPP part longer than this is not understood
_ABOUT_THE_PRINTER: Final = frozenset(
    {Operation.GET_PRINTER_ATTRIBUTES, Operation.GET_PRINTER_SUPPORTED_VALUES}
)
_ABOUT_THE_SCANNER: Final = frozenset({"/escl/scannercapabilities", "/escl/scannerstatus"})
_UNDONE: Final = 4  # percent signs may be escaped themselves; so often


class Kind(Enum):
    """What a request is for; the values are keys of the section [access]."""

    PRINT = "print"
    SCAN = "scan"
    FAX = "fax"
    CONFIG = "config"


@dataclass(frozen=True, slots=True)
class Access:
    """The rules; a kind that is not named is everybody's."""

    rules: Mapping[Kind, Allowed] = field(default_factory=dict)

    @property
    def unrestricted(self) -> bool:
        """Nobody need be asked who he is."""
        return all(allowed.everybody for allowed in self.rules.values())

    @property
    def by_group(self) -> bool:
        """A client's groups matter."""
        return any(allowed.gids for allowed in self.rules.values())

    def refuses(self, asked: Asked, uid: int | None, gids: frozenset[int]) -> list[Kind]:
        """What the user may not do of what was asked; empty: let him."""
        may = {kind for kind in Kind if self.rules.get(kind, EVERYBODY).admits(uid, gids)}
        if asked.harmless and may:
            return []
        return [kind for kind in Kind if kind in asked.kinds and kind not in may]


UNRESTRICTED: Final = Access()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request is."""

    kinds: frozenset[Kind]
    harmless: bool = False  # it asks only what the device can do and how it is
    head: ipp_requests.RequestHead | None = None  # of an IPP request


def is_ipp(target: str, content_types: Iterable[str]) -> bool:
    """Whether a printer may take it for IPP: its first bytes tell more then."""
    return _path(target).startswith("/ipp") or any(IPP in one.lower() for one in content_types)


def asked(method: str, target: str, content_types: Iterable[str], start: bytes) -> Asked:
    """What a request is; `start` are the first bytes of its body, HEAD_BYTES if there are so many.

    `content_types` are all that it has: which one a printer goes by is not known.
    """
    path = _path(target)
    scans = path.startswith("/escl")
    if not is_ipp(target, content_types):
        kinds = frozenset({Kind.SCAN if scans else Kind.CONFIG})
        return Asked(kinds, scans and method in ("GET", "HEAD") and path in _ABOUT_THE_SCANNER)
    head = _head(start)
    kinds = _ipp_kinds(path, head, start)
    if scans:
        return Asked(kinds | {Kind.SCAN}, head=head)
    if not path.startswith("/ipp"):
        return Asked(kinds | {Kind.CONFIG}, head=head)
    harmless = head is not None and head.operation in _ABOUT_THE_PRINTER and method == "POST"
    return Asked(kinds, harmless, head)


def not_authorized(head: ipp_requests.RequestHead, reason: str) -> bytes:
    """An IPP answer whose message CUPS shows."""
    attributes = (
        ipp.attribute("attributes-charset", ipp.charset()),
        ipp.attribute("attributes-natural-language", ipp.language()),
        ipp.attribute("status-message", ipp.text(reason[:255])),
    )
    groups = (ipp.Group(ipp.Tag.OPERATION, attributes),)
    message = ipp.Message(Status.NOT_AUTHORIZED, head.request_id, groups, head.version)
    return ipp.encode(message)


def _ipp_kinds(path: str, head: ipp_requests.RequestHead | None, start: bytes) -> frozenset[Kind]:
    """By the path and by every URI that is named, because printers go by either."""
    if head is None:
        return frozenset({Kind.PRINT, Kind.FAX})
    message, _ = ipp.decode(start, tolerant=True)
    uris = [
        value.text or ""
        for group in message.groups
        for attribute in group.attributes
        for value in attribute.values
        if value.tag == ipp.Tag.URI and attribute.name in ("printer-uri", "job-uri")
    ]
    faxes = {"faxout" in _path(one) for one in (path, *uris)}
    return frozenset(Kind.FAX if one else Kind.PRINT for one in faxes)


def _head(start: bytes) -> ipp_requests.RequestHead | None:
    try:
        return ipp_requests.head(start)
    except BadIpp:
        return None


def _path(target: str) -> str:
    """The path as the most forgiving printer would read it."""
    path = target.partition("?")[0]
    for _ in range(_UNDONE):
        path = unquote(path, errors="replace")
    parts: list[str] = []
    for part in re.split(r"[/\\]+", path.lower()):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part.strip())
    return "/" + "/".join(parts)
