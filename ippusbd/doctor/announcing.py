"""Can printers be announced to programs on this machine, and told apart from the network's?

Tested by doing it: a service of a type of its own is registered with Avahi on loopback and
withdrawn at once. Avahi's configuration file only explains a failure. Then the network's printers
are looked at: CUPS and SANE take two of one name for one, and print to either.
"""

from __future__ import annotations

import asyncio
import configparser
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ippusbd.doctor.findings import Finding, Level, ok, told
from ippusbd.doctor.machine import Machine
from ippusbd.errors import PublishError
from ippusbd.init_system import Init
from ippusbd.kinds import Kind
from ippusbd.local_commands import LocalCommands
from ippusbd.wire import txt

if TYPE_CHECKING:
    from ippusbd.config import Config
    from ippusbd.daemon.observe.status import PublisherStatus, Status
    from ippusbd.dnssd.avahi_browser import Instance
    from ippusbd.dnssd.avahi_publisher import AvahiPublisher

TRIAL_S: Final = 5.0
POLL_S: Final = 0.2
NETWORK_S: Final = 2.0  # for printers of the network to answer
_TWIN_TYPES: Final = ("_ipp._tcp", "_ipps._tcp", "_uscan._tcp", "_uscans._tcp")
_SWITCHES: Final = (
    ("server", "enable-dbus", "no", "programs cannot use Avahi"),
    ("server", "use-ipv4", "no", "printers are announced at 127.0.0.1"),
    ("publish", "disable-publishing", "yes", "nothing is announced"),
    ("publish", "disable-user-service-publishing", "yes", "programs cannot announce services"),
)
NO_LOOPBACK: Final = "Avahi does not use loopback"
WITHOUT: Final = ("auto", "zeroconf")  # publishers of the configuration that need no Avahi


def check(machine: Machine, config: Config, status: Status | None) -> Iterator[Finding]:
    """`status`: the daemon's, None if it does not run. Avahi must be well where it is needed."""
    if config.dnssd in ("off", "static"):
        yield ok("announcing", f'[dnssd] publisher = "{config.dnssd}": Avahi is not used')
        return
    needed = config.dnssd not in WITHOUT
    if status is not None:
        yield from _daemons_publisher(status.publisher)
        needed = needed or status.publisher.state not in ("ok", "starting")
    yield from _loopback(machine)
    commands = machine.commands
    if not machine.has("avahi-daemon"):
        yield _without("is not installed", commands.install("avahi"), needed)
        return
    trial = _trial(machine)
    if trial is None:
        yield _without("does not run", commands.enable_avahi, needed)
        return
    yield from _configuration(machine)
    yield trial
    names = [row.name for row in status.printers if row.name] if status is not None else []
    if trial.level is Level.OK and names:
        yield from network(names, config.dnssd_suffix)


def _daemons_publisher(publisher: PublisherStatus) -> Iterator[Finding]:
    if publisher.state not in ("ok", "starting"):
        reason = Kind.ANNOUNCING.of(f"the daemon cannot announce: {publisher.state}")
        yield told(reason, check="announcing")
    elif publisher.state == "ok":
        yield ok("announcing", f"the daemon announces with {publisher.kind}")


def _without(how: str, command: str, needed: bool) -> Finding:
    """An absent Avahi is a problem only where the daemon does not announce without it."""
    if needed:
        return told(Kind.AVAHI.of(how=how, command=command), check="avahi")
    return told(Kind.NO_AVAHI.of(how=how, command=command), check="avahi")


# --- Avahi's configuration


def _loopback(machine: Machine) -> Iterator[Finding]:
    """Whether lo is up."""
    try:
        flags = int((machine.sys / "class/net/lo/flags").read_text(), 16)
    except (OSError, ValueError):
        return
    if not flags & 0x1:
        yield told(Kind.LOOPBACK.of())


def _configuration(machine: Machine) -> Iterator[Finding]:
    path = machine.etc / "avahi/avahi-daemon.conf"
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        parser.read_string(path.read_text(errors="replace"))
    except (OSError, configparser.Error):
        return
    allowed = _list(parser, "allow-interfaces")
    if allowed and "lo" not in allowed:
        yield _line(path, f"allow-interfaces={','.join(allowed)}", NO_LOOPBACK, "add lo to it")
    denied = _list(parser, "deny-interfaces")
    if "lo" in denied:
        yield _line(path, f"deny-interfaces={','.join(denied)}", NO_LOOPBACK, "remove lo from it")
    for section, key, wrong, why in _SWITCHES:
        if parser.get(section, key, fallback="").strip() == wrong:
            change = f"sed -i 's/^{key} *=/#&/' {path}"
            yield _line(path, f"{key}={wrong}", why, LocalCommands().as_root(change))


def _line(path: Path, line: str, why: str, change: str) -> Finding:
    check = "avahi-lo" if why == NO_LOOPBACK else "avahi-configuration"
    return told(Kind.AVAHI_LINE.of(path=path, line=line, why=why, change=change), check=check)


def _list(parser: configparser.ConfigParser, key: str) -> list[str]:
    text = parser.get("server", key, fallback="")
    return [part.strip() for part in text.split(",") if part.strip()]


# --- a test registration


def _trial(machine: Machine) -> Finding | None:
    """Whether Avahi announces; None: it does not run."""
    try:
        if not asyncio.run(_register()):
            return None
    except PublishError as exc:
        commands = machine.commands
        command = commands.restart_avahi
        if commands.init is Init.SYSTEMD:
            command += f"; for details: {commands.as_root('journalctl -u avahi-daemon')}"
        return told(Kind.AVAHI.of(how=f"refuses: {exc}", command=command), check="avahi")
    return ok("avahi", "Avahi announces on loopback")


async def _register() -> bool:
    """Register a service of an unused type, then withdraw it; False: Avahi does not run.

    Raises PublishError.
    """
    from ippusbd.dnssd.avahi_publisher import AvahiPublisher
    from ippusbd.dnssd.protocols import ESTABLISHED
    from ippusbd.model import ServiceRecord, ServiceSet

    name = f"ippusbd doctor {os.getpid()}"
    record = ServiceRecord(name, "_ippusbd-try._tcp", 9)
    publisher = AvahiPublisher(patience_s=TRIAL_S)
    await publisher.start()
    try:
        if not publisher.server.is_owned:
            return False
        await _ready(publisher)
        publication = await publisher.publish(ServiceSet(name, (record,)))
        state = publication.state
        await publication.withdraw()
        if state != ESTABLISHED:
            raise PublishError(state)
        return True
    finally:
        await publisher.close()


async def _ready(publisher: AvahiPublisher) -> None:
    """Wait until Avahi has registered its host name after its start. Raises PublishError."""
    loop = asyncio.get_running_loop()
    end = loop.time() + TRIAL_S
    while publisher.trouble:
        if not publisher.server.is_there or loop.time() > end:
            raise PublishError(publisher.trouble)
        await asyncio.sleep(POLL_S)


# --- printers of the network with our names


def network(names: list[str], suffix: str) -> Iterator[Finding]:
    """Asks Avahi which printers the network has."""
    from ippusbd.dnssd.avahi_browser import browse

    try:
        found = asyncio.run(browse(*_TWIN_TYPES, patience_s=NETWORK_S))
    except PublishError as exc:
        yield told(Kind.NETWORK_UNKNOWN.of(why=exc), check="twin")
        return
    yield from twins(names, found, suffix)


def twins(names: Iterable[str], network: Iterable[Instance], suffix: str) -> Iterator[Finding]:
    """Devices of the network that have the name of one of our printers, or had it but for ours."""
    found = {(name, each.name) for name in names for each in network}
    for name, other in sorted(found):
        if name == other:
            yield told(Kind.SAME_NAME.of(), name, check="twin")
        elif txt.is_made_of(other, name, suffix):
            yield told(Kind.TWIN.of(other=other), name, check="twin")
