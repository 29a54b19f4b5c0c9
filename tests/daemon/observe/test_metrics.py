"""Metrics and status page, at the control socket and at ports."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.daemon import run_daemon
from support.http_client import ask

from ippusbd.config import Config
from ippusbd.daemon.observe import metrics
from ippusbd.daemon.observe.control import ControlServer
from ippusbd.daemon.observe.endpoints import MAX_CLIENTS, Endpoints
from ippusbd.daemon.observe.recent_errors import KEPT, collecting
from ippusbd.daemon.observe.status import (
    ConditionStatus,
    MissingStatus,
    PageStatus,
    PrinterStatus,
    Status,
)
from ippusbd.daemon.printer.states import State
from ippusbd.dataclass_json import decode
from ippusbd.errors import NotAPrinter
from ippusbd.kinds import Kind
from ippusbd.log import set_context
from ippusbd.model import Supply
from ippusbd.proxy.admission.listeners import bind
from ippusbd.wire.state_reasons import Advice, Severity

# The text format's grammar, as far as we use it.
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[0-9.]+(?:e[-+]?\d+)?)")

STATUS = decode(Status, {
    "version": "1.2",
    "uptime_s": 3.5,
    "publisher": {"kind": "avahi", "state": "ok"},
    "printers": [
        {
            "id": "03f0:1234",
            "serial": 'S"1\\',
            "name": "Desk\nprinter",
            "state": "ready",
            "port": 60000,
            "requests": 7,
            "bytes_in": 8,
            "bytes_out": 9,
            "transfers": {"submitted": 12, "completed": 10, "cancelled": 2},
            "interfaces": {"total": 3, "in_use": 1, "broken": 0, "waiting": 2, "released": 0},
            "condition": {
                "asks": [{"reason": "media-empty-error", "text": "paper out", "severity": "error"}],
                "supplies": [
                    {"name": "Black", "kind": "toner", "level": 8, "low": True},
                    {"name": "Black", "kind": "toner", "level": 50, "low": False},
                    {"name": "Unknown", "kind": "ink", "level": None},
                ],
                "pages": 4711,
                "sheets": None,
                "age_s": 1.5,
            },
        },
        {"id": "03f0:9999", "state": "opening",
         "reason": {"kind": "opening", "severity": "report"}},
    ],
})  # fmt: skip


def samples(text: str) -> dict[str, float]:
    """Every sample, after the whole text was checked against the grammar."""
    assert text.endswith("\n")
    found: dict[str, float] = {}
    declared = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            declared.add(line.split()[2])
            continue
        if line.startswith("# HELP "):
            continue
        match = SAMPLE.fullmatch(line)
        assert match is not None, line
        assert match[1] in declared
        key = line.rpartition(" ")[0]
        assert key not in found, f"twice: {key}"
        found[key] = float(match[3])
    return found


def test_known_numbers_of_the_status_are_exposed_and_unknown_ones_left_out():
    found = samples(metrics.exposition(STATUS))
    about = r'{printer="Desk\nprinter",id="03f0:1234",serial="S\"1\\",port="60000"'
    assert found[f"ippusbd_printer_requests_total{about}}}"] == 7
    assert found[f"ippusbd_printer_transfers_submitted_total{about}}}"] == 12
    assert found[f"ippusbd_printer_transfers_completed_total{about}}}"] == 10
    assert found[f"ippusbd_printer_transfers_cancelled_total{about}}}"] == 2
    assert found[f"ippusbd_printer_pages_total{about}}}"] == 4711
    assert found[f'ippusbd_printer_interfaces{about},use="free"}}'] == 2
    assert found[f'ippusbd_supply_level_ratio{about},supply="Black",kind="toner"}}'] == 0.08
    assert found[f'ippusbd_supply_level_ratio{about},supply="Black 2",kind="toner"}}'] == 0.5
    assert found[f'ippusbd_printer_state{about},state="ready"}}'] == 1
    reason = f'{about},reason="media-empty-error",severity="error"}}'
    assert found[f"ippusbd_printer_reason{reason}"] == 1
    assert not [key for key in found if "Unknown" in key or "sheets" in key]
    assert [key for key in found if 'kind="opening",severity="report"' in key]
    assert sum(value for key, value in found.items() if "printer_up" in key) == 1


@pytest.mark.parametrize(
    "names", [["Black", "Black", "Black 2"], ["Black 2", "Black", "Black"], ["", "", " 2"]]
)
def test_no_two_samples_have_the_same_labels_whatever_supplies_are_called(names: list[str]):
    supplies = [{"name": name, "kind": "toner", "level": 50} for name in names]
    printer = {"id": "03f0:1234", "state": "ready", "condition": {"supplies": supplies}}
    text = metrics.exposition(decode(Status, {"printers": [printer]}))
    lines = [line for line in text.splitlines() if "supply_level" in line and line[0] != "#"]
    assert len({line.rpartition(" ")[0] for line in lines}) == 3


KINDS = st.sampled_from([Kind.OPENING, Kind.BUG, Kind.CLOSED]).map(lambda kind: kind.of("why"))
FEW = st.sampled_from(["", "a", 'a"', "a 2"])  # so that they coincide
CONDITIONS = st.builds(
    ConditionStatus,
    asks=st.lists(st.builds(Advice, FEW, FEW, st.sampled_from(Severity)), max_size=3).map(tuple),
    supplies=st.lists(st.builds(Supply, FEW, FEW, level=st.just(50)), max_size=3).map(tuple),
    pages=st.integers(0, 9),
)
PRINTERS = st.builds(
    PrinterStatus,
    id=st.just("04b8:1234"),
    serial=FEW,
    address=FEW,
    model=FEW,
    state=st.sampled_from(State),
    reason=st.none() | KINDS,
    port=st.sampled_from([0, 60000]),
    name=FEW,
    missing=st.lists(st.builds(MissingStatus, function=FEW, reason=KINDS), max_size=3).map(tuple),
    troubles=st.lists(KINDS, max_size=3).map(tuple),
    condition=st.none() | CONDITIONS,
)


@given(st.lists(PRINTERS, max_size=4).map(tuple))
def test_no_two_samples_have_the_same_labels_whatever_the_status_is(printers: tuple):
    assert samples(metrics.exposition(Status(printers=printers)))


def test_devices_of_one_model_that_have_no_port_are_told_apart():
    rows = [PrinterStatus(id="04b8:1234", address=f"001/00{n}", state=State.IGNORED) for n in "12"]
    found = samples(metrics.exposition(Status(printers=tuple(rows))))
    assert len([key for key in found if key.startswith("ippusbd_printer_up{")]) == 2


def test_a_daemon_that_has_just_started_has_metrics_too():
    assert samples(metrics.exposition(Status(), metrics.process()))["process_open_fds"] > 2


def status() -> Status:
    return STATUS


async def answer_status(_: object) -> Status:
    return STATUS


async def from_socket(path: Path, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_the_control_socket_answers_http_requests_too(tmp_path: Path):
    endpoints = Endpoints(Config(), status)
    path = tmp_path / "c.sock"
    server = ControlServer(path, {"status": answer_status}, http=endpoints.answer)
    await server.start()
    try:
        answer = await from_socket(path, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Content-Type: text/plain; version=0.0.4" in head
        assert samples(body.decode())
        page = await from_socket(path, b"GET / HTTP/1.0\r\n\r\n")
        assert b"<h2" in page
        missing = await from_socket(path, b"GET /etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n")
        assert missing.startswith(b"HTTP/1.1 404")
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"command": "status"}\n')
        assert (await reader.readline()).startswith(b'{"ok": true')
        writer.close()
        await writer.wait_closed()
    finally:
        await server.close()


@pytest.fixture
async def port():
    """A free port, where the endpoints then listen."""
    with bind("127.0.0.1", 0) as free:
        number = free.getsockname()[1]
    config = Config(page=True, page_port=number, metrics_port=number, listen_ipv6="")
    async with AsyncExitStack() as stack:
        endpoints = Endpoints(config, status)
        await endpoints.start(stack)
        assert endpoints.status() == PageStatus(url=f"http://127.0.0.1:{number}/")
        yield number


async def test_page_and_metrics_are_served_at_their_port(port: int):
    page = await ask(port, host="127.0.0.1")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "script" not in page.headers["content-security-policy"]
    assert page.headers["refresh"] == "30"
    text = await ask(port, target="/metrics", host="127.0.0.1")
    assert samples(text.body.decode())
    head = await ask(port, "HEAD", host="127.0.0.1")
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("localhost", True),
        ("LOCALHOST:8631", True),
        ("127.0.0.1:1", True),
        ("[::1]:8631", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
async def test_only_loopback_names_are_answered(port: int, host: str, answered: bool):
    reply = await ask(port, "GET", "/", headers=(("Host", host),), host="127.0.0.1")
    assert reply.status == (200 if answered else 421)
    assert (b"Desk" in reply.body) == answered


async def test_a_browser_is_redirected_from_the_announced_name_to_localhost(port: int):
    fields = (("Host", f"localhost.local:{port}"), ("User-Agent", "Mozilla/5.0"))
    reply = await ask(port, "GET", "/metrics", headers=fields, host="127.0.0.1")
    assert (reply.status, reply.headers["location"]) == (307, f"http://localhost:{port}/metrics")


async def test_a_request_with_two_hosts_is_refused(port: int):
    fields = (("Host", "localhost"), ("Host", "evil.example"))
    assert (await ask(port, "GET", "/", headers=fields, host="127.0.0.1")).status == 400


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "CONNECT"])
async def test_only_get_and_head_are_allowed(port: int, method: str):
    assert (await ask(port, method, host="127.0.0.1")).status == 405


async def test_a_head_without_end_is_refused_and_many_clients_are_bounded(port: int):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)
    with suppress(ConnectionError):  # a reset, because the rest of the head is not read
        assert (await asyncio.wait_for(reader.read(), 10)).startswith((b"HTTP/1.1 400", b""))
    writer.close()
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CLIENTS + 1)]
    assert (await asyncio.wait_for(silent[-1][0].read(), 10)).startswith(b"HTTP/1.1 503")
    for _, each in silent:
        each.close()


async def test_silent_clients_of_one_user_keep_no_other_out(by_address: None, port: int):
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CLIENTS)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 200")
    for each in (writer, *(writer for _, writer in silent)):
        each.close()


async def test_a_port_that_is_in_use_disables_the_page_and_nothing_else():
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        config = Config(page=True, page_port=taken.getsockname()[1], listen_ipv6="")
        async with AsyncExitStack() as stack:
            endpoints = Endpoints(config, status)
            await endpoints.start(stack)
            assert "cannot be used" in endpoints.status().trouble


async def test_a_real_printers_metrics_are_its_own(make_printer, state_path):
    async with run_daemon(make_printer(), state_path=state_path) as daemon:
        await daemon.until(lambda: (daemon.row()["condition"] or {}).get("supplies"))
        await ask(daemon.port())
        told = daemon.status()
        found = samples(metrics.exposition(told))
        levels = [value for key, value in found.items() if "supply_level" in key]
        assert levels == [0.8, 0.65, 0.5, 0.35]


# --- what went wrong lately


async def test_the_last_errors_are_kept_with_remedies_up_to_a_limit():
    log = logging.getLogger("ippusbd.daemon")
    set_context("Desk")
    with collecting() as recent:
        log.info("plugged in")
        for _ in range(3):
            log.warning("%s", NotAPrinter("print: /ipp/print answered 404 Not Found"))
        first = recent.status()
        assert [(each.printer, each.times) for each in first] == [("Desk", 3)]
        assert "vendor's driver" in str(first[0].reason and first[0].reason.remedy)
        for number in range(100):
            log.error("trouble \x1b %d", number)
        assert len(recent.status()) == KEPT
        assert recent.status()[0].text == "trouble \\x1b 99"
        assert recent.status()[0].level == "error"
    log.error("after")
    assert recent.status()[0].text == "trouble \\x1b 99"
