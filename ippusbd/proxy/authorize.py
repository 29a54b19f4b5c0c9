"""A request is let through, or refused in words that its program shows.

CUPS shows the status-message of an IPP answer; everything else understands 403.

Knows aiohttp's answers; the rules are `access`'s.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from ippusbd.errors import BadIpp
from ippusbd.proxy.access.rules import (
    HEAD_BYTES,
    IPP,
    Access,
    Asked,
    Kind,
    asked,
    is_ipp,
    not_authorized,
)
from ippusbd.proxy.fast_aiohttp_import import no_certificates
from ippusbd.proxy.requests import ClientRequest
from ippusbd.wire import ipp_requests

with no_certificates():
    from aiohttp import web

log = logging.getLogger("ippusbd.http")

_VERBS = {
    Kind.PRINT: "print on",
    Kind.SCAN: "scan with",
    Kind.FAX: "send faxes with",
    Kind.CONFIG: "configure",
}


async def refusal(client: ClientRequest, access: Access, start: bytes) -> web.Response | None:
    """The answer to who may not do this; None: he may. `start` is as `with_head` gave it."""
    request = client.web
    what = asked(request.method, client.target, client.content_types, start)
    await client.identify(by_group=access.by_group)
    identity = client.identity
    refused = access.refuses(what, identity.uid, identity.gids or frozenset())
    if not refused:
        return None
    reason = f"{identity.text} may not {' or '.join(_VERBS[kind] for kind in refused)} this printer"
    log.warning("%s: refused: %s", client, reason)
    return _answer(what, refused, reason)


async def with_head(
    client: ClientRequest, start: bytes, rest: AsyncIterator[bytes] | None
) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """As much of a body as tells what it is, and its rest. Raises ClientGone."""
    if not is_ipp(client.target, client.content_types):
        return start, rest
    return await client.read_until(_is_enough, start, rest)


def _is_enough(start: bytes) -> bool:
    try:
        return len(start) >= HEAD_BYTES or ipp_requests.head(start) is not None
    except BadIpp:
        return True


def _answer(what: Asked, refused: list[Kind], reason: str) -> web.Response:
    if what.head is not None and not {Kind.SCAN, Kind.CONFIG} & set(refused):
        body = not_authorized(what.head, reason)
        return web.Response(body=body, content_type=IPP)
    response = web.Response(status=403, text=f"ippusbd: {reason}\n")
    response.force_close()
    return response
