"""Text that a device or a client chose, made safe for logs, names, terminals and paths.

Firmware is the attacker: a product string may carry terminal escapes, a
serial number may be `../../etc/passwd`, an answer may be half UTF-8.

Invariants: what leaves here holds no control, format or unassigned character,
is no longer than asked, and is left alone when it is cleaned once more;
different texts give different file names. Knows nothing of the project.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

ELLIPSIS: Final = "…"
FILE_PART_LIMIT: Final = 80  # characters; leaves room for a suffix below NAME_MAX
DIGEST_DIGITS: Final = 12

_ESCAPES: Final = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    "|\x1b[\\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\\\)"  # OSC, DCS: titles, clipboard, links
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_BLANKS: Final = re.compile(r"\s+")
_NOT_IN_FILE_NAMES: Final = re.compile(r"[^A-Za-z0-9_.-]")


def printable(text: str, limit: int) -> str:
    """`text` on one line without terminal escapes, at most `limit` characters long.

    White space of any kind becomes one blank, bytes that were no UTF-8 become U+FFFD, all else
    that has no shape on paper is dropped; a cut is marked by an ellipsis.
    """
    text = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", _ESCAPES.sub("", text))
    text = _BLANKS.sub(" ", text)
    text = text if text.isprintable() else "".join(filter(str.isprintable, text))
    text = _BLANKS.sub(" ", text).strip()  # a dropped character may have stood between blanks
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + ELLIPSIS[:limit]


def decoded(data: bytes) -> str:
    """UTF-8 where it is that, else Latin-1: every byte string is some text."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def file_part(text: str) -> str:
    """One component of a path, of letters, digits, `_`, `.` and `-`; never empty or hidden.

    A text that had to be changed gets digits of its hash, so that no two share a file.
    """
    safe = _NOT_IN_FILE_NAMES.sub("_", text).lstrip(".")
    if safe == text and 0 < len(text) <= FILE_PART_LIMIT - DIGEST_DIGITS - 1:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_DIGITS]
    return f"{safe[: FILE_PART_LIMIT - DIGEST_DIGITS - 1] or '_'}-{digest}"
