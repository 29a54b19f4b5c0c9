"""The daemon started by its socket: systemd's tools and protocol, clients at the worst moment."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.debian import require
from support.usb_client import request
from support.waiting import until_true

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

UNITS = Path(__file__).parents[2] / "packaging" / "systemd"
QUESTION, ANSWER = b"\x0a1209_0001\0", b"\x0f1209_0001.sock\0"
WAIT_S = 30.0
PRINT_JOB = 0x0002
EXITS = 6
# What systemd does between fork and exec: its descriptor is 3, and the process is the one meant.
AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "broker"}
os.execv(sys.argv[2], sys.argv[2:])
"""


def ask(path: Path, timeout_s: float = WAIT_S) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout_s)
        client.connect(str(path))
        client.sendall(QUESTION)
        return client.recv(256)


class DaemonFolder:
    """A folder with a configuration, and how to start a daemon in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = folder / "ippusb_manager.sock"
        self.log = folder / "log"
        self.config = folder / "ippusbd.conf"
        self.config.write_text(
            f'[daemon]\nstate_dir = "{folder}/state"\nruntime_dir = "{folder}/run"\n'
            f'[broker]\ndir = "{folder}"\n[dnssd]\npublisher = "off"\n'
        )

    def argv(self, idle_exit: str = "1s") -> list[str]:
        program = [sys.executable, "-m", "ippusbd", "run", "--virtual", "--idle-exit", idle_exit]
        return [*program, "--config", str(self.config)]

    def start(
        self, *before: str, environ: Mapping[str, str] | None = None, fd: int | None = None
    ) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*before, *self.argv()],
                stdout=log,
                stderr=log,
                env={**os.environ, **(environ or {})},
                pass_fds=[] if fd is None else [fd],
            )


@pytest.fixture
def place() -> Iterator[DaemonFolder]:
    with tempfile.TemporaryDirectory(prefix="ond-") as folder:
        yield DaemonFolder(Path(folder))


def test_systemd_finds_nothing_wrong_with_the_units(place: DaemonFolder):
    require("systemd-analyze")
    units = []
    for unit in UNITS.iterdir():
        copy = place.folder / unit.name
        copy.write_text(unit.read_text().replace("/usr/bin/ippusbd", shutil.which("true") or ""))
        units.append(str(copy))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(units)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    complaints = [line for line in done.stderr.splitlines() if "ippusbd" in line]
    assert (done.returncode, complaints) == (0, [])


def test_systemd_socket_activate_starts_it_with_the_first_client(place: DaemonFolder):
    require("systemd-socket-activate")
    process = place.start("systemd-socket-activate", "--fdname=broker", "-l", str(place.broker))
    try:
        until_true(place.broker.is_socket, "the listening socket")
        assert not (place.folder / "run").exists(), "the daemon runs before anybody asked"
        assert ask(place.broker) == ANSWER
        assert (place.folder / "1209_0001.sock").is_socket(), "beside the socket of systemd"
        assert process.wait(WAIT_S) == 0
        assert place.broker.is_socket(), "systemd's socket is not ours to remove"
        assert not (place.folder / "1209_0001.sock").exists()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_a_client_in_systemds_queue_is_never_lost(place: DaemonFolder):
    """The socket outlives the processes; clients come at every moment of their ends."""
    answers: list[bytes] = []
    ends: list[float] = []
    stop = threading.Event()

    def client() -> None:
        pause_s = 0.9
        while len(ends) < EXITS:
            answers.append(ask(place.broker))
            stop.wait(pause_s)  # an idle exit comes after 1 s
            pause_s = 0.9 if pause_s > 1.4 else pause_s + 0.02

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place.broker))
        listening.listen()
        thread = threading.Thread(target=client)
        thread.start()
        try:
            start = (sys.executable, "-c", AS_SYSTEMD, str(listening.fileno()))
            while thread.is_alive():
                process = place.start(*start, fd=listening.fileno())
                assert process.wait(4 * WAIT_S) == 0, place.log.read_text()[-2000:]
                ends.append(time.monotonic())
        finally:
            stop.set()
            ends.extend([0.0] * EXITS)
            thread.join()
    assert set(answers) == {ANSWER}
    assert len(answers) > EXITS


def test_it_notifies_systemd(place: DaemonFolder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(place.folder / "notify"))
        notified.settimeout(WAIT_S)
        environ = {"NOTIFY_SOCKET": str(place.folder / "notify"), "WATCHDOG_USEC": "400000"}
        process = place.start(environ=environ)
        said: list[str] = []
        while "STOPPING=1" not in said:
            said += notified.recv(4096).decode().splitlines()
        assert process.wait(WAIT_S) == 0
    assert said.index("READY=1") < said.index("STOPPING=1")
    assert said.count("WATCHDOG=1") >= 3
    assert "STATUS=1 of 1 printers served" in said


def test_without_systemd_a_successor_waits_for_its_predecessor(place: DaemonFolder):
    """No socket means: start one. The last one may still be giving back what it holds."""
    first = place.start()
    until_true(place.broker.exists, "the first broker")
    assert ask(place.broker) == ANSWER
    until_true(lambda: not place.broker.exists(), "the idle exit")
    second = place.start()
    until_true(place.broker.exists, "the second broker")
    assert ask(place.broker) == ANSWER
    assert first.wait(WAIT_S) == 0
    assert second.wait(WAIT_S) == 0


def test_a_request_in_flight_keeps_it_and_its_end_restarts_the_clock(place: DaemonFolder):
    process = place.start()
    until_true((place.folder / "1209_0001.sock").exists, "the printer's socket")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WAIT_S)
        client.connect(str(place.folder / "1209_0001.sock"))
        # A document too large to be read whole, that takes its time.
        head = "POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
        start = request(PRINT_JOB) + bytes(40000)
        length = len(start) + 5 * 12000
        client.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode() + start)
        for _ in range(5):
            time.sleep(0.5)
            client.sendall(bytes(12000))
        assert client.recv(12).startswith(b"HTTP/1.1"), "it left in the middle"
        end = time.monotonic()
    assert process.wait(WAIT_S) == 0
    assert time.monotonic() - end > 0.8


def test_sigterm_removes_the_sockets(place: DaemonFolder):
    process = place.start()
    until_true((place.folder / "1209_0001.sock").exists, "the printer's socket")
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_S) == 0
    assert [p.name for p in place.folder.iterdir() if p.is_socket()] == []
