"""Whether an answer without length and chunks looks whole.

USB has no end of a connection, so such an answer ends by silence; and a printer that
pauses in the middle is silent, too. Its first and last bytes tell most of the time.
Pure.
"""

from __future__ import annotations

import re
from typing import Final

FIRST: Final = 512  # as many of the first bytes are looked at
TAIL: Final = 64  # and of the last

_ENDS: Final[dict[str, bytes]] = {
    "application/ipp": b"\x03",  # end-of-attributes-tag (RFC 8010, 3.5.1)
    "application/pdf": b"%%EOF",
    "image/jpeg": b"\xff\xd9",
    "image/png": b"IEND\xaeB`\x82",
}
_XML: Final = frozenset(("application/xml", "text/xml", "text/html", "application/xhtml+xml"))
_ROOT: Final = re.compile(rb"<([A-Za-z][\w:.-]*)")


def looks_whole(content_type: str, first: bytes, tail: bytes) -> bool:
    """Whether a document of this type that begins with `first` may end with `tail`."""
    kind = content_type.partition(";")[0].strip().lower()
    end = _ENDS.get(kind)
    if end is not None:
        return tail.endswith(end) or tail.rstrip().endswith(end)
    root = _ROOT.search(first) if kind in _XML else None
    if root is None:
        return False
    return tail.rstrip().lower().endswith((b"</%b>" % root[1].lower(), b"/>"))
