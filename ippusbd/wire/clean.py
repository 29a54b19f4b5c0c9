"""Strings of a device made fit for DNS-SD: one line, printable, of bounded length in bytes.

`sanitize` decides what is printable; this module counts in bytes of UTF-8, as
DNS-SD and IPP do, and knows what a UUID looks like.
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from ippusbd.wire import text as sanitize

TEXT_BYTES: Final = 1023  # the longest text of IPP (RFC 8011, 5.1.2)

_UUID: Final = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.ASCII)


def printable(text: str, limit_bytes: int = TEXT_BYTES) -> str:
    """`text` on one line without anything unprintable, at most that many bytes of UTF-8."""
    return clip(sanitize.printable(text, len(text)), limit_bytes)


def clip(text: str, limit_bytes: int) -> str:
    """At most that many bytes of UTF-8, cut between characters and then trimmed."""
    return text.encode("utf-8", "replace")[:limit_bytes].decode("utf-8", "ignore").strip()


def uuid(text: str) -> str:
    """The canonical form of a UUID, with or without `urn:uuid:`; empty if it is none.

    All zeros are none: several firmwares have that for all their devices.
    """
    bare = text.strip().lower().removeprefix("urn:uuid:").strip("{}")
    if not _UUID.fullmatch(bare):
        return ""
    parsed = UUID(bare)
    return str(parsed) if parsed.int else ""
