"""Web pages must not reach a printer: neither by a name of their own, nor from another site.

A page whose name is made to point here (DNS rebinding) is of the printer's own
origin for the browser, and gives itself away only by the Host that it names. So
Host must be a name that nobody else can own: localhost, an address that cannot
be rebound, a name we announce, or one from the configuration. A page of another
origin gives itself away by Origin and by Sec-Fetch-*, which pages cannot set;
it may lead its visitor to the printer's pages, and nothing else.

Programs that are no browsers send neither field. Clients of Unix sockets are
not asked: no browser opens one, and CUPS names the socket's path as its host.

Pure. Knows Fetch and RFC 6454.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

# What resolves to this machine alone, and the name that our records carry.
OWN_NAMES: Final = frozenset({"localhost", "localhost.local", "ip6-localhost"})
ANY: Final = "*"
HARMLESS: Final = frozenset({"GET", "HEAD"})
_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+(?:%[\w.-]+)?)\]|([\w.-]+))(?::\d*)?", re.ASCII)
_OWN_SITE: Final = frozenset({"same-origin", "none"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a request that must not reach the printer."""

    status: int
    reason: str


def refused_host(host: str | None, local_address: str, names: frozenset[str]) -> Refusal | None:
    """Whether a request to `local_address` that names `host` was meant for us; None: it was.

    `names` are further ones that are ours, in lower case; ANY among them: whatever it names.
    Without a Host (HTTP/1.0) it was no browser's.
    """
    if host is None or ANY in names:
        return None
    name = _name(host)
    if name in OWN_NAMES or name in names or _is_here(name, local_address):
        return None
    return Refusal(
        421,
        f"this printer does not go by the name {name[:80]!r}; names of your own can be allowed with"
        " `hosts` in the section [http] of the configuration",
    )


def refused_site(method: str, headers: Mapping[str, str], scheme: str = "http") -> Refusal | None:
    """Whether another site's page is behind a request; None: none is, or it only leads here."""
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site is not None:
        # An Origin of a page's own site is "null" when its referrer policy says so.
        foreign = site not in _OWN_SITE or origin not in (None, "null", _own(scheme, headers))
    else:
        foreign = origin not in (None, _own(scheme, headers))
    if not foreign or _leads_here(method, headers):
        return None
    return Refusal(403, "pages of other sites may not use this printer")


def _leads_here(method: str, headers: Mapping[str, str]) -> bool:
    """Somebody follows a link in a window of his own; not a frame, a picture or a script."""
    mode, target = headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")
    return method in HARMLESS and mode == "navigate" and target == "document"


def _own(scheme: str, headers: Mapping[str, str]) -> str:
    return f"{scheme}://{headers.get('Host', '').lower()}"


def _name(host: str) -> str:
    """The name or address in a Host field, without port, brackets and root dot."""
    match = _HOST.fullmatch(host.strip().lower())
    return (match[1] or match[2]).removesuffix(".") if match else host


def _is_here(name: str, local_address: str) -> bool:
    """An address of loopback, or the very one that was connected to."""
    try:
        address = ip_address(name.partition("%")[0])
        return address.is_loopback or address == ip_address(local_address.partition("%")[0])
    except ValueError:
        return False
