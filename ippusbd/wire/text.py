"""Text that a device or a client chose, made safe for logs, names, terminals and DNS-SD.

Firmware is the attacker: a product string may carry terminal escapes, a
serial number may be `../../etc/passwd`, an answer may be half UTF-8.

Invariants: what leaves here holds no control, format or unassigned character,
is no longer than asked, and does not change when it is cleaned once more.
Knows nothing of the project.
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

ELLIPSIS: Final = "…"
TEXT_BYTES: Final = 1023  # the longest text of IPP (RFC 8011, 5.1.2)

_ESCAPES: Final = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    "|\x1b[\\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\\\)"  # OSC, DCS: titles, clipboard, links
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NUMBER: Final = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_BLANKS: Final = re.compile(r"\s+")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.ASCII)


def one_line(text: str, limit: int) -> str:
    """`text` on one line without terminal escapes, at most `limit` characters long.

    White space of any kind becomes one blank, bytes that were no UTF-8 become U+FFFD, anything
    else that is not printable is dropped; an ellipsis marks a cut.
    """
    text = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", _ESCAPES.sub("", text))
    text = _BLANKS.sub(" ", text)
    text = text if text.isprintable() else "".join(filter(str.isprintable, text))
    text = _BLANKS.sub(" ", text).strip()  # a character between blanks may have been dropped
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + ELLIPSIS[:limit]


def decoded(data: bytes) -> str:
    """UTF-8 where it is valid, else Latin-1, which any bytes are."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def utf8_line(text: str, limit_bytes: int = TEXT_BYTES) -> str:
    """As `one_line`, at most `limit_bytes` of UTF-8, as DNS-SD and IPP count; no ellipsis."""
    return clip(one_line(text, len(text)), limit_bytes)


def clip(text: str, limit_bytes: int) -> str:
    """At most that many bytes of UTF-8, cut between characters and then trimmed."""
    return text.encode("utf-8", "replace")[:limit_bytes].decode("utf-8", "ignore").strip()


def small_number(text: str) -> int | None:
    """A decimal number of at most nine digits; None: it is none. No other reaches arithmetic."""
    return int(text) if _NUMBER.fullmatch(text) else None


def canonical_uuid(text: str) -> str:
    """The canonical form of a UUID, with or without `urn:uuid:`; empty if it is none.

    All zeros are none: some firmware has that for all devices of a model.
    """
    bare = text.strip().lower().removeprefix("urn:uuid:").strip("{}")
    if not _UUID.fullmatch(bare):
        return ""
    parsed = UUID(bare)
    return str(parsed) if parsed.int else ""


def queue_name(name: str) -> str:
    """The queue that CUPS creates for a DNS-SD name: letters, digits and single underscores."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).removesuffix("_")
