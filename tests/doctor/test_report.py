"""`ippusbd doctor --report`: everything about the trouble, nothing about its owner."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess

from ippusbd.doctor.redaction import Redaction

pytestmark = pytest.mark.timeout(120)  # processes on a busy machine


def reported(
    config: Path, file: Path, *options: str, **more: object
) -> subprocess.CompletedProcess:
    argv = [sys.executable, "-m", "ippusbd", "doctor", "--config", str(config)]
    return subprocess.run(
        [*argv, "--report", str(file), *options],
        capture_output=True, text=True, check=False, timeout=100,
        stdin=subprocess.DEVNULL, **more,
    )  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "c.conf"
    folders = f'[daemon]\nruntime_dir = "{tmp_path}"\nstate_dir = "{tmp_path}"\n'
    path.write_text(f'{folders}[dnssd]\npublisher = "off"\n')
    return path


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    process = DaemonProcess(tmp_path, "--virtual")
    yield process
    process.close()


def test_a_report_has_all_parts_and_no_serial_number(daemon: DaemonProcess, tmp_path: Path):
    printer = daemon.ready()
    assert printer["serial"]
    file = tmp_path / "report.txt"
    done = reported(daemon.config, file, "--yes")
    assert done.returncode == 0, done.stderr
    text = file.read_text()
    assert done.stdout.startswith(text)  # it was shown
    assert (file.stat().st_mode & 0o777, file.stat().st_uid) == (0o600, os.geteuid())
    parts = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert parts == ["versions", "findings", "status", "descriptors", "quirks", "log"]
    assert "a virtual printer, served at" in text
    assert '"model": "Example VirtualJet 900"' in text
    assert printer["serial"] not in text
    assert '"serial": "SERIAL1"' in text


def test_nothing_is_written_unless_somebody_agreed(config: Path, tmp_path: Path):
    file = tmp_path / "report.txt"
    done = reported(config, file)
    assert (done.returncode, file.exists()) == (2, False)
    assert "--report asks before it writes: run it on a terminal, or give --yes" in done.stderr


@pytest.mark.parametrize(("answer", "written"), [(b"y\n", True), (b"\n", False), (b"no\n", False)])
def test_on_a_terminal_it_is_shown_and_asked_for(
    config: Path, tmp_path: Path, answer: bytes, written: bool
):
    file = tmp_path / "report.txt"
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "ippusbd", "doctor", "--config", str(config)]
    with subprocess.Popen(
        [*argv, "--report", str(file)], stdin=theirs, stdout=subprocess.PIPE
    ) as process:
        os.write(ours, answer)
        out, _ = process.communicate(timeout=100)
    os.close(ours)
    os.close(theirs)
    assert b"## versions" in out
    assert b"Write this to" in out
    assert (process.returncode == 0, file.exists()) == (written, written)


def test_an_existing_file_or_link_is_never_written_to(config: Path, tmp_path: Path):
    precious, link = tmp_path / "precious", tmp_path / "link"
    precious.write_text("precious")
    link.symlink_to(tmp_path / "nowhere")
    for path in (precious, link):
        done = reported(config, path, "--yes")
        assert done.returncode == 1
        assert f"{path} exists: name a new file" in done.stderr
    assert precious.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("private", "told"),
    [
        ("serial CN1234, at 001:007", "serial SERIAL1, at 001:007"),
        ("/dev/CN12345 stays", "/dev/CN12345 stays"),
        ("Alice's Jet (USB): ready", "NAME2 (USB): ready"),
        ("/home/alice/.config of Alice Liddell", "/home/USER3/.config of USER4"),
        ("17:52:49 wonderland ippusbd", "17:52:49 HOST ippusbd"),
        ("http://wonderland.local:60000/", "http://xxxxxxxxxx.local:60000/"),
        ("shared on 192.168.7.12 port 60000", "shared on 192.100.0.10 port 60000"),
        ("on fe80::1a2b:3c4d%eth0 port 1", "on ADDRESS port 1"),
        ("2001:db8::7 left", "ADDRESS left"),
        ("http://[::1]:60000/ and http://127.0.0.1:60000/",) * 2,
        ("http://localhost:60000/eSCL",) * 2,
        ("MAC 00:1b:a9:12:34:56", "MAC 00:00:00:00:00:00"),
        ("SHA-256 AB:CD:EF:01:23:45:67:89:AB", "SHA-256 FINGERPRINT"),
        ("to alice@example.com", "to xxxxx@xxxxxxx.xxx"),
        ("4509a320-00a0-008f-00b6-002507510eca", "00000000-0000-4000-8000-000000000000"),
        ("03f0:1234, 1 min, AREA::usb", "03f0:1234, 1 min, AREA::usb"),
    ],
)  # fmt: skip
def test_what_identifies_somebody_is_replaced(private: str, told: str):
    people = ["alice", "Alice Liddell"]
    redaction = Redaction(
        serials=["CN1234"], names=["Alice's Jet"], people=people, host="wonderland"
    )
    assert redaction.line(private) == told
