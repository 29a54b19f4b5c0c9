"""Whether an answer without length and chunks looks whole.

USB has no end of a connection, so such an answer ends by silence; and a printer that
pauses in the middle is silent, too. The last bytes of a document tell most of the time.
Pure.
"""

from __future__ import annotations

from typing import Final

TAIL: Final = 64  # as many of the last bytes are looked at

_ENDS: Final[dict[str, tuple[bytes, ...]]] = {
    "application/ipp": (b"\x03",),  # end-of-attributes-tag (RFC 8010, 3.5.1)
    "application/pdf": (b"%%EOF",),
    "application/xml": (b">",),
    "image/jpeg": (b"\xff\xd9",),
    "image/png": (b"IEND\xaeB`\x82",),
    "text/html": (b"</html>", b"</HTML>"),
    "text/xml": (b">",),
}


def looks_whole(content_type: str, tail: bytes) -> bool:
    """Whether a document of this type may end with `tail`."""
    ends = _ENDS.get(content_type.partition(";")[0].strip().lower(), ())
    return bool(ends) and (tail.endswith(ends) or tail.rstrip().endswith(ends))
