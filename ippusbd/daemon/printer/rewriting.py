"""What is changed in a printer's answers before a client sees them: links, and bad encoding."""

from __future__ import annotations

import logging

from ippusbd.errors import BadIpp
from ippusbd.wire import ipp, links

log = logging.getLogger("ippusbd.daemon")


def sanitized(content_type: str, base: str, body: bytes) -> bytes:
    """An IPP answer in the encoding that the printer meant (Pantum), links and all."""
    if content_type == "application/ipp":
        try:
            body = ipp.sanitize(body)
        except BadIpp as exc:
            log.info("an IPP answer cannot be repaired: %s", exc)
    return links.rewritten(content_type, base, body)
