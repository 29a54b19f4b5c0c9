"""printer-state and its reasons in an IPP answer that passes by, found without decoding it.

An answer may be 100 KB long and pass a hundred times a second; the two attributes are
found by their encoding (RFC 8010, 3.1): tag, name-length, name, value-length, value, and
further values with a name-length of 0. Pure.
"""

from __future__ import annotations

from typing import Final

_STATE: Final = b"\x23\x00\x0dprinter-state\x00\x04"
_REASONS: Final = b"\x44\x00\x15printer-state-reasons"
_MORE: Final = b"\x44\x00\x00"
REASONS_MAX: Final = 64
REASON_BYTES: Final = 255


def printer_state(body: bytes) -> tuple[int, tuple[str, ...]] | None:
    """printer-state and printer-state-reasons ("none" left out); None: it says neither."""
    at = body.find(_STATE)
    if at < 0 or len(body) < at + len(_STATE) + 4:
        return None
    state = int.from_bytes(body[at + len(_STATE) : at + len(_STATE) + 4], "big")
    return state, _reasons(body)


def _reasons(body: bytes) -> tuple[str, ...]:
    at = body.find(_REASONS)
    if at < 0:
        return ()
    at += len(_REASONS)
    found: list[str] = []
    while len(found) < REASONS_MAX:
        length = int.from_bytes(body[at : at + 2], "big")
        value = body[at + 2 : at + 2 + length]
        if not 0 < length <= REASON_BYTES or len(value) < length:
            break
        found.append(value.decode("ascii", "replace"))
        at += 2 + length
        if body[at : at + 3] != _MORE:
            break
        at += 3
    return tuple(dict.fromkeys(reason for reason in found if reason != "none"))
