"""Heads on their way through: the target of a request, the fields of an answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from ippusbd.errors import BadRequest, Refused
from ippusbd.proxy.aiohttp_server import NO_TYPE
from ippusbd.wire.http1 import Header, returnable, rewrite_location
from ippusbd.wire.http1_response import Head

NEEDS_HTTPS: Final = (
    "the printer insists on HTTPS, which USB does not have: switch it off in its network settings"
)
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_LINKS: Final = frozenset({"location", "content-location"})


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


def refuse_https(head: Head, method: str, asked: str, host: str) -> None:
    """Raises Refused for an answer that leads to where USB does not, or back to the URL `asked`.

    `host` is the name by which the printer was asked: it may send a browser to the same page there,
    with a cookie.
    """
    location = next((value for name, value in head.headers if name.lower() == "location"), "")
    if head.status == 426:
        raise Refused(NEEDS_HTTPS)
    leads_to = rewrite_location(location, base=_origin(asked)).partition("#")[0]
    if head.status not in REDIRECTS or leads_to != asked:
        return
    if _origin(location).startswith("https:"):
        raise Refused(NEEDS_HTTPS)
    repeats = method in ("GET", "HEAD") or head.status in (307, 308)
    if repeats and "//" in location and _origin(location) != f"http://{host}":
        raise Refused(
            f"the printer redirects to {_origin(location)[:80]}, which USB does not reach"
        )


def _origin(url: str) -> str:
    """Scheme and authority, in lower case; empty for what has none."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}".lower()


def answer_fields(head: Head, base: str) -> list[Header]:
    """The printer's header fields for a client; links lead to `base`."""
    fields = [
        (name, rewrite_location(value, base=base) if name.lower() in _LINKS else _utf8(value))
        for name, value in returnable(head.headers)
    ]
    if not any(name.lower() == "content-type" for name, _ in fields):
        fields.append(("Content-Type", NO_TYPE))
    return fields


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
