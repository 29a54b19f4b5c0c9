"""Applies the access rules to a request, and words the denial so that its program shows it.

CUPS shows the status-message of an IPP response; everything else understands 403.

Knows aiohttp's responses; the rules themselves are in `access`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from ippusbd import kinds
from ippusbd.errors import BadIpp
from ippusbd.kinds import Diagnosis
from ippusbd.proxy.access.rules import (
    HEAD_BYTES,
    IPP,
    Access,
    Activity,
    Asked,
    asked,
    is_ipp,
    not_authorized,
)
from ippusbd.proxy.aiohttp_server import told, web
from ippusbd.proxy.requests import ClientRequest
from ippusbd.wire import ipp_requests

log = logging.getLogger("ippusbd.http")

_VERBS = {
    Activity.PRINT: "print on",
    Activity.SCAN: "scan with",
    Activity.FAX: "send faxes with",
    Activity.CONFIG: "configure",
}


async def denial(client: ClientRequest, access: Access, start: bytes) -> web.Response | None:
    """The response to a client that is not allowed this; None: it is. `start`: see `with_head`."""
    request = client.web
    what = asked(request.method, client.target, client.content_types, start)
    await client.identify(by_group=access.by_group)
    identity = client.identity
    denied = access.refuses(what, identity.uid, identity.gids or frozenset())
    if not denied:
        return None
    verbs = " or ".join(_VERBS[activity] for activity in denied)
    reason = kinds.Kind.DENIED.of(who=identity.text, what=verbs)
    log.warning("%s: denied: %s", client, reason)
    return _response(what, denied, reason)


async def with_head(
    client: ClientRequest, start: bytes, rest: AsyncIterator[bytes] | None
) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """As much of a body as classifies the request, and its rest. Raises ClientGone."""
    if not is_ipp(client.target, client.content_types):
        return start, rest
    return await client.read_until(_is_enough, start, rest)


def _is_enough(start: bytes) -> bool:
    try:
        return len(start) >= HEAD_BYTES or ipp_requests.head(start) is not None
    except BadIpp:
        return True


def _response(what: Asked, denied: list[Activity], reason: Diagnosis) -> web.Response:
    if what.head is not None and not {Activity.SCAN, Activity.CONFIG} & set(denied):
        body = not_authorized(what.head, reason.text)
        return web.Response(body=body, content_type=IPP)
    response = told(403, reason)
    response.force_close()
    return response
