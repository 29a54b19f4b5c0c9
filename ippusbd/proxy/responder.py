"""A request's way through the proxy: checked, read, authorized, forwarded; or refused.

While there is no printer the response is 503 with Retry-After: CUPS then waits, whereas 404
would stop its queue and 403 hold it.

Knows aiohttp's responses; `forward` does the exchange with the printer.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from ippusbd.errors import BadRequest, ClientGone, IppUsbError, NoInterface, Refused
from ippusbd.kinds import Diagnosis, Kind
from ippusbd.proxy import authorize
from ippusbd.proxy.access.network import CHALLENGE, Busy
from ippusbd.proxy.access.origin import Refusal, refused_browser, refused_host, refused_site
from ippusbd.proxy.admission.connection_limit import Doing
from ippusbd.proxy.aiohttp_server import told, web
from ippusbd.proxy.forward import Forwarder
from ippusbd.proxy.requests import ClientRequest
from ippusbd.proxy.settings import SiteSettings

log = logging.getLogger("ippusbd.http")


class Responder:
    """Answers requests; `forwarder` is the way to the printer, None while it is away."""

    def __init__(self, settings: SiteSettings) -> None:
        self._settings = settings
        self.forwarder: Forwarder | None = None
        self.reason = Kind.STARTING.of()  # why there is no forwarder
        self.refused: Diagnosis | None = None  # what the printer keeps from clients

    async def respond(self, client: ClientRequest) -> web.StreamResponse:
        """The response to `client`, whatever happens."""
        try:
            return await self._answer(client)
        except ClientGone as exc:
            log.info("%s: %s", client, exc)
            return client.hang_up()
        except BadRequest as exc:
            log.info("%s: refused: %s", client, exc)
            response = told(exc.http_status, exc.diagnosis)
            response.force_close()  # what follows is not read
            return response
        except (NoInterface, Busy) as exc:
            return self._unavailable(exc.diagnosis)
        except IppUsbError as exc:
            log.warning("%s: %s", client, exc)
            if isinstance(exc, Refused):
                self.refused = exc.diagnosis
            if exc.http_status == 503:
                return self._unavailable(exc.diagnosis)
            return told(exc.http_status, exc.diagnosis)
        finally:
            client.is_at(Doing.NOTHING)
            client.waits_with(None)

    async def _answer(self, client: ClientRequest) -> web.StreamResponse:
        settings = self._settings
        client.check()
        refused = await self._refusal(client)
        if refused is not None:
            return _refused(client, refused)
        forwarder = self.forwarder
        if forwarder is None:
            text = f"the printer is not ready: {self.reason}"
            return self._unavailable(replace(self.reason, text=text))
        client.ask_for_body()
        start, rest = await client.read_small(settings.small_body)
        if not settings.access.unrestricted:
            start, rest = await authorize.with_head(client, start, rest)
            denied = await authorize.denial(client, settings.access, start)
            if denied is not None:
                return denied
        return await forwarder.forward(client, start, rest)

    async def _refusal(self, client: ClientRequest) -> Refusal | None:
        """Why a request is refused by its head alone: its Host, its origin, its password."""
        network, request = self._settings.network, client.web
        if not client.is_remote:
            return _web_page(client, self._settings.hosts)
        return _web_page(client, self._settings.hosts | network.names) or await network.refusal(
            client.target, request.headers.get("Authorization"), client.identity.owner
        )

    def _unavailable(self, reason: Diagnosis) -> web.Response:
        response = told(503, reason)
        response.headers["Retry-After"] = str(self._settings.retry_after_s)
        return response


def _web_page(client: ClientRequest, names: frozenset[str]) -> Refusal | None:
    """Whether a web page that must not use this printer is behind a request; `names` are ours."""
    if client.identity.unix:
        return None
    if client.identity.ends is None:
        raise ClientGone("the client left before its request was checked")
    headers, here = client.web.headers, client.identity.ends[1][0]
    wrong_host = refused_host(headers.get("Host"), here, names)
    if wrong_host is None and not client.is_remote:
        wrong_host = refused_browser(client.web.method, client.target, headers, names)
    return wrong_host or refused_site(client.web.method, headers, client.web.scheme)


def _refused(client: ClientRequest, refusal: Refusal) -> web.Response:
    # Browsers ask before they send a password, and go where they are redirected.
    level = logging.INFO if refusal.status in (307, 401) else logging.WARNING
    log.log(level, "%s of %s: refused: %s", client, client.identity.text, refusal.reason)
    response = told(refusal.status, refusal.reason)
    if refusal.status == 401:
        response.headers["WWW-Authenticate"] = CHALLENGE
    if refusal.location:
        response.headers["Location"] = refusal.location
    response.force_close()
    return response
