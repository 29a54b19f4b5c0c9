"""The configuration, quirk files, directories and sharing: what can be checked before a start.

Raises ConfigError for a configuration with which the daemon would not start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from ippusbd.broker.unix import MAX_PATH
from ippusbd.config import Config, broker_dir, runtime_dir, state_dir
from ippusbd.daemon.brokering import socket_clients, socket_group
from ippusbd.daemon.share import interfaces
from ippusbd.daemon.share.certificate import configured
from ippusbd.dnssd.static_publisher import read_template
from ippusbd.doctor.findings import Finding, ok, told
from ippusbd.errors import ConfigError
from ippusbd.kinds import Diagnosis, Kind
from ippusbd.local_commands import LocalCommands
from ippusbd.proxy.access.rules import access_of
from ippusbd.quirks.load import QuirkTable
from ippusbd.users.accounts import group_id
from ippusbd.users.ownership import foreign, give, user_name
from ippusbd.users.passwords import Users

Where = Callable[[Config, Mapping[str, str], int], Path]
Look = Callable[[Collection[str]], tuple[interfaces.Address, ...]]


def check(config: Config, file: Path | None, quirks: QuirkTable) -> Iterator[Finding]:
    """`file`: where the configuration was read from, None for the defaults."""
    _accounts(config)
    if config.static_template is not None:
        read_template(config.static_template)
    yield ok("configuration", f"configuration: {file or 'no file; using defaults'}")
    local = sum(not entry.built_in for entry in quirks.entries)
    yield ok("quirks", f"quirks: {len(quirks.entries)} entries, {local} of them local")
    for line in quirks.unused:
        kind = Kind.QUIRK_LINE if line.wrong else Kind.QUIRK_UNUSED
        yield told(kind.of(line=line), check="quirks")


def _accounts(config: Config) -> None:
    """Raises ConfigError for unknown users and groups."""
    access_of(config)
    if config.control_group:
        group_id(config.control_group, "[daemon] control_group")
    if config.broker:
        socket_group(config.broker_group)
        socket_clients(config)


def before_start(config: Config, look: Look = interfaces.look) -> Iterator[Finding]:
    """What a daemon that this user starts would meet."""
    yield from _directories(config)
    if config.dnssd == "static" and config.static_dir is not None:
        yield _static(config.static_dir)
    if config.share_interfaces:
        yield _sharing(config, look)


def _directories(config: Config) -> Iterator[Finding]:
    folders: list[tuple[str, str, Where]] = [
        ("state", "state_dir in [daemon]", state_dir),
        ("sockets", "runtime_dir in [daemon]", runtime_dir),
    ]
    if config.broker:
        folders.append(("broker", "dir in [broker]", broker_dir))
    checked: set[Path] = set()
    for name, key, where in folders:
        path = where(config, os.environ, os.getuid())
        if path not in checked:
            checked.add(path)
            yield _directory(name, key, path)


def _directory(name: str, key: str, path: Path) -> Finding:
    diagnosis = _unusable(name, key, path)
    return ok(name, f"{name}: {path}") if diagnosis is None else told(diagnosis, check=name)


def _unusable(name: str, key: str, path: Path) -> Diagnosis | None:
    try:
        existing = next(p for p in (path, *path.parents) if p.exists())
    except PermissionError as exc:
        return _folder(name, key, path, exc.strerror or str(exc), f"install -d {path}")
    if not existing.is_dir():
        aside = f"mv {existing} {existing}.old"
        return _folder(name, key, path, f"{existing} is no folder", aside)
    user = user_name(os.geteuid())
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        mine = f"install -d -o {user} {path}" if existing != path else give(path, os.geteuid())
        return _folder(name, key, path, f"you may not read and write {existing}", mine)
    control = path / "control.sock"
    if name == "sockets" and len(os.fsencode(control)) >= MAX_PATH:
        return Kind.SOCKET_PATH.of(name=name, path=control, most=MAX_PATH - 1, key=key)
    others = list(foreign(path)) if path.is_dir() else []
    if not others:
        return None
    owner = path.stat().st_uid
    return Kind.FOREIGN_FILE.of(
        name=name,
        path=others[0],
        owner=user_name(others[0].lstat().st_uid),
        user=f"{user_name(owner)} as {path}",
        command=LocalCommands().as_root(give(path, owner)),
    )


def _folder(name: str, key: str, path: Path, why: str, command: str) -> Diagnosis:
    """This user's daemon cannot use `path`; root's `command` changes that."""
    mends = LocalCommands().as_root(command)
    return Kind.FOLDER.of(name=name, path=path, key=key, why=why, command=mends)


def _static(path: Path) -> Finding:
    """The daemon does not create the folder that Avahi reads."""
    name, key = "static", "static_dir in [dnssd]"
    if not path.is_dir():
        return told(_folder(name, key, path, "it is no folder", f"mkdir {path}"), check=name)
    if not os.access(path, os.W_OK | os.X_OK):
        mine = f"setfacl -m u:{user_name(os.geteuid())}:rwx {path}"
        return told(_folder(name, key, path, "you may not write to it", mine), check=name)
    return ok(name, f"{name}: {path}")


def _sharing(config: Config, look: Look) -> Finding:
    try:
        if config.share_certificate is not None and config.share_key is not None:
            configured(config.share_certificate, config.share_key)
        if config.share_users_file is not None:
            Users(config.share_users_file)
    except ConfigError as exc:
        if not isinstance(exc.__cause__, PermissionError):
            raise
        return told(Kind.UNREADABLE.of(str(exc)), check="sharing")
    where = [f"{address.text} ({address.interface})" for address in look(config.share_interfaces)]
    if not where:
        names = ", ".join(config.share_interfaces).replace("*", "any interface")
        return told(Kind.NO_ADDRESS.of(names=names), check="sharing")
    how = "with a password" if config.share_users_file else "without a password"
    return ok("sharing", f"sharing: on {', '.join(where)}, {how}")
