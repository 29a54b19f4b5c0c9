"""Clients from the network: their authentication, and the paths that are open to them.

They come over TLS, which distinguishes their requests from those of this machine. Without the
required password the response reveals nothing but that. Paths are judged as a printer might read
them: unescaped, and never upwards.

A valid password is cached by a hash under a key of this process, since verifying one is slow on
purpose; attempts are verified one after the other, so that guessing is slow and costs one thread,
also if the guesser hangs up. Each address has one attempt in the queue, and each link of IPv6,
where a machine has as many addresses as it wants: guesses do not delay the users of others.

Knows HTTP's Basic scheme (RFC 7617) and paths; nothing of sockets and printers.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import os
from collections.abc import Set
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote
from weakref import WeakValueDictionary

from ippusbd.errors import ConfigError, IppUsbError
from ippusbd.fair_tasks import Owner, levels
from ippusbd.kinds import Kind
from ippusbd.proxy.access.origin import Refusal

if TYPE_CHECKING:
    from ippusbd.users.passwords import Users  # of a file that only shared printers have

log = logging.getLogger("ippusbd.http")

CACHED: Final = 256
WAIT_S: Final = 10.0  # for a turn to be verified
_OPEN: Final = frozenset({"ipp", "escl"})  # first segments of paths that print and scan
_UNESCAPED: Final = 4  # rounds: percent signs may be escaped themselves


class Busy(IppUsbError):
    """Too many passwords are to be verified; nothing is known about this one."""

    kind = Kind.TOO_MANY
    http_status = 503


class BasicAuth:
    """HTTP Basic authentication against a file of users."""

    def __init__(self, users: Users, *, wait_s: float = WAIT_S) -> None:
        self._users = users
        self._wait_s = wait_s
        self._key = os.urandom(32)
        self._valid: dict[bytes, None] = {}  # oldest first
        self._version = users.version
        self._logged = False  # that the file cannot be used
        self._turns: WeakValueDictionary[Owner, asyncio.Lock] = WeakValueDictionary()

    async def admits(self, authorization: str | None, client: Owner = ()) -> bool:
        """Verify the field Authorization; None: there is none. Raises Busy."""
        credentials = _basic(authorization)
        if credentials is None or not self._is_current():
            return False
        digest = hmac.digest(self._key, repr(credentials).encode(), "sha256")
        if digest in self._valid:
            return True
        try:
            async with asyncio.timeout(self._wait_s) as wait, AsyncExitStack() as turns:
                for level in (*reversed(levels(client)), ()):
                    turn = self._turns.setdefault(level, asyncio.Lock())
                    await turns.enter_async_context(turn)
                wait.reschedule(None)
                verifying = asyncio.ensure_future(self._verify(digest, *credentials))
                try:
                    return await asyncio.shield(verifying)
                finally:
                    await asyncio.wait([verifying])  # its thread goes on when the client left
        except TimeoutError:
            raise Busy() from None

    async def _verify(self, digest: bytes, user: str, password: str) -> bool:
        version = self._version
        if not await asyncio.to_thread(self._users.verify, user, password):
            return False
        if not self._is_current() or version != self._version:
            return False  # the file changed meanwhile, perhaps this user
        if len(self._valid) >= CACHED:
            del self._valid[next(iter(self._valid))]
        self._valid[digest] = None
        return True

    def _is_current(self) -> bool:
        """Reload a changed file: a removed user is refused. An unreadable file admits nobody."""
        try:
            self._users.refresh()
        except ConfigError as exc:
            if not self._logged:
                log.error("no network client can authenticate: %s", exc)
            self._logged = True
            return False
        self._logged = False
        if self._users.version != self._version:
            self._version = self._users.version
            self._valid.clear()
        return True


@dataclass(frozen=True, slots=True)
class Network:
    """What a site requires of clients from the network."""

    names: Set[str] = frozenset()  # of this machine on the network
    console: bool = False  # paths other than those that print and scan are open, too
    gate: BasicAuth | None = field(default=None)  # None: no password is required

    async def refusal(
        self, target: str, authorization: str | None, client: Owner = ()
    ) -> Refusal | None:
        """Why a request of `client` is refused; None: it is not. Raises Busy."""
        if self.gate is not None and not await self.gate.admits(authorization, client):
            return Refusal(401, Kind.LOGIN.of())
        if not self.console and not is_open(target):
            return Refusal(403, Kind.CLOSED.of())
        return None


CHALLENGE: Final = 'Basic realm="ippusbd", charset="UTF-8"'


def is_open(target: str) -> bool:
    """Whether a path prints or scans, however a printer reads it."""
    path = target.partition("?")[0]
    for _ in range(_UNESCAPED):
        path = unquote(path, errors="replace")
    parts = path.replace("\\", "/").split("/")
    if any(part.partition(";")[0] in ("..", ".") for part in parts) or "%" in path:
        return False
    return len(parts) > 1 and not parts[0] and parts[1].lower() in _OPEN


def _basic(authorization: str | None) -> tuple[str, str] | None:
    """Name and password in the field Authorization."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic" or len(encoded) > 1024:
        return None
    try:
        user, colon, password = (
            base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        )
    except ValueError:
        return None
    return (user, password) if colon else None
