"""A trace shows the USB transfers, without bodies unless asked for, and disturbs no client."""

from __future__ import annotations

import asyncio
import base64
import ctypes
import errno
import json
import stat
import struct
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.daemon import InProcessDaemon, run_daemon
from support.fake_channel import FakeChannel
from support.http_client import ask, ask_ipp

from ippusbd.cli.trace import Files, _files
from ippusbd.daemon.observe import trace as tracing
from ippusbd.daemon.observe.control import ControlServer
from ippusbd.daemon.observe.control_client import stream
from ippusbd.daemon.observe.trace import Trace, Traces
from ippusbd.daemon.observe.trace_http import HIDDEN, WatchedChannel
from ippusbd.daemon.registry import NoSuchPrinter, chosen
from ippusbd.errors import IppUsbError, TransferFailed
from ippusbd.usbio.libusb import Status, Transfer, _Transfer
from ippusbd.usbio.tap import Tap, UsbEvent
from ippusbd.wire.ipp import Operation
from ippusbd.wire.pcapng import Urb, header, packet

SECRET = "Basic c2VjcmV0"


class Watcher:
    """Takes a trace's events until the end of the block."""

    def __init__(self, daemon: InProcessDaemon, *, bodies: bool = False) -> None:
        self.daemon = daemon
        self.trace = Trace(next(iter(daemon.supervisor.printers)), bodies=bodies)
        self.events: list[dict[str, Any]] = []

    async def __aenter__(self) -> Watcher:
        self._task = asyncio.create_task(self._watch())
        await self.daemon.until(lambda: self.events)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _watch(self) -> None:
        async with aclosing(self.trace.events()) as events:
            async for event in events:
                self.events.append(event)

    @property
    def usb(self) -> list[dict[str, Any]]:
        return [event["usb"] for event in self.events if "usb" in event]

    @property
    def http(self) -> list[dict[str, Any]]:
        return [event["http"] for event in self.events if "http" in event]


async def test_every_transfer_and_exchange_is_traced(make_printer, state_path):
    async with (
        run_daemon(make_printer(), state_path=state_path, supplies_s=0.0) as daemon,
        Watcher(daemon, bodies=True) as seen,
    ):
        page = await ask(daemon.port(), target="/big?bytes=100000")
        assert (await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=b"%PDF" * 30_000)).ok
        await daemon.until(lambda: len(seen.http) == 2)
        got, printed = seen.http
        assert got["request"]["url"].endswith("/big?bytes=100000")
        assert got["response"]["status"] == printed["response"]["status"] == 200
        assert base64.b64decode(got["response"]["content"]["text"]) == page.body
        assert printed["request"]["bodySize"] > 120_000
        into = [each for each in seen.usb if each["endpoint"] & 0x80]
        sent = b"".join(
            base64.b64decode(each["data"]) for each in seen.usb
            if each["begins"] and not each["endpoint"] & 0x80
        )  # fmt: skip
        assert sent.startswith(b"GET /big?bytes=100000 HTTP/1.1\r\n")
        assert b"%PDF%PDF" in sent
        moved = b"".join(base64.b64decode(each["data"]) for each in into if not each["begins"])
        assert page.body in moved

        def transfers(*, begin: bool) -> list[int]:
            return sorted(each["transfer"] for each in seen.usb if each["begins"] is begin)

        # The daemon may just be asking for the state of the job.
        await daemon.until(lambda: transfers(begin=True) == transfers(begin=False))


async def test_without_bodies_no_body_and_no_secret_is_traced(make_printer, state_path):
    async with (
        run_daemon(make_printer(), state_path=state_path, supplies_s=0.0) as daemon,
        Watcher(daemon) as seen,
    ):
        headers = (("Authorization", SECRET), ("Cookie", "id=geheim"), ("X-Plain", "yes"))
        await ask(daemon.port(), target="/big?password=geheim&bytes=10&geheim", headers=headers)
        await ask_ipp(daemon.port(), Operation.PRINT_JOB, document=b"geheim")
        await daemon.until(lambda: len(seen.http) == 2)
        told = json.dumps(seen.events)
        assert "geheim" not in told
        assert SECRET not in told
        assert f"password={HIDDEN}" in told
        fields = {each["name"]: each["value"] for each in seen.http[0]["request"]["headers"]}
        assert (fields["Authorization"], fields["X-Plain"]) == (HIDDEN, "yes")
        assert all(each["data"] == "" for each in seen.usb)
        assert any(each["length"] > 0 for each in seen.usb)
        assert seen.http[1]["request"]["bodySize"] > 6


async def test_a_trace_follows_its_printer_over_a_replug_and_leaves_nothing(
    make_printer, state_path
):
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path, supplies_s=0.0) as daemon:
        async with Watcher(daemon) as seen:
            daemon.unplug(printer)
            await daemon.until_state("away")
            daemon.plug(printer)
            await daemon.until_state("ready")
            await daemon.until(lambda: daemon.pool().witness is not None)
            await ask(daemon.port(), target="/after")
            await daemon.until(lambda: any("/after" in e["request"]["url"] for e in seen.http))
        assert daemon.pool().witness is None
        known = len(seen.events)
        assert (await ask(daemon.port())).status == 200
        assert len(seen.events) == known


async def test_a_slow_reader_loses_events_and_is_told_so(make_printer, state_path, monkeypatch):
    monkeypatch.setattr(tracing, "QUEUE_BYTES", 5_000)
    async with (
        run_daemon(make_printer(), state_path=state_path, supplies_s=0.0) as daemon,
        Watcher(daemon, bodies=True) as seen,
    ):
        assert len((await ask(daemon.port(), target="/big?bytes=1000000")).body) == 1_000_000
        await daemon.until(lambda: any("dropped" in event for event in seen.events))


async def test_a_printer_is_traced_once_and_named_exactly(make_printer, state_path):
    twins = [make_printer(serial=serial) for serial in ("A1", "A12")]
    async with run_daemon(*twins, state_path=state_path) as daemon:
        printers = [p for _, p, _ in daemon.supervisor.devices() if p is not None]
        assert chosen(printers, "a12").facts.serial == "A12"
        assert chosen(printers, "A1").facts.serial == "A1"  # exactly, though A12 has it too
        for wrong in ("VirtualJet", "no such"):
            with pytest.raises(NoSuchPrinter, match="there are: Example"):
                chosen(printers, wrong)
        traces = Traces()
        async with aclosing(traces.events(printers, "A1", bodies=False)) as first:
            await anext(first)
            async with aclosing(traces.events(printers, "A1", bodies=False)) as second:
                with pytest.raises(IppUsbError, match="already"):
                    await anext(second)


async def test_events_come_over_the_control_socket_until_the_client_leaves(
    make_printer, state_path, tmp_path: Path
):
    async with run_daemon(make_printer(), state_path=state_path, supplies_s=0.0) as daemon:
        traces = Traces()

        def trace(request: dict[str, Any]) -> Any:
            printers = [p for _, p, _ in daemon.supervisor.devices() if p is not None]
            return traces.events(printers, request["printer"], bodies=False)

        server = ControlServer(tmp_path / "c.sock", {}, streams={"trace": trace})
        await server.start()
        events: list[object] = []

        def read() -> None:
            for event in stream(tmp_path / "c.sock", "trace", printer="VirtualJet"):
                events.append(event)
                if "http" in event:
                    return

        reading = asyncio.create_task(asyncio.to_thread(read))
        await daemon.until(lambda: events)
        await ask(daemon.port())
        await reading
        await daemon.until(lambda: daemon.pool().witness is None)  # the reader left
        with pytest.raises(IppUsbError, match="no printer matches"):
            await asyncio.to_thread(
                lambda: list(stream(tmp_path / "c.sock", "trace", printer="nobody"))
            )
        await server.close()


async def test_a_broken_answer_is_an_entry_with_its_reason():
    told: list[dict[str, Any]] = []
    channel = FakeChannel()
    watched = WatchedChannel(channel, told.append, bodies=False)
    watched.discard()
    await watched.write(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
    channel.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal")
    await watched.read()
    channel.fail(TransferFailed("stalled in the middle"))
    with pytest.raises(TransferFailed):
        await watched.read()
    (entry,) = told
    assert entry["comment"] == "stalled in the middle"
    assert (entry["request"]["method"], entry["response"]["content"]["size"]) == ("GET", 3)


# --- files


def test_a_capture_begins_and_goes_on_as_the_format_says():
    raw = header("made by a test") + packet(
        Urb(1_700_000_000.25, False, 7, 0x81, 3, 9, -errno.EPIPE, 5, b"hello")
    )
    at, kinds = 0, []
    while at < len(raw):
        kind, length = struct.unpack_from("<II", raw, at)
        assert length % 4 == 0
        assert struct.unpack_from("<I", raw, at + length - 4) == (length,)
        kinds.append(kind)
        body = raw[at + 8 : at + length - 4]
        at += length
    assert kinds == [0x0A0D0D0A, 1, 6]
    assert body[20 : 20 + 12] == struct.pack("<QBBBB", 7, ord("C"), 3, 0x81, 9)
    assert body[20 + 64 :].startswith(b"hello")


def test_the_files_are_private_whole_and_counted(tmp_path: Path):
    with _files(tmp_path / "t") as files:
        assert isinstance(files, Files)
        for _ in range(2):
            files.write({"http": {"request": {}}})
        files.write({"dropped": 3})
    assert json.loads((tmp_path / "t.har").read_text())["log"]["entries"] == [{"request": {}}] * 2
    assert stat.S_IMODE((tmp_path / "t.pcapng").stat().st_mode) == 0o600
    assert list(files.summary())[-1].startswith("3 events were dropped")


def test_a_symbolic_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path):
    (tmp_path / "t.har").symlink_to(tmp_path / "precious")
    with _files(tmp_path / "t"):
        pass
    assert not (tmp_path / "precious").exists()


def test_a_file_that_another_user_made_and_may_read_gets_nothing(tmp_path: Path):
    trap = tmp_path / "t.har"
    trap.write_text("before")
    trap.chmod(0o666)
    with trap.open() as reader:
        with _files(tmp_path / "t") as files:
            files.write({"http": {"request": "a password"}})
        assert reader.read() == "before"
    assert stat.S_IMODE(trap.stat().st_mode) == 0o600


def test_a_folder_in_the_place_of_a_file_is_an_error(tmp_path: Path):
    (tmp_path / "t.har").mkdir()
    with pytest.raises(IppUsbError, match=r"t\.har"), _files(tmp_path / "t"):
        pass


# --- transfers of libusb, without a bus


def test_a_tap_reports_begin_and_end_of_a_libusb_transfer_with_its_bytes():
    fields = _Transfer()
    functions = SimpleNamespace(
        libusb_alloc_transfer=lambda _: SimpleNamespace(contents=fields),
        libusb_submit_transfer=lambda _: 0,
    )
    libusb = SimpleNamespace(functions=functions, call=lambda call: call())
    heard: list[UsbEvent] = []
    over: list[Transfer] = []
    out = Transfer(libusb, None, 0x02, over.append)  # type: ignore[arg-type]
    data = b"to the printer"
    address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
    out.submit(address, len(data), data)  # nobody listens
    out._finished(None)
    out.tap = Tap(heard.append, wants_data=True)
    out.submit(address, len(data), data)
    fields.actual_length, fields.status = 3, Status.STALL
    out._finished(None)
    assert len(over) == 2
    begin, end = heard
    assert (begin.begins, begin.length, begin.data) == (True, len(data), data)
    assert (end.begins, end.length, end.status, end.data) == (False, 3, -errno.EPIPE, b"")
    assert begin.transfer == end.transfer
