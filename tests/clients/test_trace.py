"""`ippusbd trace` beside a running daemon; what it wrote, opened by the real tshark."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.debian import require
from support.waiting import until_true

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

FIELDS = (
    "usb.urb_type",
    "usb.endpoint_address",
    "usb.urb_len",
    "usb.data_len",
    "usb.urb_status",
    "usb.capdata",
    "_ws.malformed",
)


class Daemon:
    """`ippusbd run --virtual`, and what is asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "ippusbd.conf"
        self.config.write_text(
            f'[daemon]\nstate_dir = "{folder}/state"\nruntime_dir = "{folder}/run"\n'
            '[listen]\nport_min = 61000\n[dnssd]\npublisher = "off"\n'
        )
        self._started: list[subprocess.Popen[str]] = []
        self.start("run", "--virtual")

    def start(self, *argv: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "ippusbd", *argv, "--config", str(self.config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._started.append(process)
        return process

    def stop(self) -> None:
        for process in reversed(self._started):
            process.terminate()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def status(self) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "ippusbd", "status", "--json", "--config", str(self.config)],
            capture_output=True,
            text=True,
            check=False,
        )
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {}

    @property
    def port(self) -> int:
        return int(self.status()["printers"][0]["port"])

    def trace(self, *options: str) -> subprocess.Popen[str]:
        """Begun, and watching."""
        process = self.start("trace", "VirtualJet", "-o", str(self.folder / "t"), *options)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("recording Example VirtualJet 900")
        return process


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    require("tshark")
    daemon = Daemon(tmp_path)
    try:
        until_true(lambda: "ready" in json.dumps(daemon.status()))
        yield daemon
    finally:
        daemon.stop()


def opened(path: Path) -> list[dict[str, str]]:
    """What tshark makes of a capture, packet by packet."""
    wanted = [part for name in FIELDS for part in ("-e", name)]
    done = subprocess.run(
        ["tshark", "-r", str(path), "-T", "fields", "-E", "separator=|", *wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [dict(zip(FIELDS, line.split("|"), strict=True)) for line in done.stdout.splitlines()]
    assert not [row for row in rows if row["_ws.malformed"]]
    return rows


def finished(tracing: subprocess.Popen[str]) -> str:
    tracing.send_signal(signal.SIGINT)
    out, _ = tracing.communicate(timeout=30)
    assert tracing.returncode == 0
    return out


def fetched(daemon: Daemon, path: str) -> bytes:
    with urllib.request.urlopen(f"http://localhost:{daemon.port}{path}", timeout=30) as reply:
        return bytes(reply.read())


def test_wireshark_sees_every_transfer_with_its_bytes(daemon: Daemon):
    tracing = daemon.trace("--bodies")
    page = fetched(daemon, "/big?bytes=70000")
    until_true(lambda: b"/big" in (daemon.folder / "t.har").read_bytes())
    out = finished(tracing)
    assert f" cancelled): {daemon.folder}/t.pcapng" in out

    rows = opened(daemon.folder / "t.pcapng")
    assert {row["usb.urb_type"] for row in rows} == {"S", "C"} or {
        row["usb.urb_type"] for row in rows
    } == {"'S'", "'C'"}
    assert len({row["usb.endpoint_address"] for row in rows}) >= 2  # IN and OUT of an interface
    carried = b"".join(bytes.fromhex(row["usb.capdata"].replace(":", "")) for row in rows)
    assert b"GET /big?bytes=70000 HTTP/1.1" in carried
    assert page[:1000] in carried

    entries = json.loads((daemon.folder / "t.har").read_text())["log"]["entries"]
    (entry,) = [one for one in entries if "/big" in one["request"]["url"]]
    assert entry["response"]["bodySize"] == 70000
    assert {"send", "wait", "receive"} == set(entry["timings"])


def test_without_bodies_wireshark_sees_lengths_and_no_bytes(daemon: Daemon):
    tracing = daemon.trace()
    fetched(daemon, "/big?bytes=70000&password=geheim")
    until_true(lambda: b"/big" in (daemon.folder / "t.har").read_bytes())
    finished(tracing)
    rows = opened(daemon.folder / "t.pcapng")
    assert rows
    assert not [row for row in rows if row["usb.capdata"]]
    assert any(int(row["usb.urb_len"]) > 1000 for row in rows)
    written = (daemon.folder / "t.pcapng").read_bytes() + (daemon.folder / "t.har").read_bytes()
    assert b"geheim" not in written


def test_a_trace_ends_at_its_maximum_size(daemon: Daemon):
    tracing = daemon.trace("--bodies", "--max-size", "1")
    until_true(lambda: fetched(daemon, "/big?bytes=600000") and tracing.poll() is not None)
    assert "the files have reached 1 MB" in (tracing.communicate()[0])
    size = sum((daemon.folder / f"t.{end}").stat().st_size for end in ("pcapng", "har"))
    assert size < 3_000_000
    assert opened(daemon.folder / "t.pcapng")
    json.loads((daemon.folder / "t.har").read_text())


def test_a_trace_ends_after_its_time(daemon: Daemon):
    tracing = daemon.trace("--seconds", "0.5")
    assert "HTTP exchanges" in tracing.communicate(timeout=30)[0]
    assert tracing.returncode == 0
    assert json.loads((daemon.folder / "t.har").read_text())["log"]["version"] == "1.2"
