"""The text of a response head: status line, fields, and the framing that they declare.

Firmware often deviates from HTTP. Everything is accepted that leaves no doubt
where the body ends: bare LF, blanks before the colon, folded lines, a missing
reason, lines that are no field (dropped), equal lengths twice, `Chunked`
beside a length. The rest is refused.

Invariant: names are tokens and values have no control character, so a head
that was read here can be sent to a client as it is. Every function is
linear in the length of its input. Knows RFC 9110 and 9112.
"""

from __future__ import annotations

import re
from typing import Final

from ippusbd.errors import BadResponse
from ippusbd.wire.http1 import TOKEN, Header

Version = tuple[int, int]
Members = dict[str, list[str]]  # by lower-case name, over all lines of that field

_STATUS_LINE: Final = re.compile(r"HTTP/([0-9])\.([0-9])[ \t]+([0-9]{3})(?:[ \t](.*))?")
_FOLD: Final = re.compile(r"\n[ \t]+")  # RFC 9112 5.2
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # RFC 9110 5.5: become blanks
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_FRAMING: Final = frozenset(("content-length", "transfer-encoding"))


def head_lines(raw: bytes) -> list[str]:
    """The lines of a head that ends in an empty line, unfolded; the first is the status line."""
    if b"\0" in raw:
        raise BadResponse("a NUL in the head of the response")
    text = _FOLD.sub(" ", raw.decode("latin-1").replace("\r\n", "\n"))
    return _CONTROLS.sub(" ", text).rstrip("\n").split("\n")


def status_line(line: str) -> tuple[Version, int, str]:
    """HTTP version, status and reason; only HTTP/1 and statuses of RFC 9110 15 are accepted."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise BadResponse("a line that is not a status line")
    version, status = (int(match[1]), int(match[2])), int(match[3])
    if version[0] != 1 or not 100 <= status <= 599:
        raise BadResponse(f"HTTP/{match[1]}.{match[2]} {status} is not a response of HTTP/1")
    return version, status, (match[4] or "").strip(" \t")


def fields(lines: list[str], limit: int) -> tuple[Header, ...]:
    """The header fields, names as written; raises BadResponse for more than `limit` lines."""
    if len(lines) > limit:
        raise BadResponse(f"more than {limit} header fields")
    found = []
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if colon and TOKEN.fullmatch(name):
            found.append((name, value.strip(" \t")))
    return tuple(found)


def framing_members(headers: tuple[Header, ...]) -> Members:
    """The members, lower case, of the fields that declare the framing."""
    members: Members = {name: [] for name in _FRAMING}
    for name, value in headers:
        if (lower := name.lower()) in _FRAMING:
            members[lower] += [member.strip(" \t").lower() for member in value.split(",")]
    return members


def declared_length(members: Members) -> int | None:
    """Content-Length in bytes; None: not declared. Raises BadResponse where it is ambiguous."""
    lengths = set(members["content-length"])
    if not lengths:
        return None
    if not all(_LENGTH.fullmatch(length) for length in lengths):
        raise BadResponse("a Content-Length that is not a length")
    values = {int(length) for length in lengths}
    if len(values) > 1:
        raise BadResponse(f"different lengths: {min(values)} and {max(values)}")
    return values.pop()


def is_chunked(members: Members) -> bool:
    """Whether the body is chunked; raises BadResponse for unrequested codings."""
    codings = set(members["transfer-encoding"]) - {"", "identity"}
    if codings - {"chunked"}:
        raise BadResponse("an unrequested transfer coding")
    return bool(codings)
