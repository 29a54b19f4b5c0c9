"""The broker before the daemon's own parts: supervisor, proxy, virtual printers in one process."""

from __future__ import annotations

import asyncio
import grp
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support import http_client as client
from support.daemon import InProcessDaemon, run_daemon
from support.fake_directory import ask, send

from ippusbd.config import Config, broker_dir, runtime_dir
from ippusbd.daemon.brokering import Brokering, PrinterDirectory, socket_group
from ippusbd.daemon.observe.status import BrokerStatus
from ippusbd.errors import ConfigError
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.wire.broker import encode, next_message

NAME = "ippusb_manager.sock"
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def serving(
    folder: Path, *printers: VirtualPrinter, ready: bool = True, **settings: object
) -> AsyncIterator[tuple[InProcessDaemon, Brokering]]:
    """A daemon with a broker in `folder`; `ready`: once it serves all of `printers`."""
    state = folder.parent / "state.json"
    async with run_daemon(*printers, state_path=state, wait=("ready",) * ready) as daemon:
        config = replace(daemon.config, broker_dir=folder, **settings)  # type: ignore[arg-type]
        made = Brokering(config)
        daemon.supervisor._on_change = made.changed
        try:
            await made.start(daemon.supervisor)
            yield daemon, made
        finally:
            await made.close()


@pytest.fixture
def twins() -> list[VirtualPrinter]:
    return [VirtualPrinter(serial=serial) for serial in ("ONE", "TWO")]


@pytest.fixture(autouse=True)
def _closed(twins: list[VirtualPrinter]) -> Iterator[None]:
    yield
    for printer in twins:
        printer.close()


REQUESTS = 20


async def http(path: Path, request: bytes = GET) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_each_of_two_identical_printers_is_reached_by_its_serial(
    folder: Path, twins: list[VirtualPrinter]
):
    async with serving(folder, *twins):
        for printer in twins:
            serial = printer.device.model.serial
            name = await ask(folder / NAME, f"1209_0001_{serial}")
            before = [p.stats.as_dict()["requests"] for p in twins]
            for _ in range(REQUESTS):  # more than the daemon asks by itself meanwhile
                assert (await http(folder / name)).startswith(b"HTTP/1.1 200")
            after = [p.stats.as_dict()["requests"] for p in twins]
            many = [a - b >= REQUESTS for a, b in zip(after, before, strict=True)]
            assert many == [p is printer for p in twins]


async def test_the_list_names_every_printer_as_it_can_be_asked_for(
    folder: Path, twins: list[VirtualPrinter]
):
    async with serving(folder, *twins):
        reader, writer = await asyncio.open_unix_connection(str(folder / NAME))
        writer.write(encode("list"))
        raw, said = await reader.read(), []
        while (message := next_message(raw)) is not None:
            text, raw = message
            said.append(text)
        writer.close()
        await writer.wait_closed()
    assert sorted(said) == ["", "1209_0001_ONE", "1209_0001_TWO"]
    assert said[-1] == ""


async def test_a_question_waits_for_the_probe_that_is_under_way(
    folder: Path, twins: list[VirtualPrinter]
):
    printer = twins[0]
    async with serving(folder, ready=False) as (daemon, _):
        daemon.backend.plug(printer.device)  # and nobody wakes the daemon
        assert await ask(folder / NAME, "1209_0001") == "1209_0001.sock"
        assert (await http(folder / "1209_0001.sock")).startswith(b"HTTP/1.1 200")


@pytest.fixture
def silent() -> Iterator[VirtualPrinter]:
    printer = VirtualPrinter(serial="SILENT", personalities=["silent"])
    yield printer
    printer.close()


async def test_a_printer_whose_probe_fails_is_not_found_within_the_clients_patience(
    folder: Path, silent: VirtualPrinter
):
    async with serving(folder, silent, ready=False):
        start = asyncio.get_running_loop().time()
        assert await ask(folder / NAME, "1209_0001") == "Device not found"
        assert asyncio.get_running_loop().time() - start < 4.5


async def test_while_its_printer_is_away_a_socket_says_come_again(
    folder: Path, twins: list[VirtualPrinter]
):
    printer = twins[0]
    async with serving(folder, printer) as (daemon, _):
        name = await ask(folder / NAME, "1209_0001")
        daemon.unplug(printer)
        await daemon.until_state("away")
        answer = await http(folder / name)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"Retry-After:" in answer
        assert await ask(folder / NAME, "1209_0001") == "Device not found"
        printer.replug()
        daemon.supervisor.wake()
        await daemon.until_state("ready")
        assert (await http(folder / name)).startswith(b"HTTP/1.1 200")


async def test_a_printers_socket_is_there_before_anybody_asks(
    folder: Path, twins: list[VirtualPrinter]
):
    async with serving(folder, ready=False) as (daemon, _):
        daemon.plug(twins[0])
        await daemon.until((folder / "1209_0001.sock").exists)
        assert (await http(folder / "1209-0001.sock")).startswith(b"HTTP/1.1 200")


async def test_nobody_wanting_anything_ends_the_waiting(folder: Path, twins: list[VirtualPrinter]):
    async with serving(folder, twins[0], idle_exit_s=0.3) as (_, made):
        await ask(folder / NAME, "1209_0001")
        stop = asyncio.Event()
        waiting = asyncio.create_task(made.until_idle(stop))
        for _ in range(6):
            await http(folder / "1209_0001.sock")
            await asyncio.sleep(0.1)
        assert not waiting.done(), "requests are activity"
        async with asyncio.timeout(5):
            await waiting
        assert not (folder / NAME).exists()


async def test_without_a_folder_for_the_broker_printers_are_served_all_the_same(
    tmp_path: Path, twins: list[VirtualPrinter], caplog: pytest.LogCaptureFixture
):
    (tmp_path / "file").write_text("in the way")
    async with serving(tmp_path / "file", twins[0]) as (daemon, _):
        assert daemon.row()["state"] == "ready"
    assert "broker disabled" in caplog.text


@pytest.mark.parametrize(
    "settings", [{"broker_users": ("no-such-user",)}, {"broker_groups": ("no-such-group",)}]
)
async def test_users_and_groups_that_do_not_exist_are_configuration_errors(
    folder: Path, settings: dict[str, object]
):
    with pytest.raises(ConfigError, match="no-such"):
        async with serving(folder, ready=False, **settings):
            pass


async def test_a_switched_off_broker_opens_nothing(folder: Path):
    async with serving(folder, ready=False, broker=False):
        assert not folder.exists()


async def test_a_stray_message_is_no_question(folder: Path, twins: list[VirtualPrinter]):
    async with serving(folder, ready=False):
        assert await send(folder / NAME, encode("listing")) == b""


@pytest.mark.parametrize(
    ("config", "environ", "uid", "expected"),
    [
        (Config(), {}, 0, "/run/ippusb"),
        (Config(), {"RUNTIME_DIRECTORY": "/run/ippusbd:/run/ippusb"}, 7, "/run/ippusb"),
        (Config(), {"RUNTIME_DIRECTORY": "/run/ippusb:/run/ippusbd"}, 7, "/run/ippusb"),
        (Config(), {"RUNTIME_DIRECTORY": "/run/ippusbd"}, 7, "/run/ippusbd"),
        (Config(), {"XDG_RUNTIME_DIR": "/run/user/7"}, 7, "/run/user/7/ippusbd"),
        (Config(runtime_dir=Path("/r")), {"RUNTIME_DIRECTORY": "/run/ippusb"}, 0, "/r"),
        (Config(broker_dir=Path("/b"), runtime_dir=Path("/r")), {}, 0, "/b"),
    ],
)
def test_the_sockets_are_where_their_clients_look(
    config: Config, environ: dict[str, str], uid: int, expected: str
):
    assert broker_dir(config, environ, uid) == Path(expected)
    if "RUNTIME_DIRECTORY" in environ and config.runtime_dir is None:
        assert runtime_dir(config, environ, uid) == Path("/run/ippusbd")


def test_the_sockets_get_the_group_of_cups_if_the_daemon_is_a_member():
    lp = grp.getgrnam("lp").gr_gid
    assert socket_group("lp", may_set=lambda gid: gid == lp) == lp
    assert socket_group("lp", may_set=lambda _: False) is None
    assert socket_group("") is None
    with pytest.raises(ConfigError, match="no-such-group"):
        socket_group("no-such-group")


async def test_links_in_answers_can_be_opened_by_who_came_through_a_unix_socket(
    folder: Path, twins: list[VirtualPrinter]
):
    capabilities = b"GET /eSCL/ScannerCapabilities HTTP/1.0\r\nHost: 1209-0001.sock\r\n\r\n"
    async with serving(folder, twins[0]) as (daemon, _):
        name = await ask(folder / NAME, "1209_0001")
        answer = await http(folder / name, capabilities)
        assert (
            f"<scan:AdminURI>http://localhost:{daemon.port()}/</scan:AdminURI>".encode() in answer
        )
        assert b"1209-0001.sock" not in answer


async def test_the_status_names_the_program_at_a_unix_socket(
    folder: Path, twins: list[VirtualPrinter]
):
    async with serving(folder, twins[0]) as (daemon, _):
        name = await ask(folder / NAME, "1209_0001")
        twins[0].switch("silent", on=True)
        asking = asyncio.create_task(http(folder / name))
        own = Path("/proc/self/comm").read_text().strip()

        def ours() -> list[dict[str, object]]:
            return [
                one
                for one in daemon.row()["exchanges"]
                if own in one["client"] and one["waits_for"] == "the printer's answer"
            ]

        await daemon.until(ours)
        (exchange,) = ours()
        assert exchange["client"].endswith(f" pid {os.getpid()})")
        assert exchange["request"].startswith("GET /")
        daemon.unplug(twins[0])
        assert (await asking).startswith(b"HTTP/1.1 50")


async def test_status_says_where_the_broker_is_or_why_there_is_none(folder: Path, tmp_path: Path):
    async with serving(folder, ready=False) as (_, made):
        assert made.status() == BrokerStatus(socket=str(folder / NAME))
    (tmp_path / "file").write_text("in the way")
    async with serving(tmp_path / "file", ready=False) as (_, made):
        assert made.status().socket == ""
        assert "file" in made.status().trouble


async def test_a_request_to_a_printer_that_is_away_is_activity(
    folder: Path, twins: list[VirtualPrinter]
):
    """A daemon that exits while a client retries would be started again by its next try."""
    async with serving(folder, twins[0]) as (daemon, _):
        port = daemon.port()
        daemon.unplug(twins[0])
        await daemon.until_state("away")
        directory = PrinterDirectory(daemon.supervisor)
        before = directory.sample()
        assert (await client.ask(port)).status == 503
        after = directory.sample()
    assert not after.busy
    assert after.count > before.count
