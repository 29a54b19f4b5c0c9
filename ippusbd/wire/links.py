"""URLs in a printer's answers, rewritten so that the client that asked can open them.

A printer uses the host name that it believes to have. Its ipp: URIs reveal that
name, and so do those of earlier answers (`PrinterHosts`): every URI of such a host
leads to the address by which the client reached us. Links to other hosts (the
maker's shop) stay. In eSCL only the two links of the capabilities matter; they may
be relative, which clients do not expect.

Pure, but for what `PrinterHosts` remembers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, Protocol
from urllib.parse import urljoin, urlsplit

from ippusbd.errors import BadIpp
from ippusbd.wire.ipp_codec import COUNT_MAX, sanitize
from ippusbd.wire.ipp_layout import Layouts, changed
from ippusbd.wire.ipp_stream import IppStream, fails_with_data

IPP: Final = "application/ipp"
XML: Final = ("text/xml", "application/xml")
HOSTS_MAX: Final = 16  # of one printer
LINK_BYTES: Final = 4096  # of an element with a link; a longer one passes as it is

_SCHEME: Final = re.compile(rb"(?:ipp|http)s?\Z", re.IGNORECASE)
_SCHEME_MAX: Final = len("https")
_AUTHORITY: Final = re.compile(rb"://[^/?#\x00-\x20]{1,255}(?![^/?#\x00-\x20])")
_ORIGIN: Final = re.compile(rb"(?:ipp|http)s?" + _AUTHORITY.pattern, re.IGNORECASE)
_IPP_HOST: Final = re.compile(rb"ipps?://(\[[0-9A-Fa-f:.%]+\]|[^:]+)", re.IGNORECASE)
_XML_LINK: Final = re.compile(  # never longer than LINK_BYTES
    rb"(<(?:[\w.-]{1,64}:)?(?:AdminURI|IconURI)(?:\s[^<>]{0,512})?>\s{0,64})"
    rb"([^<\s][^<]{0,2047}?)(?=\s{0,64}<)"
)
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1", "localhost.local", "ip6-localhost"})
_PLAIN: Final = {"ipp": "ipp", "ipps": "ipp", "http": "http", "https": "http"}
_SECURE: Final = {"ipp": "ipps", "ipps": "ipps", "http": "https", "https": "https"}
_PORTS: Final = {"ipp": 631, "ipps": 631, "http": 80, "https": 443}
_SECURITY, _AUTHENTICATION = b"uri-security-supported", b"uri-authentication-supported"


class Rewriter(Protocol):
    """Changes one answer: a `whole` one, or piece by piece."""

    def whole(self, body: bytes) -> bytes: ...

    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes:
        """What was held back; the answer is over."""


class PrinterHosts:
    """The names that one printer has for itself, in lower case; and the layouts of its answers."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = set(names)
        self.layouts = Layouts((_SECURITY, _AUTHENTICATION))

    def __contains__(self, name: str) -> bool:
        return name in self._names or (not self._names and _looks_local(name))

    def learn(self, body: bytes) -> None:
        """From the ipp: URIs of an answer."""
        for origin in _origins(body):
            if found := _IPP_HOST.match(origin):
                self.add(found[1].decode("latin-1").strip("[]").lower())

    def add(self, name: str) -> None:
        if name not in _LOCAL and len(self._names) < HOSTS_MAX:
            self._names.add(name)


def _looks_local(name: str) -> bool:
    """Before a printer has named itself: an address that the internet does not know."""
    try:
        return not ip_address(name.partition("%")[0]).is_global
    except ValueError:
        return "." not in name or name.endswith(".local")


def _origins(body: bytes) -> Iterator[bytes]:
    """The beginning of each link, `http://printer:80`.

    Looking for "://" first takes a twelfth of the time of a search for the schemes.
    """
    at = body.find(b"://")
    while at >= 0:
        scheme = _SCHEME.search(body, max(at - _SCHEME_MAX, 0), at)
        authority = _AUTHORITY.match(body, at)
        if scheme and authority:
            yield scheme[0] + authority[0]
        at = body.find(b"://", at + 1)


class _Base:
    """The address by which the client reached us, as in `https://desk.local:60000`."""

    def __init__(self, url: str, hosts: PrinterHosts) -> None:
        parts = urlsplit(url)
        self.secure = parts.scheme == "https"
        self._hosts = hosts
        self._schemes = _SECURE if self.secure else _PLAIN
        self._authority = parts.netloc
        self._name, self._port = (parts.hostname or ""), parts.port or _PORTS.get(parts.scheme)
        # On another machine localhost is foreign.
        self._local = frozenset() if self.secure else _LOCAL

    def ours(self, origin: bytes) -> bytes | None:
        """What a link of the printer begins with here; None: it is as it should be."""
        found, name, port = _address(origin)
        scheme = self._schemes.get(found)
        if scheme is None or not name:
            return None
        here = name == self._name or name in self._local
        if here and found == scheme and port == self._port:
            return None
        if found in ("ipp", "ipps"):  # a printer has these of itself alone
            self._hosts.add(name)
        elif not (here or name in _LOCAL or name in self._hosts):
            return None
        return f"{scheme}://{self._authority}".encode("latin-1", "replace")


@lru_cache(maxsize=64)  # the same few in every answer of a printer; bounded for hostile ones
def _address(origin: bytes) -> tuple[str, str, int | None]:
    """Scheme, name and port of a link with this beginning; the name is empty if it has none."""
    try:
        parts = urlsplit(origin.decode("latin-1"))
        return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return "", "", None


class IppLinks:
    """Rewrites an IPP answer to a client that asked for `url`.

    `password`: the client is to be told that we ask for one. With a `url` of https it is on
    another machine, where nothing but TLS leads to us. `good_data`: see IppStream.
    """

    def __init__(
        self,
        url: str,
        hosts: PrinterHosts,
        *,
        repair: bool = False,
        password: bool = False,
        good_data: bool = False,
    ) -> None:
        self._base = _Base(url, hosts)
        self._hosts = hosts
        self._repair = repair
        self._good_data = good_data
        self.keywords = {_SECURITY: b"tls" if self._base.secure else b"none"}
        if password:
            self.keywords[_AUTHENTICATION] = b"basic"
        self._stream = IppStream(self, repair=repair, good_data=good_data)

    def whole(self, body: bytes) -> bytes:
        self._hosts.learn(body)
        if self._repair:
            with suppress(BadIpp):  # the client that asked will report the error
                body = sanitize(body)
        if self._good_data and fails_with_data(body):
            stream = IppStream(self, repair=False, good_data=True)
            return stream.feed(body) + stream.finish()
        return changed(body, self._hosts.layouts.places(body), self)

    def feed(self, data: bytes) -> bytes:
        return self._stream.feed(data)

    def finish(self) -> bytes:
        return self._stream.finish()

    def uri(self, raw: bytes) -> bytes:
        origin = _ORIGIN.match(raw)
        ours = self._base.ours(origin[0]) if origin else None
        if origin is None or ours is None or len(raw) - origin.end() + len(ours) > COUNT_MAX:
            return raw
        return ours + raw[origin.end() :]


class XmlLinks:
    """Rewrites the links in an XML answer to a client that asked for `url`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._held = b""

    def whole(self, body: bytes) -> bytes:
        return self.feed(body) + self.finish()

    def feed(self, data: bytes) -> bytes:
        data = self._held + data
        last = data.rfind(b"<")  # all links before it are here to their end
        if last < 0 or len(data) - last > LINK_BYTES:
            self._held = b""
            return _XML_LINK.sub(self._rewritten, data)
        self._held = data[last:]
        return _XML_LINK.sub(self._rewritten, data[: last + 1])[:-1]

    def finish(self) -> bytes:
        rest, self._held = self._held, b""
        return rest

    def _rewritten(self, match: re.Match[bytes]) -> bytes:
        ours = resolved(match[2].decode("latin-1"), self._url)
        return match[1] + (match[2] if ours is None else ours.encode("latin-1", "replace"))


def resolved(link: str, url: str) -> str | None:
    """The URL here of a link in the document `url`, whatever host it names; None: it has none.

    Without a slash it is rather a word ("none") than a path.
    """
    if "/" not in link:
        return None
    try:
        absolute, base = urlsplit(urljoin(url, link.strip())), urlsplit(url)
    except ValueError:
        return None
    if absolute.scheme not in ("http", "https"):
        return None
    return absolute._replace(scheme=base.scheme, netloc=base.netloc).geturl()


def rewriter(
    content_type: str,
    url: str,
    hosts: PrinterHosts,
    *,
    repair: bool = False,
    password: bool = False,
    good_data: bool = False,
) -> Rewriter | None:
    """What rewrites an answer of this type to a client that asked for `url`; None: nothing."""
    if content_type == IPP:
        return IppLinks(url, hosts, repair=repair, password=password, good_data=good_data)
    return XmlLinks(url) if content_type in XML else None
