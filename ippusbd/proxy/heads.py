"""Heads on their way through: the target of a request, the fields of an answer.

Pure. Knows how aiohttp writes headers; imports nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from ippusbd.errors import BadRequest
from ippusbd.wire.http1 import Header, returnable, rewrite_location
from ippusbd.wire.http1_response import Head

NO_TYPE: Final = ""  # the place of a Content-Type that the printer did not send
_LINKS: Final = frozenset({"location", "content-location"})


def origin_form(method: str, target: str) -> str:
    """A request target as a path. Raises BadRequest for CONNECT and `*`."""
    if method == "CONNECT":
        raise BadRequest("CONNECT is not for printers")
    if target.startswith("/"):
        return target
    parts = urlsplit(target)
    if parts.scheme not in ("http", "ipp"):
        raise BadRequest(f"the request target {target[:80]!r} is not a path")
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def refuse_ambiguous(version: tuple[int, int], headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises BadRequest for framing that a printer may take otherwise than the server under us.

    Transfer codings but chunked would reach the printer undone and unsaid; some firmware reads
    names with underscores as CGI does; before HTTP/1.0 there were no headers.
    """
    if version < (1, 0):
        raise BadRequest("HTTP before 1.0 is not spoken here")
    for name, value in headers:
        like = name.lower().replace(b"_", b"-")
        if like == b"transfer-encoding" and value.strip().lower() != b"chunked":
            raise BadRequest("no transfer coding but chunked is known here")
        if like in (b"content-length", b"transfer-encoding") and b"_" in name:
            raise BadRequest("a header field looks like one that frames the body")


def answer_fields(head: Head, base: str) -> list[Header]:
    """What a client gets of the printer's fields; links lead to `base`."""
    fields = [
        (name, rewrite_location(value, base=base) if name.lower() in _LINKS else _utf8(value))
        for name, value in returnable(head.headers)
    ]
    if not any(name.lower() == "content-type" for name, _ in fields):
        fields.append(("Content-Type", NO_TYPE))
    return fields


def media_type(head: Head) -> str:
    """The answer's Content-Type without parameters, in lower case; empty if it says none."""
    value = next((v for n, v in head.headers if n.lower() == "content-type"), "")
    return value.split(";")[0].strip().lower()


def _utf8(value: str) -> str:
    """aiohttp writes headers as UTF-8: bytes that are so stay as they are, others become it."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return value
