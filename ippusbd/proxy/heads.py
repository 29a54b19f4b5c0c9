"""Heads on their way through: the target of a request, the fields of an answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from ippusbd.errors import BadRequest
from ippusbd.proxy.aiohttp_server import NO_TYPE
from ippusbd.wire.http1 import Header, returnable, rewrite_location, rewrite_refresh
from ippusbd.wire.http1_response import Head

_LINKS: Final = frozenset({"location", "content-location"})
_COOKIE_DOMAIN: Final = re.compile(r";\s*domain\s*=[^;]*", re.IGNORECASE)


def origin_form(method: str, target: str) -> str:
    """A request target as a path. Raises BadRequest for CONNECT and `*`."""
    if method == "CONNECT":
        raise BadRequest("CONNECT is not supported")
    if target.startswith("/"):
        return target
    parts = urlsplit(target)
    if parts.scheme not in ("http", "ipp"):
        raise BadRequest(f"the request target {target[:80]!r} is not a path")
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def refuse_ambiguous(version: tuple[int, int], headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises BadRequest for framing that a printer may interpret differently than aiohttp.

    Transfer codings other than chunked would reach the printer undecoded and undeclared; some
    firmware reads names with underscores as CGI does; before HTTP/1.0 there were no headers.
    """
    if version < (1, 0):
        raise BadRequest("HTTP before 1.0 is not supported")
    for name, value in headers:
        like = name.lower().replace(b"_", b"-")
        if like == b"transfer-encoding" and value.strip().lower() != b"chunked":
            raise BadRequest("transfer codings other than chunked are not supported")
        if like in (b"content-length", b"transfer-encoding") and b"_" in name:
            raise BadRequest("a header field looks like Content-Length or Transfer-Encoding")


def answer_fields(head: Head, base: str) -> list[Header]:
    """The printer's header fields for a client; links lead to `base`."""
    fields = [
        (name, _utf8(_for_client(name.lower(), value, base)))
        for name, value in returnable(head.headers)
    ]
    if not any(name.lower() == "content-type" for name, _ in fields):
        fields.append(("Content-Type", NO_TYPE))
    return fields


def _for_client(name: str, value: str, base: str) -> str:
    if name in _LINKS:
        return rewrite_location(value, base=base)
    if name == "refresh":
        return rewrite_refresh(value, base=base)
    # The printer's name is not ours: without a domain a cookie is for the host that was asked.
    return _COOKIE_DOMAIN.sub("", value) if name == "set-cookie" else value


def media_type(head: Head) -> str:
    """The answer's Content-Type without parameters, in lower case; empty if it has none."""
    value = next((v for n, v in head.headers if n.lower() == "content-type"), "")
    return value.split(";")[0].strip().lower()


def _utf8(value: str) -> str:
    """aiohttp writes headers as UTF-8: valid UTF-8 is kept, other bytes are taken for Latin-1."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return value
