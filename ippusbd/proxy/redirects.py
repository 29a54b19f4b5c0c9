"""Redirects that a client cannot follow: to https, to another host, or in a circle.

A printer redirects to the address that it believes to have, or to https. A client reaches it
through us alone, so that such a redirect, rewritten, may be the very request that was asked: at
once, or after another one. A browser would follow it twenty times; it is answered in words.

Invariants: a request that a client can yet get answered is not refused: one with a new cookie, a
GET after a POST, one that was answered in the meantime. Memory is bounded.

Pure; knows heads, and no sockets.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

from ippusbd.errors import PrinterError, Refused
from ippusbd.kinds import Kind
from ippusbd.wire.http1 import REFRESH, rewrite_location
from ippusbd.wire.http1_response import Head

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
REPEATING: Final = frozenset({307, 308})  # with the same method
STEPS_MAX: Final = 64  # remembered
STEP_BYTES: Final = 8192  # of one; a larger one is not remembered
FRESH_S: Final = 10.0  # clients follow at once

_HERE: Final = "http://here"
_AUTHORITY: Final = re.compile(r"\s*(?:https?:|ipps?:)?//([^/?#\\]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Question:
    """A request as far as a redirect depends on it. `host` is what the printer is called in it."""

    method: str
    target: str
    host: str
    cookie: str


@dataclass(frozen=True, slots=True)
class _Step:
    """One redirect that a client was given."""

    target: str
    secure: bool  # the printer meant https
    at: float


class Redirects:
    """The redirects of one printer."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: in seconds."""
        self._clock = clock
        self._steps: dict[tuple[str, str], _Step] = {}  # by target and cookie; oldest first

    def check(self, asked: Question, head: Head) -> None:
        """Raises Refused or PrinterError for an answer that the client of `asked` cannot follow."""
        if head.status == 426:
            raise Refused()
        here = _target(_HERE + asked.target)
        location = head.value("Location") if head.status in REDIRECTS else ""
        if not location:
            self._forget(here)
            if _refreshes_over_https(head, asked.target):
                raise Refused()
            return
        leads_to = _through_us(location, asked.target)
        step = _Step(leads_to, _scheme(location) == "https", self._clock())
        if leads_to == here:
            self._check_same(asked, head, step)
        if leads_to and _repeats(asked, head):
            self._check_circle(here, asked.cookie, step)
            self._remember((here, asked.cookie), step)

    def _check_same(self, asked: Question, head: Head, step: _Step) -> None:
        """Raises for a redirect to the request that was asked."""
        if step.secure:
            raise Refused()
        if not _repeats(asked, head):
            return
        elsewhere = _AUTHORITY.match(head.value("Location"))
        if elsewhere and elsewhere[1].lower() != asked.host.lower():
            raise Refused(kind=Kind.REDIRECTS, host=elsewhere[1][:80])
        raise _circle(asked.target)

    def _check_circle(self, here: str, cookie: str, step: _Step) -> None:
        """Raises for a redirect that was given before and led back `here`."""
        before = self._steps.get((here, cookie))
        if before is None or before.target != step.target:
            return
        secure, found = False, before
        for _ in range(STEPS_MAX):
            secure |= found.secure
            if step.at - found.at > FRESH_S:
                return
            if found.target == here:
                raise Refused() if secure else _circle(here)
            following = self._steps.get((found.target, cookie))
            if following is None:
                return
            found = following

    def _remember(self, key: tuple[str, str], step: _Step) -> None:
        self._steps.pop(key, None)
        if len(step.target) + sum(map(len, key)) <= STEP_BYTES:
            self._steps[key] = step
        if len(self._steps) > STEPS_MAX:
            del self._steps[next(iter(self._steps))]

    def _forget(self, target: str) -> None:
        """It was answered: what led there was no circle."""
        if self._steps:
            now_s = self._clock()
            self._steps = {
                key: step
                for key, step in self._steps.items()
                if target not in (key[0], step.target) and now_s - step.at <= FRESH_S
            }


def _circle(target: str) -> PrinterError:
    return PrinterError(
        f"the printer redirects {target[:80]} in a circle: delete the cookies of its web console,"
        " or switch the printer off and on"
    )


def _through_us(location: str, target: str) -> str:
    """Where a client that asked for `target` comes through us; empty: elsewhere."""
    try:
        url = urljoin(_HERE + target, rewrite_location(location, base=_HERE))
    except ValueError:
        return ""
    return _target(url) if url.startswith(f"{_HERE}/") else ""


def _target(url: str) -> str:
    """Path and query."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _scheme(url: str) -> str:
    return url.strip().partition(":")[0].lower()


def _refreshes_over_https(head: Head, target: str) -> bool:
    """A page that reloads itself at once over https, rewritten, would do so for ever."""
    found = REFRESH.fullmatch(head.value("Refresh"))
    if found is None or found["delay"].strip("0."):
        return False
    url = found["url"].rstrip("\"' ")
    return _scheme(url) == "https" and _through_us(url, target) == _target(_HERE + target)


def _repeats(asked: Question, head: Head) -> bool:
    """Whoever follows the redirect sends the same, without a cookie that it had not."""
    if asked.method not in ("GET", "HEAD") and head.status not in REPEATING:
        return False
    had = {pair.strip() for pair in asked.cookie.split(";")}
    return all(
        value.partition(";")[0].strip() in had
        for name, value in head.headers
        if name.lower() == "set-cookie"
    )
