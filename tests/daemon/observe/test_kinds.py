"""Every kind of trouble comes true, and a user reads what it is and what to do."""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import usb.core
from support.daemon import InProcessDaemon, run_daemon
from support.fake_channel import FakeChannel
from support.http_client import ask
from support.scripted_printer import SETTINGS, answer, serve

from ippusbd.broker.framing import message_stream
from ippusbd.cli import status as cli_status
from ippusbd.cli.report import refuse
from ippusbd.config import Config, load
from ippusbd.daemon.observe.control import ControlServer
from ippusbd.daemon.observe.control_client import ask as ask_daemon
from ippusbd.daemon.observe.endpoints import Endpoints
from ippusbd.daemon.observe.status import Status
from ippusbd.daemon.observe.status import read as read_status
from ippusbd.daemon.service import Daemon
from ippusbd.daemon.single import Choice, OneDevice
from ippusbd.daemon.state.files import make_directory
from ippusbd.dnssd.static_publisher import StaticPublisher
from ippusbd.errors import IppUsbError, StartsAfresh
from ippusbd.kinds import Kind, Meaning, Severity
from ippusbd.model import ServiceRecord, ServiceSet
from ippusbd.proxy.access.network import BasicAuth, Network
from ippusbd.proxy.access.origin import refused_browser, refused_host, refused_site
from ippusbd.proxy.access.rules import Access, Activity
from ippusbd.proxy.heads import origin_form
from ippusbd.usbio.pool import InterfacePool
from ippusbd.usbio.pyusb_host import PyusbHost, translated
from ippusbd.users import accounts, client_identity
from ippusbd.users.accounts import Allowed
from ippusbd.users.passwords import Users, line
from ippusbd.users.peers import Peer
from ippusbd.virtual.http.messages import HttpRequest, HttpResponse, plain
from ippusbd.virtual.personalities.base import Personality
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.backend import VirtualBackend

MakePrinter = Callable[..., VirtualPrinter]
HASTY = {"probe_s": 0.2, "fax_probe_s": 0.2, "check_s": 0.2, "resets_max": 1, "drain_s": 0.3}


def kind_and_text(daemon: InProcessDaemon) -> tuple[str, str]:
    """Kind and text of the reason of the only printer."""
    reason = daemon.row().get("reason") or {}
    return reason.get("kind", ""), reason.get("text", "")


async def read(daemon: InProcessDaemon, kind: Kind) -> str:
    """What `ippusbd status` shows once the printer has a reason of that kind."""
    await daemon.until(lambda: kind_and_text(daemon)[0] == kind.label)
    shown = "\n".join(cli_status.lines(daemon.status()))
    assert kind_and_text(daemon)[1] in shown
    assert remedy_of(daemon, kind) in shown
    return shown


def remedy_of(daemon: InProcessDaemon, kind: Kind) -> str:
    """What the table says for the facts of the only printer."""
    reason = daemon.row()["reason"]
    return kind.of(reason["text"], **reason["facts"]).remedy


SERVED: list[tuple[Kind, str, dict[str, Any], str]] = [
    (Kind.IGNORED, "", {"ignore": ("1209:0001",)}, "ignored by the configuration"),
    (Kind.NOT_FOUND, "404-everything", {}, "/ipp/print answered 404 Not Found"),
    (Kind.WARMING_UP, "scanner-before-printer", {}, "answered 503"),
    (Kind.SILENT, "silent", HASTY, "no response to /ipp/print in 0.2 s"),
    (Kind.GIVEN_UP, "deaf", {**HASTY, "warm_up_s": 0.0}, "1 resets in 600 s did not help"),
    (Kind.PASSIVE, "", {"passive": True}, "probed at the first client's request"),
    (Kind.HTTPS, "upgrade-required", {}, "answered 426: the printer insists on TLS"),
    (Kind.PROBING, "silent", {}, "its capabilities are being queried"),
]


@pytest.mark.parametrize(("kind", "personality", "settings", "says"), SERVED)
async def test_a_printer_that_is_not_served_says_why_and_what_to_do(
    make_printer: MakePrinter,
    state_path: Path,
    kind: Kind,
    personality: str,
    settings: dict[str, Any],
    says: str,
):
    printer = make_printer(*filter(None, [personality]))
    async with run_daemon(printer, state_path=state_path, wait=(), **settings) as daemon:
        assert says in await read(daemon, kind)


class NoScanner(Personality):
    """Claims a scanner and has none."""

    name = "no-scanner"

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        return plain(404, "Not Found\n") if request.path.startswith("/eSCL") else None


MISSING = [
    (Kind.PASSWORD, "login-required", "answered 401: the printer asks for a password"),
    (Kind.BAD_ANSWER, "html-instead-of-xml", "/eSCL/ScannerCapabilities cannot be read"),
    (Kind.NO_FUNCTION, "no-scanner", "/eSCL/ScannerCapabilities answered 404 Not Found"),
]


@pytest.mark.parametrize(("kind", "personality", "says"), MISSING)
async def test_a_function_that_is_missing_says_why_and_what_to_do(
    make_printer: MakePrinter, state_path: Path, kind: Kind, personality: str, says: str
):
    own = personality == NoScanner.name
    printer = make_printer(*() if own else (personality,))
    if own:
        printer.personalities.switch_on(NoScanner)
    async with run_daemon(printer, state_path=state_path) as daemon:
        ((missing,),) = (row.missing for row in daemon.supervisor.status())
        shown = "\n".join(cli_status.lines(daemon.status()))
    assert missing.reason.kind == kind.label
    assert says in shown
    assert kind.remedy.format(function="scan") in shown


async def test_a_device_that_another_program_holds_says_which_interface(
    make_printer: MakePrinter, state_path: Path
):
    async with run_daemon(state_path=state_path) as daemon:
        port = daemon.backend.plug(make_printer(interfaces=1).device)
        other = port.open()
        port.detach(other, 0)
        port.claim(other, 0)
        daemon.supervisor.wake()
        assert "interface 0 is held by another program" in await read(daemon, Kind.HELD)
        assert daemon.row()["reason"]["facts"] == {"interface": 0, "by": "another program"}
        port.close(other)


async def test_a_printer_that_is_away_says_whether_it_was_unplugged(
    make_printer: MakePrinter, state_path: Path
):
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path) as daemon:
        daemon.unplug(printer)
        await read(daemon, Kind.UNPLUGGED)
        daemon.plug(printer)
        await daemon.until_state("ready")
    assert kind_and_text(daemon) == (Kind.STOPPING.label, "the daemon stops")


async def test_an_error_of_the_daemon_itself_is_said_to_be_one(
    make_printer: MakePrinter, state_path: Path
):
    def broken(_: str, __: str) -> None:
        raise ZeroDivisionError("a bug")

    async with run_daemon(state_path=state_path) as daemon:
        daemon.publisher.told.append(broken)
        daemon.plug(make_printer())
        assert "ZeroDivisionError('a bug')" in await read(daemon, Kind.BUG)
        daemon.publisher.told.clear()


async def test_ports_that_are_used_up_are_named(make_printer: MakePrinter, state_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = {"port_min": port, "port_max": port}
        async with run_daemon(make_printer(), state_path=state_path, wait=(), **settings) as daemon:
            assert f"no port from {port} to {port} is free" in await read(daemon, Kind.PORTS)
            assert daemon.row()["reason"]["facts"] == {"first": port, "last": port}


async def test_a_web_console_that_insists_on_https_is_trouble_of_a_served_printer(
    make_printer: MakePrinter, state_path: Path
):
    async with run_daemon(make_printer("redirects-to-https"), state_path=state_path) as daemon:
        refused = await ask(daemon.port())
        assert (refused.status, refused.headers["ippusbd-kind"]) == (502, Kind.HTTPS.label)
        assert Kind.HTTPS.remedy in refused.body.decode()
        (trouble,) = daemon.status().printers[0].troubles
        assert trouble.kind == Kind.HTTPS.label


async def test_a_client_of_a_printer_that_is_away_is_told_why(
    make_printer: MakePrinter, state_path: Path
):
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path) as daemon:
        port = daemon.port()
        daemon.unplug(printer)
        await daemon.until_state("away")
        refused = await ask(port)
        assert (refused.status, refused.headers["ippusbd-kind"]) == (503, Kind.UNPLUGGED.label)
        unplugged = Kind.UNPLUGGED
        said = f"ippusbd: the printer is not ready: {unplugged.sentence}\n{unplugged.remedy}\n"
        assert refused.body.decode() == said


def usb_error(number: int) -> None:
    with translated("open the device"):
        raise usb.core.USBError("refused", -3, number)


def wrong_configuration(folder: Path) -> None:
    (folder / "wrong.conf").write_text("[daemon]\nmoon = 1\n")
    load(folder / "wrong.conf")


def a_file_in_the_way(folder: Path) -> None:
    (folder / "way").write_text("")
    make_directory(folder / "way")


async def a_name_too_long(folder: Path) -> None:
    record = ServiceRecord("x" * 64, "_ipp._tcp", 9)  # one letter too many
    await StaticPublisher(folder).publish(ServiceSet("x", (record,)))


async def still_starting(_: Path) -> None:
    await Daemon(Config()).retry({})


async def no_interface(_: Path) -> None:
    pool = InterfacePool([FakeChannel()], drain_s=1)
    async with pool.lease(wait_s=1), pool.lease(wait_s=0.01):
        pass


async def no_ipp(_: Path) -> None:
    await OneDevice(PyusbHost(VirtualBackend([]))).choose(Choice())


def never(result: object) -> None:
    raise AssertionError(f"nothing was raised, but: {result!r}")


async def caused(cause: Callable[[Path], Awaitable[None] | None], folder: Path) -> None:
    if (waiting := cause(folder)) is not None:
        await waiting


REFUSED = {
    Kind.HOST: refused_host("evil.example", "127.0.0.1", frozenset()),
    Kind.WEB_PAGE: refused_site("POST", {"Origin": "http://evil.example"}),
    Kind.BROWSER_NAME: refused_browser(
        "GET", "/", {"Host": "localhost.local:1", "User-Agent": "Mozilla/5.0"}, frozenset()
    ),
}


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.label)
def test_a_refused_browser_is_told_the_kind_and_what_to_do(kind: Kind):
    refusal = REFUSED[kind]
    assert refusal is not None
    assert refusal.reason.kind == kind.label
    assert refusal.reason.remedy == kind.remedy.format(url="http://localhost:1")


async def test_a_network_client_is_told_the_kind_and_what_to_do(tmp_path: Path):
    closed = await Network().refusal("/", None)
    assert closed is not None
    assert closed.reason == Kind.CLOSED.of()
    (tmp_path / "users").write_text(f"{line('anna', 'geheim')}\n")
    needs_login = Network(gate=BasicAuth(Users(tmp_path / "users")))
    login = await needs_login.refusal("/ipp/print", None)
    assert login is not None
    assert (login.status, login.reason) == (401, Kind.LOGIN.of())


async def test_a_client_that_the_rules_exclude_is_told_the_kind(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_identity, "owner", lambda *_: 1000)  # not root, who may everything
    monkeypatch.setattr(accounts, "own_uid", lambda: 999)
    nobody = Access({Activity.SCAN: Allowed(uids=frozenset({54321}))})
    async with serve(settings=replace(SETTINGS, access=nobody)) as served:
        refused = await ask(served.port, "POST", "/eSCL/ScanJobs", b"<x/>")
    assert (refused.status, refused.headers["ippusbd-kind"]) == (403, Kind.DENIED.label)
    assert Kind.DENIED.of("", who="it", what="scan with").remedy in refused.body.decode()


async def test_a_redirect_to_another_host_says_the_kind():
    away = answer(status="302 Found", headers=[("Location", "http://192.168.1.7/hp")])
    async with serve(away, host="localhost") as served:
        refused = await ask(served.port, "GET", "/hp")
        assert (refused.status, refused.headers["ippusbd-kind"]) == (502, Kind.REDIRECTS.label)
        assert Kind.REDIRECTS.of(host="192.168.1.7").remedy in refused.body.decode()


async def test_a_printer_that_was_just_plugged_in_is_being_opened(
    make_printer: MakePrinter, state_path: Path
):
    printer, told = make_printer(), []
    async with run_daemon(state_path=state_path) as daemon:
        daemon.supervisor._on_change = lambda: told.append(kind_and_text(daemon))
        daemon.plug(printer)
        await daemon.until_state("ready")
    assert (Kind.OPENING.label, "being opened") in told


async def test_a_status_page_without_a_port_says_why():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        endpoints = Endpoints(Config(page=True, page_port=port, listen_ipv6=""), Status)
        async with AsyncExitStack() as stack:
            await endpoints.start(stack)
            page = endpoints.status()
    assert page.trouble == Kind.PAGE.of(port=port, why="Address already in use").text


async def test_a_command_that_the_daemon_refuses_says_the_kind(tmp_path: Path):
    path = tmp_path / "control.sock"
    for limit, kind in ((0, Kind.CROWDED), (9, Kind.CONTROL)):
        stranger = Peer(1, 54321, 54321, frozenset({54321}))
        server = ControlServer(path, {}, max_clients=limit, peer_of=lambda _, who=stranger: who)
        await server.start()
        with pytest.raises(IppUsbError) as refused:
            await asyncio.to_thread(ask_daemon, path, "status")
        assert refused.value.diagnosis.kind == kind.label
        assert refused.value.diagnosis.remedy == kind.of().remedy
        await server.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide a library")
def test_without_libusb_check_says_how_to_install_it(tmp_path: Path):
    config = tmp_path / "c.conf"
    config.write_text(f'[daemon]\nruntime_dir = "{tmp_path}"\nstate_dir = "{tmp_path}"\n')
    hide = 'for each in $(ldconfig -p | sed -n "s/.*libusb-1.0.so.*=> //p"); do'
    hide += ' mount --bind /dev/null "$(readlink -f "$each")"; done; exec "$@"'
    argv = [sys.executable, "-m", "ippusbd", "check", "--config", str(config)]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", hide, "sh", *argv],
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"FAIL  {Kind.LIBRARY.sentence}\n      -> {Kind.LIBRARY.of().remedy}" in done.stdout
    assert done.returncode == 1


async def too_many_passwords(folder: Path) -> None:
    class Slow(Users):
        def verify(self, user: str, password: str) -> bool:
            hurry.wait()
            return super().verify(user, password)

    hurry = threading.Event()
    (folder / "users").write_text(f"{line('anna', 'geheim')}\n")
    gate = BasicAuth(Slow(folder / "users"), wait_s=0.01)
    credentials = "Basic " + base64.b64encode(b"anna:geheim").decode()
    first = asyncio.create_task(gate.admits(credentials))
    await asyncio.sleep(0)
    try:
        await gate.admits(credentials)
    finally:
        hurry.set()
        assert await first


async def a_client_that_left(_: Path) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    async with message_stream(ours) as messages:
        await messages.receive(1)


async def a_new_start(_: Path) -> None:
    pool = InterfacePool([FakeChannel()], drain_s=1)
    pool.abandon(StartsAfresh())
    async with pool.lease(wait_s=1):
        pass


RAISED: dict[Kind, Callable[[Path], Awaitable[None] | None]] = {
    Kind.PERMISSION: lambda _: usb_error(errno.EACCES),
    Kind.TRANSFER: lambda _: usb_error(errno.EIO),
    Kind.CONFIGURATION: wrong_configuration,
    Kind.STATE: a_file_in_the_way,
    Kind.NOT_RUNNING: lambda folder: never(ask_daemon(folder / "no.sock", "status")),
    Kind.REQUEST: lambda _: never(origin_form("CONNECT", "x:1")),
    Kind.ANNOUNCING: a_name_too_long,
    Kind.STARTING: still_starting,
    Kind.BUSY: no_interface,
    Kind.NO_IPP: no_ipp,
    Kind.RETRIED: a_new_start,
    Kind.TOO_MANY: too_many_passwords,
    Kind.CLIENT_GONE: a_client_that_left,
    Kind.OTHER_DAEMON: lambda _: never(read_status({"schema": 0})),
    Kind.USAGE: lambda folder: refuse(folder / "new", unasked=False),
    Kind.OTHER: lambda folder: refuse(folder, unasked=True),
}


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.label)
async def test_an_error_knows_its_kind_and_its_remedy(kind: Kind, tmp_path: Path):
    with pytest.raises(IppUsbError) as raised:
        await caused(RAISED[kind], tmp_path)
    found = raised.value.diagnosis
    remedy = kind.of(found.text, **found.facts).remedy
    assert (found.kind, found.remedy, found.text) == (kind.label, remedy, str(raised.value))


# --- the table


def test_every_kind_has_a_sentence_a_remedy_and_a_name_of_its_own():
    for kind in Kind:
        assert kind.sentence
        assert kind.remedy
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.label)
    assert len({kind.label for kind in Kind}) == len(Kind)


@pytest.mark.parametrize("row", [("x", Severity.ERROR, "it is so", ""), ("x", Severity.ERROR, "")])
def test_a_kind_without_a_remedy_cannot_be_declared(row: tuple[Any, ...]):
    with pytest.raises((ValueError, TypeError)):
        Meaning(*row)


STORIES = {
    Kind.CLOSED, Kind.HELD, Kind.UNPLUGGED, Kind.STOPPING, Kind.BUG, Kind.PORTS, Kind.LOGIN,
    Kind.DENIED, Kind.REDIRECTS, Kind.OPENING, Kind.PAGE, Kind.CROWDED, Kind.CONTROL, Kind.LIBRARY,
}  # fmt: skip


def test_every_kind_comes_true():
    here = {kind for kind, *_ in [*SERVED, *MISSING]} | set(RAISED) | set(REFUSED) | STORIES
    tests = "".join(
        path.read_text()
        for name in ("doctor", "setup", "cli", "clients")
        for path in sorted((Path(__file__).parents[2] / name).glob("*.py"))
    )
    elsewhere = {kind for kind in Kind if f"Kind.{kind.name}" in tests}
    assert set(Kind) - here - elsewhere == set()
