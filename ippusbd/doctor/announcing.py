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
from typing import TYPE_CHECKING, Final

from ippusbd.doctor.findings import Finding, Level, note, ok, problem
from ippusbd.doctor.machine import Machine
from ippusbd.errors import PublishError
from ippusbd.wire import txt

if TYPE_CHECKING:
    from ippusbd.config import Config
    from ippusbd.daemon.observe.status import Status
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


def check(machine: Machine, config: Config, status: Status | None) -> Iterator[Finding]:
    """`status`: the daemon's, None if it does not run."""
    if config.dnssd in ("off", "static"):
        yield note("announcing", f'[dnssd] publisher = "{config.dnssd}": Avahi is not tested')
        return
    if status is not None:
        yield from _daemons_publisher(status.publisher.state)
    if not machine.has("avahi-daemon"):
        yield note(
            "avahi",
            "Avahi is not installed: the daemon announces printers itself, but CUPS needs Avahi"
            " to find them",
            "apt install avahi-daemon",
        )
        return
    yield from _loopback(machine)
    yield from _configuration(machine)
    trial = _trial(machine)
    yield trial
    names = [row.name for row in status.printers if row.name] if status is not None else []
    if trial.level is Level.OK and names:
        yield from _twins(names, config.dnssd_suffix)


def _daemons_publisher(state: str) -> Iterator[Finding]:
    if state not in ("ok", "starting"):
        yield problem(
            "announcing",
            f"the daemon cannot announce: {state}",
            "see the Avahi lines below; printing by address works meanwhile",
        )


# --- Avahi's configuration


def _loopback(machine: Machine) -> Iterator[Finding]:
    """Whether lo is up."""
    try:
        flags = int((machine.sys / "class/net/lo/flags").read_text(), 16)
    except (OSError, ValueError):
        return
    if not flags & 0x1:
        yield problem("loopback", "the loopback interface is down", "ip link set lo up")


def _configuration(machine: Machine) -> Iterator[Finding]:
    path = machine.etc / "avahi/avahi-daemon.conf"
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        parser.read_string(path.read_text(errors="replace"))
    except (OSError, configparser.Error):
        return
    restart = "then: systemctl restart avahi-daemon"
    allowed = _list(parser, "allow-interfaces")
    if allowed and "lo" not in allowed:
        yield problem(
            "avahi-lo",
            f"Avahi does not use loopback: allow-interfaces={','.join(allowed)} in {path}",
            f"add lo to it, {restart}",
        )
    if "lo" in _list(parser, "deny-interfaces"):
        yield problem(
            "avahi-lo",
            f"Avahi does not use loopback: deny-interfaces in {path} contains lo",
            f"remove lo from it, {restart}",
        )
    for section, key, wrong, why in _SWITCHES:
        if parser.get(section, key, fallback="").strip() == wrong:
            yield problem(
                "avahi-configuration",
                f"{key}={wrong} in {path}: {why}",
                f"remove that line, {restart}",
            )


def _list(parser: configparser.ConfigParser, key: str) -> list[str]:
    text = parser.get("server", key, fallback="")
    return [part.strip() for part in text.split(",") if part.strip()]


# --- a test registration


def _trial(machine: Machine) -> Finding:
    try:
        asyncio.run(_register())
    except PublishError as exc:
        runs = bool(machine.named("avahi-daemon"))
        remedy = (
            "systemctl restart avahi-daemon; for details: journalctl -u avahi-daemon"
            if runs
            else "systemctl enable --now avahi-daemon dbus"
        )
        what = "Avahi refuses" if runs else "Avahi does not run"
        return problem("avahi", f"{what}: {exc}", remedy)
    return ok("avahi", "Avahi announces on loopback")


async def _register() -> None:
    """Register a service of an unused type, then withdraw it. Raises PublishError."""
    from ippusbd.dnssd.avahi_publisher import AvahiPublisher
    from ippusbd.dnssd.protocols import ESTABLISHED
    from ippusbd.model import ServiceRecord, ServiceSet

    name = f"ippusbd doctor {os.getpid()}"
    record = ServiceRecord(name, "_ippusbd-try._tcp", 9)
    publisher = AvahiPublisher(patience_s=TRIAL_S)
    await publisher.start()
    try:
        await _ready(publisher)
        publication = await publisher.publish(ServiceSet(name, (record,)))
        state = publication.state
        await publication.withdraw()
        if state != ESTABLISHED:
            raise PublishError(state)
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


def _twins(names: list[str], suffix: str) -> Iterator[Finding]:
    from ippusbd.dnssd.avahi_browser import browse

    try:
        network = asyncio.run(browse(*_TWIN_TYPES, patience_s=NETWORK_S))
    except PublishError as exc:
        yield note("twin", f"the network's printers are not known: {exc}")
        return
    yield from twins(names, network, suffix)


def twins(names: Iterable[str], network: Iterable[Instance], suffix: str) -> Iterator[Finding]:
    """Devices of the network that have the name of one of our printers, or had it but for ours."""
    found = {(name, each.name) for name in names for each in network}
    for name, other in sorted(found):
        if name == other:
            yield note(
                "twin",
                "the network has a printer of this name, too: programs take the two for one,"
                " and may print to that one",
                "set another [dnssd] suffix and restart ippusbd, or print to the address that"
                " `ippusbd status` shows",
                about=name,
            )
        elif txt.is_made_of(other, name, suffix):
            yield note(
                "twin",
                f"the network has {other!r}: the same device, or another of its model; this one"
                " is on USB",
                about=name,
            )
