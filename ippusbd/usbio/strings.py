"""String descriptors as devices really send them. Bytes in, text out; never raises."""

from __future__ import annotations

ENGLISH_US = 0x0409  # what every device knows, whatever its language list says


def decode_languages(descriptor: bytes) -> int:
    """The first language id of string descriptor 0 (USB 2.0, 9.6.7)."""
    body = _body(descriptor)
    if len(body) < 2:
        return ENGLISH_US
    return int.from_bytes(body[:2], "little") or ENGLISH_US


def decode_string(descriptor: bytes) -> str:
    """UTF-16LE text; what is not UTF-16 becomes replacement characters."""
    body = _body(descriptor)
    return body[: len(body) & ~1].decode("utf-16-le", errors="replace").strip("\0 ")


def _body(descriptor: bytes) -> bytes:
    if len(descriptor) < 2 or descriptor[1] != 0x03:
        return b""
    return descriptor[2 : descriptor[0]]
