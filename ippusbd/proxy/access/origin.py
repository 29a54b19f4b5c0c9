"""Keeps web pages away from a printer: pages of other sites, and those that rebind a DNS name.

For the browser a page whose name resolves to this machine (DNS rebinding) has the
printer's own origin; only its Host field reveals it. So Host must be a name that
nobody else can own: localhost, an address of this machine, an announced name, or
one from the configuration. A page of another origin is recognised by Origin and by
Sec-Fetch-*, which pages cannot set; it may link to the printer's pages, nothing else.

Browsers send Sec-Fetch-* to `localhost` and loopback addresses only, and another host may claim
`localhost.local` with multicast DNS. So under that name browsers are redirected to `localhost`.

Programs that are not browsers send none of these fields. Clients of Unix sockets are not
checked: no browser opens one, and CUPS sends the socket's path as Host.

Pure. Knows Fetch and RFC 6454.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from ippusbd.kinds import Diagnosis, Kind

# Names that resolve to this machine alone, and the one in our DNS-SD records.
OWN_NAMES: Final = frozenset({"localhost", "localhost.local", "ip6-localhost"})
UNTRUSTED_NAMES: Final = OWN_NAMES - {"localhost"}  # by browsers: Secure Contexts, 3.1
ANY: Final = "*"
HARMLESS: Final = frozenset({"GET", "HEAD"})
_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+(?:%[\w.-]+)?)\]|([\w.-]+))(?::\d*)?", re.ASCII)
_PORT: Final = re.compile(r":\d+$", re.ASCII)
_OWN_SITE: Final = frozenset({"same-origin", "none"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """The response to a request that must not reach the printer."""

    status: int
    reason: Diagnosis
    location: str = ""  # of a redirect


def refused_host(host: str | None, local_address: str, names: frozenset[str]) -> Refusal | None:
    """Why a request to `local_address` with the Host `host` is refused; None: it is not.

    `names` are further allowed names, in lower case; ANY among them allows every name. A request
    without Host (HTTP/1.0) does not come from a browser.
    """
    if host is None or ANY in names:
        return None
    name = _name(host)
    if name in OWN_NAMES or name in names or _is_here(name, local_address):
        return None
    return Refusal(421, Kind.HOST.of(name=name[:80]))


def refused_site(method: str, headers: Mapping[str, str], scheme: str = "http") -> Refusal | None:
    """Why a request of another site's page is refused; None: it is not, or only links here."""
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site is not None:
        # An Origin of a page's own site is "null" when its referrer policy says so.
        foreign = site not in _OWN_SITE or origin not in (None, "null", _own(scheme, headers))
    else:
        foreign = origin not in (None, _own(scheme, headers))
    if not foreign or _is_navigation(method, headers):
        return None
    return Refusal(403, Kind.WEB_PAGE.of())


def refused_browser(
    method: str, target: str, headers: Mapping[str, str], names: frozenset[str]
) -> Refusal | None:
    """Where a browser is redirected, or why its request is refused; None: it is neither.

    `names` are the configured ones: under these everybody is served.
    """
    host = headers.get("Host", "")
    name = _name(host)
    if name not in UNTRUSTED_NAMES or name in names or ANY in names or not _is_browser(headers):
        return None
    port = _PORT.search(host)
    url = f"http://localhost{port[0] if port else ''}"
    if method in HARMLESS:
        return Refusal(307, Kind.BROWSER_NAME.of(url=url), url + target)
    return Refusal(403, Kind.BROWSER_NAME.of(url=url))


def _is_browser(headers: Mapping[str, str]) -> bool:
    """Without Sec-Fetch-*. Pages cannot remove Accept-Language; CUPS and SANE do not send it."""
    is_browser = (
        headers.get("User-Agent", "").startswith("Mozilla/") or "Accept-Language" in headers
    )
    return is_browser and "Sec-Fetch-Site" not in headers


def _is_navigation(method: str, headers: Mapping[str, str]) -> bool:
    """A link that is followed in a top-level window; not a frame, a picture or a script."""
    mode, target = headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")
    return method in HARMLESS and mode == "navigate" and target == "document"


def _own(scheme: str, headers: Mapping[str, str]) -> str:
    return f"{scheme}://{headers.get('Host', '').lower()}"


def _name(host: str) -> str:
    """The name or address in a Host field, without port, brackets and root dot."""
    match = _HOST.fullmatch(host.strip().lower())
    return (match[1] or match[2]).removesuffix(".") if match else host


def _is_here(name: str, local_address: str) -> bool:
    """A loopback address, or the one that the client connected to."""
    try:
        address = ip_address(name.partition("%")[0])
        return address.is_loopback or address == ip_address(local_address.partition("%")[0])
    except ValueError:
        return False
