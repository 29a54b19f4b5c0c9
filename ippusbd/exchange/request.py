"""What a request is for: decides how long it may take, whether it may be repeated, and what
silence means.

Only what is known to be harmless is repeated: eSCL's NextDocument delivers each page once, and
a GET of a maker's own page may change something.
Pure.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from ippusbd.exchange.interrupted_job import InterruptedJob
from ippusbd.exchange.pending_cancels import PendingCancels
from ippusbd.usbio.pool_types import About, Purpose
from ippusbd.wire import ipp_requests
from ippusbd.wire.ipp_codes import Operation

Headers = tuple[tuple[str, str], ...]
HARMLESS: Final = frozenset(("/", "/escl/scannercapabilities", "/escl/scannerstatus"))


@dataclass(frozen=True, slots=True)
class Request:
    """What goes to the printer: `body` is sent with its length, `stream` in chunks.


    `job` is set when the request creates a job: how to cancel it when it is cut.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    arrived: Callable[[], bool] = lambda: False  # the stream's last byte is here
    connection: str | None = None
    job: InterruptedJob | None = None
    pending_cancels: PendingCancels | None = None  # keeps a cancellation that was lost
    client: str = "ippusbd"  # who asks, for status
    size: int | None = None  # of the body; None: not known before its end

    def about(self, began_at: float) -> About:
        """This request, which began or waits since then."""
        path = self.target.partition("?")[0]
        return About(self.client, f"{self.method} {path}", self.purpose, self.size, began_at)

    @property
    def purpose(self) -> Purpose:
        body = self.body if self.stream is None else None
        return purpose_of(self.method, self.target, self.headers, body)

    @property
    def operation(self) -> int | None:
        """Of an IPP request that is here as a whole."""
        return ipp_requests.operation_of(self.body) if has_ipp(self.headers) else None

    @property
    def repeatable(self) -> bool:
        """It changes nothing when sent twice, and all of it is here to be sent again."""
        return self.stream is None and self.purpose in (Purpose.QUESTION, Purpose.LONG_POLL)


def purpose_of(method: str, target: str, headers: Headers, body: bytes | None) -> Purpose:
    """The purpose of a request; `body` is the whole one, None for a body that is streamed."""
    if method in ("GET", "HEAD"):
        path = unquote(target.partition("?")[0]).rstrip("/").lower()
        if path.endswith("/nextdocument"):
            return Purpose.SCAN
        # A maker's page may be a long poll (HP: /EventMgmt/EventTable?timeout=1200).
        return Purpose.QUESTION if target.lower() in HARMLESS else Purpose.PAGE
    if method != "POST" or not has_ipp(headers):
        return Purpose.OTHER
    if body is None:
        return Purpose.DOCUMENT
    operation = ipp_requests.operation_of(body)
    if operation == Operation.GET_NOTIFICATIONS and _waits(body):
        return Purpose.LONG_POLL
    if operation in ipp_requests.IDEMPOTENT:
        return Purpose.QUESTION
    return Purpose.DOCUMENT if operation in ipp_requests.CREATING else Purpose.OTHER


def has_ipp(headers: Headers) -> bool:
    """Whether the body is an IPP message."""
    kind = next((value for name, value in headers if name.lower() == "content-type"), "")
    return kind.split(";")[0].strip().lower() == "application/ipp"


def _waits(body: bytes) -> bool:
    """Get-Notifications with notify-wait: answered when there is an event (RFC 3996, 5.2)."""
    return b"\x22\x00\x0bnotify-wait\x00\x01\x01" in body
