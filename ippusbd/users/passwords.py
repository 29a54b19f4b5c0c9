"""Names and hashed passwords of a shared printer's users, in a file.

One user a line, `NAME:scrypt:N:R:P:SALT:HASH` (RFC 7914; salt and hash in base64); empty lines
and those that begin with `#` are ignored. Verifying a password takes about 50 ms and 16 MiB on
purpose, and as long for a user that does not exist.

Blocks while it computes; knows nothing of HTTP.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ippusbd.errors import ConfigError

METHOD: Final = "scrypt"
COST, BLOCK, LANES = 1 << 14, 8, 1
MAX_MEMORY: Final = 64 << 20  # bytes that a line of the file may demand
MAX_FILE_BYTES: Final = 1 << 20
NAME_CHARS: Final = 64


@dataclass(frozen=True, slots=True)
class _Secret:
    cost: int
    block: int
    lanes: int
    salt: bytes
    hash: bytes

    def fits(self, password: str) -> bool:
        """Whether this is the password; blocks for about 50 ms."""
        found = _scrypt(password, self.salt, self.cost, self.block, self.lanes)
        return hmac.compare_digest(found, self.hash)


def line(user: str, password: str) -> str:
    """The line of the file for a user. Raises ConfigError for an invalid name or password."""
    if not user or ":" in user or user.startswith("#") or not user.isprintable():
        raise ConfigError(f"invalid user name {user!r}: it is empty, or contains a colon")
    if len(user) > NAME_CHARS or user != user.strip():
        raise ConfigError(f"invalid user name {user!r}: too long, or begins or ends with a blank")
    if not password:
        raise ConfigError("the password is empty")
    salt = os.urandom(16)
    made = _scrypt(password, salt, COST, BLOCK, LANES)
    fields = (user, METHOD, str(COST), str(BLOCK), str(LANES), _text(salt), _text(made))
    return ":".join(fields)


class Users:
    """The users in a file, which is reloaded when it has changed.

    Raises ConfigError, naming file and line, if it cannot be read or parsed at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._nobody = _parsed(line("nobody", "nothing").partition(":")[2])
        self._stamp = self._current()
        self._secrets = _read(path)
        self.version = 0  # grows when the file has changed

    def refresh(self) -> None:
        """Reload a file that has changed. Raises ConfigError if it is invalid."""
        stamp = self._current()
        if stamp != self._stamp:
            self._stamp, self._secrets = stamp, {}
            self.version += 1
            self._secrets = _read(self._path)

    def verify(self, user: str, password: str) -> bool:
        """Whether the user exists and this is the password; blocks."""
        secret = self._secrets.get(user)
        if secret is None:
            self._nobody.fits(password)
            return False
        return secret.fits(password)

    def _current(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError as exc:
            raise ConfigError(f"[share] users_file: {self._path}: {exc.strerror}") from exc
        return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> dict[str, _Secret]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES).decode()
    except OSError as exc:
        raise ConfigError(f"[share] users_file: {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"[share] users_file: {path}: not UTF-8 text") from exc
    secrets = {}
    for number, each in enumerate(text.splitlines(), 1):
        if not each.strip() or each.startswith("#"):
            continue
        user, _, secret = each.partition(":")
        try:
            secrets[user] = _parsed(secret.strip())
        except ValueError:
            raise ConfigError(
                f"{path}:{number}: not a line as `ippusbd password USER` prints it"
            ) from None
    return secrets


def _parsed(fields: str) -> _Secret:
    """Raises ValueError."""
    method, cost, block, lanes, salt, made = fields.split(":")
    secret = _Secret(int(cost), int(block), int(lanes), _bytes(salt), _bytes(made))
    memory = 128 * secret.block * (secret.cost + secret.lanes)
    powers = secret.cost > 1 and not secret.cost & (secret.cost - 1)
    sizes = min(secret.block, secret.lanes) > 0 and memory < MAX_MEMORY and secret.lanes < 17
    if method != METHOD or not powers or not sizes or len(secret.hash) < 16:
        raise ValueError("not ours")
    return secret


def _scrypt(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=salt, n=cost, r=block, p=lanes, maxmem=2 * MAX_MEMORY, dklen=32
    )


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
