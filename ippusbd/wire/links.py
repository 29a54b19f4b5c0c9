"""URLs inside a printer's answers, rewritten so that the client can open them.

A printer uses the host name that it believes to have. In IPP its ipp: URIs
reveal that name; if it is foreign, every URI of that host is rewritten to the
address by which the client reached us. Links to other hosts (the maker's shop)
stay. In eSCL only the two links of the capabilities matter.

Pure. An answer that needs no change costs one search through its bytes.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from ippusbd.errors import BadIpp
from ippusbd.wire import ipp

_IPP_HOST: Final = re.compile(rb"ipps?://(\[[0-9A-Fa-f:.%]+\]|[^/:\s\x00-\x20]+)")
_XML_LINK: Final = re.compile(rb"(<(?:\w+:)?(?:AdminURI|IconURI)>\s*)https?://[^/<\s]+")
_LOCAL: Final = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})
_SCHEMES: Final = {"ipp": "ipp", "ipps": "ipp", "http": "http", "https": "http"}
_AUTHENTICATION: Final = "uri-authentication-supported"
_SECURE: Final = {"ipp": "ipps", "http": "https"}


def asking_for_passwords(content_type: str, body: bytes) -> bytes:
    """An IPP answer that declares HTTP Basic authentication for each of the printer's URIs."""
    if content_type != "application/ipp" or _AUTHENTICATION.encode() not in body:
        return body
    try:
        message, document_at = ipp.decode(body, tolerant=True)
    except BadIpp:
        return body
    groups = tuple(
        replace(group, attributes=tuple(_basic(each) for each in group.attributes))
        for group in message.groups
    )
    return ipp.encode(replace(message, groups=groups)) + body[document_at:]


def _basic(attribute: ipp.Attribute) -> ipp.Attribute:
    if attribute.name != _AUTHENTICATION:
        return attribute
    return replace(attribute, values=tuple(ipp.keyword("basic") for _ in attribute.values))


def rewritten(content_type: str, base: str, body: bytes) -> bytes:
    """`body` with the printer's own URLs on `base` (`http://HOST[:PORT]`), else as it is.

    With a base of https the client is on another machine, for which localhost is foreign, too.
    """
    if content_type == "application/ipp":
        return _ipp(body, base)
    if content_type in ("text/xml", "application/xml"):
        return _XML_LINK.sub(rb"\1" + base.encode("latin-1", "replace"), body)
    return body


def _ipp(body: bytes, base: str) -> bytes:
    scheme, authority, *_ = urlsplit(base)
    secure = scheme == "https"
    own = frozenset({authority.rpartition(":")[0].encode(), authority.encode()})
    here: frozenset[bytes] = frozenset() if secure else _LOCAL | own
    foreign = {host for host in _IPP_HOST.findall(body) if host.lower() not in here}
    if not foreign:
        return body
    try:
        message, document_at = ipp.decode(body, tolerant=True)
        hosts = {host.decode("latin-1").lower() for host in foreign}
        groups = tuple(_group(group, hosts, authority, secure=secure) for group in message.groups)
        return ipp.encode(replace(message, groups=groups)) + body[document_at:]
    except BadIpp:
        return body  # the client that asked will report the error


def _group(group: ipp.Group, hosts: set[str], authority: str, *, secure: bool) -> ipp.Group:
    attributes = tuple(
        replace(a, values=tuple(_value(v, hosts, authority, secure=secure) for v in a.values))
        for a in group.attributes
    )
    return replace(group, attributes=tuple(map(_over_tls, attributes)) if secure else attributes)


def _over_tls(attribute: ipp.Attribute) -> ipp.Attribute:
    """The URIs in an answer to a client of the network are protected by TLS."""
    if attribute.name != "uri-security-supported":
        return attribute
    return replace(attribute, values=tuple(ipp.keyword("tls") for _ in attribute.values))


def _value(value: ipp.Value, hosts: set[str], authority: str, *, secure: bool) -> ipp.Value:
    if value.tag != ipp.Tag.URI or value.text is None:
        return value
    try:
        parts = urlsplit(value.text)
    except ValueError:
        return value
    scheme = _SCHEMES.get(parts.scheme.lower())
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    if scheme is None or (name or "").lower() not in hosts:
        return value
    scheme = _SECURE[scheme] if secure else scheme
    return ipp.uri(parts._replace(scheme=scheme, netloc=authority).geturl())
