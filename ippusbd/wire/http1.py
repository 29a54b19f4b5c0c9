"""Request heads for the printer, and which header fields are forwarded either way.

No hop-by-hop field, no Expect and no foreign Host may reach a printer: several
refuse any Host but localhost (OKI, Canon TR4500; Epson needs the port), and
some firmware knows only Title-Case names.

Invariant: an encoded head is one head. No name, value or target can start a
second field or a second request, and the framing is declared once, by us.
Texts are Latin-1, one character a byte. Knows RFC 9110 and 9112.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from enum import Enum
from functools import lru_cache
from typing import Final

from ippusbd.errors import BadRequest

Header = tuple[str, str]

LAST_CHUNK: Final = b"0\r\n\r\n"
BODILESS: Final = frozenset(("GET", "HEAD", "DELETE", "OPTIONS", "TRACE"))  # methods
TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2: methods and names

_HOP_BY_HOP: Final = frozenset(
    ("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings")
)
_FRAMING: Final = frozenset(("content-length", "transfer-encoding"))
# What a printer wants for its own host name: from us it would hold for all of this machine's ports.
_OF_ITS_HOST: Final = frozenset(("strict-transport-security", "alt-svc"))
_NEVER_RETURNED: Final = _HOP_BY_HOP | _FRAMING | _OF_ITS_HOST
_NEVER_FORWARDED: Final = _HOP_BY_HOP | _FRAMING | {"host", "expect"}

_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TARGET: Final = re.compile(r"/[\x21-\x7e]*|\*")
_OF_PAGES: Final = frozenset(("Origin", "Referer"))
_ORIGIN: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_ABSOLUTE: Final = re.compile(r"(?:(?:https?|ipps?):)?//[^/?#\\]*", re.IGNORECASE)
REFRESH: Final = re.compile(
    r"\s*(?P<delay>[0-9.]{1,20})\s*[;,]\s*(?:url\s*=\s*)?[\"']?(?P<url>.*)", re.IGNORECASE
)

# RFC 9110 8.6: methods with content declare a length of 0, too; firmware answers 411 otherwise.
_EXPECT_CONTENT: Final = frozenset(("POST", "PUT", "PATCH"))

_SPELLINGS: Final = {
    "content-id": "Content-ID",
    "content-md5": "Content-MD5",
    "dav": "DAV",
    "dnt": "DNT",
    "etag": "ETag",
    "mime-version": "MIME-Version",
    "sec-gpc": "Sec-GPC",
    "soapaction": "SOAPAction",
    "te": "TE",
    "www-authenticate": "WWW-Authenticate",
    "x-ua-compatible": "X-UA-Compatible",
    "x-xss-protection": "X-XSS-Protection",
}


class Framing(Enum):
    """How a request declares where its body ends."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"


def forwardable(
    headers: Iterable[Header], *, host: str, origins: Collection[str] = ()
) -> list[Header]:
    """The fields for the printer: `Host: host`, then those of the client in its order.

    Origin and Referer of a page that we served, at one of `origins`, name `host`, too: a console
    refuses forms whose origin is not the host that was asked.
    Raises BadRequest for a name that is not a token and for control characters in a value.
    """
    fields = list(headers)
    dropped = _named_by_connection(fields) | _NEVER_FORWARDED
    kept = [("Host", _checked_value("Host", host))]
    for name, value in fields:
        title = _title_case(name)
        if not _is_dropped(title.lower(), dropped):
            if title in _OF_PAGES:
                value = _same_origin(value, origins, host)
            kept.append((title, _checked_value(title, value)))
    return kept


def _same_origin(url: str, origins: Collection[str], host: str) -> str:
    """`url` at `host` where its origin is one of `origins`."""
    found = _ORIGIN.match(url)
    if found is None or found[0].lower() not in origins:
        return url
    return f"http://{host}{url[found.end() :]}"


def returnable(headers: Iterable[Header]) -> list[Header]:
    """The printer's fields that go to the client; the server adds the framing."""
    fields = list(headers)
    dropped = _named_by_connection(fields) | _NEVER_RETURNED
    return [(name, value) for name, value in fields if not _is_dropped(name.lower(), dropped)]


def overridden(headers: Iterable[Header], own: Collection[Header]) -> list[Header]:
    """`headers` with the fields of `own` instead; one of `own` without a value is left out."""
    names = {name.lower() for name, _ in own}
    kept = [(name, value) for name, value in headers if name.lower() not in names]
    return kept + [(_title_case(name), value) for name, value in own if value]


def may_override(name: str) -> bool:
    """Whether `overridden` may change the field: the framing and the connection are ours."""
    return bool(TOKEN.fullmatch(name)) and not _is_dropped(name.lower(), set(_NEVER_FORWARDED))


def encode_request(
    method: str,
    target: str,
    headers: Iterable[Header],
    *,
    framing: Framing,
    length: int = 0,
    connection: str | None = None,
) -> bytes:
    """A complete request head; `headers` as `forwardable` leaves them, without framing.

    `connection` is the value of a Connection field, which some printers need (quirk `connection`).
    Raises BadRequest for anything that would not be one well-formed head.
    """
    if not TOKEN.fullmatch(method):
        raise BadRequest(f"not a method: {method[:40]!r}")
    if not _TARGET.fullmatch(target) or (target == "*" and method != "OPTIONS"):
        raise BadRequest(f"not a request target: {target[:80]!r}")
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [_line(name, value) for name, value in headers]
    lines += [f"{name}: {value}" for name, value in _own_fields(method, framing, length)]
    if connection is not None:
        lines.append(_line("Connection", connection))
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of a chunked body; nothing for no data, which would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def rewrite_location(value: str, *, base: str) -> str:
    """A Location or Content-Location that the client can follow.

    Printers name a port, address or host that a client cannot reach (Deskjet 3520), so any
    authority of an HTTP or IPP URL becomes `base`, as in `http://localhost:60000`.
    Relative references and other schemes stay as they are.
    """
    value = value.strip()
    absolute = _ABSOLUTE.match(value)
    if absolute is None:
        return value
    rest = value[absolute.end() :]
    return base.rstrip("/") + (rest if rest.startswith("/") else "/" + rest)


def rewrite_refresh(value: str, *, base: str) -> str:
    """A Refresh with the URL that the client can follow: `5; url=http://printer/status`."""
    found = REFRESH.fullmatch(value)
    if found is None:
        return value
    return value[: found.start("url")] + rewrite_location(found["url"], base=base)


def _own_fields(method: str, framing: Framing, length: int) -> list[Header]:
    if framing is Framing.CHUNKED:
        return [("Transfer-Encoding", "chunked")]
    if framing is Framing.LENGTH:
        return [("Content-Length", str(length))]
    return [("Content-Length", "0")] if method in _EXPECT_CONTENT else []


def _line(name: str, value: str) -> str:
    if not TOKEN.fullmatch(name) or name.lower() in _FRAMING:
        raise BadRequest(f"not a field of a request: {name[:40]!r}")
    return f"{name}: {_checked_value(name, value)}"


def _checked_value(name: str, value: str) -> str:
    if not _VALUE.fullmatch(value):
        raise BadRequest(f"the value of {name[:40]} has characters that a header may not have")
    return value


def _named_by_connection(fields: list[Header]) -> set[str]:
    values = [value for name, value in fields if name.lower() == "connection"]
    return {token.strip().lower() for value in values for token in value.split(",")}


def _is_dropped(lower: str, dropped: set[str]) -> bool:
    return lower in dropped or lower.startswith("proxy-")


@lru_cache(maxsize=256)  # the same dozen names in every request; bounded for hostile ones
def _title_case(name: str) -> str:
    if not TOKEN.fullmatch(name):
        raise BadRequest(f"not a header name: {name[:40]!r}")
    lower = name.lower()
    return _SPELLINGS.get(lower) or "-".join(part.capitalize() for part in lower.split("-"))
