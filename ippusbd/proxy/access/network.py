"""Clients from the network: what they must show, and what they may reach.

They come over TLS; that is how a request of theirs is told from one of this machine. Without a
password, where one is asked for, nothing is told but that. Paths are judged as a printer might
read them: with escapes undone, and never upwards.

A password that was right is remembered by a hash under a key of this process, since finding out
takes long on purpose; tries wait for each other, so that guessing is slow and costs one thread.

Knows HTTP's Basic scheme (RFC 7617) and paths; nothing of sockets and printers.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import os
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from ippusbd.errors import ConfigError
from ippusbd.proxy.access.origin import Refusal
from ippusbd.users.passwords import Users

log = logging.getLogger("ippusbd.http")

REMEMBERED: Final = 256
WAITING: Final = 16  # tries at a time; more are refused unheard
_OPEN: Final = frozenset({"ipp", "escl"})  # first parts of paths that print and scan
_UNDONE: Final = 4  # percent signs may be escaped themselves; so often


class BasicAuth:
    """Tells whether what a client showed is a user's name and password."""

    def __init__(self, users: Users) -> None:
        self._users = users
        self._key = os.urandom(32)
        self._right: dict[bytes, None] = {}  # oldest first
        self._version = users.version
        self._told = False  # that the file cannot be used
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def admits(self, shown: str | None) -> bool:
        """`shown` is the field Authorization, None if there is none."""
        credentials = _basic(shown)
        if credentials is None or not self._is_current():
            return False
        mark = hmac.digest(self._key, repr(credentials).encode(), "sha256")
        if mark in self._right:
            return True
        if self._waiting >= WAITING:
            return False
        return await self._try(mark, *credentials)

    async def _try(self, mark: bytes, user: str, password: str) -> bool:
        self._waiting += 1
        try:
            async with self._turn:
                if not await asyncio.to_thread(self._users.verify, user, password):
                    return False
        finally:
            self._waiting -= 1
        if len(self._right) >= REMEMBERED:
            del self._right[next(iter(self._right))]
        self._right[mark] = None
        return True

    def _is_current(self) -> bool:
        """Who was taken out of the file stays outside. A file that makes no sense admits nobody."""
        try:
            self._users.refresh()
        except ConfigError as exc:
            if not self._told:
                log.error("nobody can be let in: %s", exc)
            self._told = True
            return False
        self._told = False
        if self._users.version != self._version:
            self._version = self._users.version
            self._right.clear()
        return True


@dataclass(frozen=True, slots=True)
class Network:
    """How a site treats clients of the network."""

    names: Set[str] = frozenset()  # that this machine has there
    console: bool = False  # they may open more than what prints and scans
    gate: BasicAuth | None = field(default=None)  # None: nobody needs a password

    async def refusal(self, target: str, authorization: str | None) -> Refusal | None:
        """Why a request is not let through; None: it is."""
        if self.gate is not None and not await self.gate.admits(authorization):
            return Refusal(401, "this printer asks for a name and a password")
        if not self.console and not is_open(target):
            return Refusal(403, "only printing and scanning are open to the network")
        return None


CHALLENGE: Final = 'Basic realm="ippusbd", charset="UTF-8"'


def is_open(target: str) -> bool:
    """Whether a path, however a printer reads it, is one that prints or scans."""
    path = target.partition("?")[0]
    for _ in range(_UNDONE):
        path = unquote(path, errors="replace")
    parts = path.replace("\\", "/").split("/")
    if any(part.partition(";")[0] in ("..", ".") for part in parts) or "%" in path:
        return False
    return len(parts) > 1 and not parts[0] and parts[1].lower() in _OPEN


def _basic(shown: str | None) -> tuple[str, str] | None:
    """Name and password of a field Authorization."""
    scheme, _, encoded = (shown or "").partition(" ")
    if scheme.lower() != "basic" or len(encoded) > 1024:
        return None
    try:
        user, colon, password = (
            base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        )
    except ValueError:
        return None
    return (user, password) if colon else None
