"""The configuration, quirk files, directories and sharing: what can be checked before a start.

Raises ConfigError for a configuration with which the daemon would not start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from ippusbd.config import Config, runtime_dir, state_dir
from ippusbd.daemon.share import interfaces
from ippusbd.daemon.share.certificate import configured
from ippusbd.doctor.findings import Finding, note, ok, problem
from ippusbd.errors import ConfigError
from ippusbd.proxy.access.rules import access_of
from ippusbd.quirks.load import QuirkTable
from ippusbd.users.passwords import Users

Look = Callable[[Collection[str]], tuple[interfaces.Address, ...]]


def check(config: Config, file: Path | None, quirks: QuirkTable) -> Iterator[Finding]:
    """`file`: where the configuration was read from, None for the defaults."""
    access_of(config)  # raises for unknown users and groups
    yield ok("configuration", f"configuration: {file or 'no file; using defaults'}")
    local = sum(not entry.built_in for entry in quirks.entries)
    yield ok("quirks", f"quirks: {len(quirks.entries)} entries, {local} of them local")
    for line in quirks.unused:
        if line.wrong:
            yield problem("quirks", str(line), "correct the line; it has no effect as it is")
        else:
            yield note("quirks", f"not used: {line}", "delete the line, or see ippusbd-quirks(5)")


def before_start(config: Config, look: Look = interfaces.look) -> Iterator[Finding]:
    """What a daemon that this user starts would meet."""
    yield from _directories(config)
    if config.share_interfaces:
        yield _sharing(config, look)


def _directories(config: Config) -> Iterator[Finding]:
    for name, key, folder in (
        ("state", "state_dir", state_dir),
        ("sockets", "runtime_dir", runtime_dir),
    ):
        path = folder(config, os.environ, os.getuid())
        existing = next(p for p in (path, *path.parents) if p.exists())
        if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
            yield ok(name, f"{name}: {path}")
        else:
            yield problem(
                name,
                f"{name}: {path}: you may not write to {existing}",
                f"set another {key} in [daemon], or change the owner of {existing}",
            )


def _sharing(config: Config, look: Look) -> Finding:
    try:
        if config.share_certificate is not None and config.share_key is not None:
            configured(config.share_certificate, config.share_key)
        if config.share_users_file is not None:
            Users(config.share_users_file)
    except ConfigError as exc:
        if not isinstance(exc.__cause__, PermissionError):
            raise
        return note("sharing", str(exc), "run this as root to check the file")
    where = [f"{address.text} ({address.interface})" for address in look(config.share_interfaces)]
    if not where:
        names = ", ".join(config.share_interfaces).replace("*", "any interface")
        return note("sharing", f"sharing: {names}: no address now")
    how = "with a password" if config.share_users_file else "without a password"
    return ok("sharing", f"sharing: on {', '.join(where)}, {how}")
