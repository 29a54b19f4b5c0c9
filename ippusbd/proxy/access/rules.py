"""Who may print, scan, fax, and use the rest of a printer.

What a request does follows from everything that a printer might evaluate: its
path in any spelling, its content type, and the URIs in its IPP attributes. Where
they disagree the request is of both activities and needs both rights. A request that
neither prints nor scans nor faxes is `config`: the web console, and vendor paths.

An empty list allows every user of this machine. A client that cannot be
identified is allowed nothing that is restricted.

Knows IPP, paths and ids; no sockets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import unquote

from ippusbd.config import Config
from ippusbd.errors import BadIpp
from ippusbd.users.accounts import EVERYBODY, Account, Allowed, allowed
from ippusbd.wire import ipp, ipp_requests
from ippusbd.wire.ipp_codes import Operation, Status

IPP: Final = "application/ipp"
HEAD_BYTES: Final = 64 * 1024  # longer IPP attributes are not parsed
_ABOUT_THE_PRINTER: Final = frozenset(
    {Operation.GET_PRINTER_ATTRIBUTES, Operation.GET_PRINTER_SUPPORTED_VALUES}
)
_ABOUT_THE_SCANNER: Final = frozenset({"/escl/scannercapabilities", "/escl/scannerstatus"})
_UNDONE: Final = 4  # rounds of unescaping: percent signs may be escaped themselves


class Activity(Enum):
    """The purpose of a request; the values are keys of the section [access]."""

    PRINT = "print"
    SCAN = "scan"
    FAX = "fax"
    CONFIG = "config"


@dataclass(frozen=True, slots=True)
class Access:
    """The rules; an activity without a rule is open to everybody."""

    rules: Mapping[Activity, Allowed] = field(default_factory=dict)

    @property
    def unrestricted(self) -> bool:
        """No client has to be identified."""
        return all(allowed.everybody for allowed in self.rules.values())

    @property
    def by_group(self) -> bool:
        """A rule names groups."""
        return any(allowed.gids for allowed in self.rules.values())

    def refuses(self, asked: Asked, uid: int | None, gids: frozenset[int]) -> list[Activity]:
        """The activities that the user is not allowed; empty: the request is allowed."""
        may = {
            activity
            for activity in Activity
            if self.rules.get(activity, EVERYBODY).admits(uid, gids)
        }
        if asked.harmless and may:
            return []
        return [
            activity
            for activity in Activity
            if activity in asked.activities and activity not in may
        ]


UNRESTRICTED: Final = Access()


@dataclass(frozen=True, slots=True)
class Asked:
    """The classification of a request."""

    activities: frozenset[Activity]
    harmless: bool = False  # it only queries capabilities and status
    head: ipp_requests.RequestHead | None = None  # of an IPP request


def is_ipp(target: str, content_types: Iterable[str]) -> bool:
    """Whether a printer may parse it as IPP, so that its first bytes matter."""
    return _path(target).startswith("/ipp") or any(IPP in one.lower() for one in content_types)


def asked(method: str, target: str, content_types: Iterable[str], start: bytes) -> Asked:
    """Classify a request; `start` are the first bytes of its body, up to HEAD_BYTES.

    `content_types` are all its Content-Type fields: which one a printer uses is unknown.
    """
    path = _path(target)
    scans = path.startswith("/escl")
    if not is_ipp(target, content_types):
        activities = frozenset({Activity.SCAN if scans else Activity.CONFIG})
        return Asked(activities, scans and method in ("GET", "HEAD") and path in _ABOUT_THE_SCANNER)
    head = _head(start)
    activities = _ipp_activities(target, head, start)
    if scans:
        return Asked(activities | {Activity.SCAN}, head=head)
    if not path.startswith("/ipp"):
        return Asked(activities | {Activity.CONFIG}, head=head)
    harmless = head is not None and head.operation in _ABOUT_THE_PRINTER and method == "POST"
    return Asked(activities, harmless, head)


def not_authorized(head: ipp_requests.RequestHead, reason: str) -> bytes:
    """An IPP response whose status-message CUPS shows."""
    attributes = (
        ipp.attribute("attributes-charset", ipp.charset()),
        ipp.attribute("attributes-natural-language", ipp.language()),
        ipp.attribute("status-message", ipp.text(reason[:255])),
    )
    groups = (ipp.Group(ipp.Tag.OPERATION, attributes),)
    message = ipp.Message(Status.NOT_AUTHORIZED, head.request_id, groups, head.version)
    return ipp.encode(message)


def access_of(config: Config, inherited: Mapping[str, tuple[Account, ...]] | None = None) -> Access:
    """The rules of the section [access], and the `inherited` ones of ipp-usb for keys it lacks.

    Raises ConfigError for unknown accounts. Blocks.
    """
    lists = {
        Activity.PRINT: config.access_print,
        Activity.SCAN: config.access_scan,
        Activity.FAX: config.access_fax,
        Activity.CONFIG: config.access_config,
    }
    for activity, names in lists.items():
        if not names and activity.value not in config.access_set:
            lists[activity] = (inherited or {}).get(activity.value, ())
    return Access(
        {
            activity: allowed(names, f"[access] {activity.value}")
            for activity, names in lists.items()
        }
    )


def _ipp_activities(
    target: str, head: ipp_requests.RequestHead | None, start: bytes
) -> frozenset[Activity]:
    """By the path and by every URI in the attributes, because printers use either.

    Printers are lenient: the tag of a URI and the case of its name are ignored. Whether it is a
    fax is judged by the path that it has, and by its mere letters: some printers resolve no `..`,
    and for some a string ends at a NUL.
    """
    if head is None:
        return frozenset({Activity.PRINT, Activity.FAX})
    message, _ = ipp.decode(start, tolerant=True)
    uris = [
        value.raw.decode("latin-1")
        for group in message.groups
        for attribute in group.attributes
        for value in attribute.values
        if attribute.name.lower() in ("printer-uri", "job-uri")
    ]
    readings = (read(one) for one in (target, *uris) for read in (_path, _unescaped))
    faxes = {"faxout" in reading for reading in readings}
    return frozenset(Activity.FAX if one else Activity.PRINT for one in faxes)


def _head(start: bytes) -> ipp_requests.RequestHead | None:
    try:
        return ipp_requests.head(start)
    except BadIpp:
        return None


def _path(target: str) -> str:
    """The path as the most lenient printer would read it."""
    path = _unescaped(target.partition("?")[0])
    parts: list[str] = []
    for part in re.split(r"[/\\]+", path):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part.strip())
    return "/" + "/".join(parts)


def _unescaped(text: str) -> str:
    """In lower case."""
    for _ in range(_UNDONE):
        text = unquote(text, errors="replace")
    return text.lower()
