"""Signals stop the daemon in order; systemd is notified, and its sockets are taken."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.waiting import until

from ippusbd.daemon.process.systemd import Notifier, stop_on_signals, take_listen_sockets


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(2)
        yield listening


def heard(systemd: socket.socket) -> str:
    return systemd.recv(4096).decode()


def waiting(systemd: socket.socket) -> list[str]:
    """All messages that are there now."""
    messages, patience_s = [], systemd.gettimeout()
    systemd.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            messages.append(heard(systemd))
    systemd.settimeout(patience_s)
    return messages


# --- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_sets_the_event(number: signal.Signals):
    with stop_on_signals() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        async with asyncio.timeout(2):
            await stop.wait()


async def test_afterwards_signals_have_their_former_effect():
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) == before


async def test_a_signal_that_was_ignored_before_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0)
            assert not stop.is_set()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    "numbers",
    [
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM),  # of a closed terminal two come
    ],
)
def test_a_second_signal_ends_a_shutdown_that_hangs(numbers: tuple[signal.Signals, ...]):
    code = (
        "import asyncio\n"
        "from ippusbd.daemon.process.systemd import stop_on_signals\n"
        "async def main():\n"
        "    with stop_on_signals() as stop:\n"
        "        print('up', flush=True)\n"
        "        await stop.wait()\n"
        "        print('stopping', flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"up\n"
        daemon.send_signal(numbers[0])
        assert daemon.stdout.readline() == b"stopping\n"
        for number in numbers[1:]:
            daemon.send_signal(number)
        assert daemon.wait(timeout=10) == -numbers[-1]


# --- telling systemd


def test_systemd_is_notified_of_start_state_and_end(systemd: socket.socket):
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
    notifier.ready()
    assert heard(systemd) == "READY=1"
    notifier.status("2 printers\nREADY=0")
    assert heard(systemd) == "STATUS=2 printers READY=0"
    notifier.alive()
    assert heard(systemd) == "WATCHDOG=1"
    notifier.stopping(15.0)
    assert heard(systemd) == "STOPPING=1\nEXTEND_TIMEOUT_USEC=17000000"


def test_a_socket_without_a_file_works_too():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0ippusbd-test-{os.getpid()}")
        systemd.settimeout(2)
        Notifier({"NOTIFY_SOCKET": f"@ippusbd-test-{os.getpid()}"}).ready()
        assert heard(systemd) == "READY=1"


def test_without_systemd_a_notification_does_nothing(tmp_path: Path):
    for environ in ({}, {"NOTIFY_SOCKET": str(tmp_path / "none")}, {"NOTIFY_SOCKET": "x" * 300}):
        Notifier(environ).ready()
    assert list(tmp_path.iterdir()) == []


def test_a_full_queue_of_systemd_does_not_block(systemd: socket.socket):
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
    for _ in range(2000):
        notifier.alive()
    kept = waiting(systemd)
    assert 0 < len(kept) < 2000, "the queue was never full"
    assert set(kept) == {"WATCHDOG=1"}
    notifier.ready()
    assert heard(systemd) == "READY=1", "it is heard again when there is space"


async def test_the_watchdog_is_notified_twice_in_every_interval(systemd: socket.socket):
    environ = {
        "NOTIFY_SOCKET": systemd.getsockname(),
        "WATCHDOG_USEC": "40000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    feeding = asyncio.create_task(Notifier(environ).keep_alive())
    for _ in range(3):
        assert await asyncio.to_thread(heard, systemd) == "WATCHDOG=1"
    feeding.cancel()
    await asyncio.wait([feeding])


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_notification_for_which_no_descriptor_is_left_is_dropped(systemd: socket.socket):
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
    with no_descriptor_left():
        notifier.status("1 of 1 printers served")
    notifier.status("0 of 1 printers served")
    assert heard(systemd) == "STATUS=0 of 1 printers served"


def test_the_end_of_the_start_is_said_again_if_it_was_lost(systemd: socket.socket):
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
    with no_descriptor_left():
        notifier.ready()
    for line in ("READY=1\nSTATUS=starting", "STATUS=starting"):
        notifier.status("starting")
        assert heard(systemd) == line


async def test_the_watchdog_hears_of_a_daemon_that_had_no_descriptor_before_its_time_is_over(
    systemd: socket.socket,
):
    environ = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "4000000"}
    with no_descriptor_left():
        feeding = asyncio.create_task(Notifier(environ).keep_alive())
        await asyncio.sleep(0)
    start = asyncio.get_running_loop().time()
    await until(lambda: waiting(systemd) == ["WATCHDOG=1"])
    assert asyncio.get_running_loop().time() - start < 2
    feeding.cancel()
    await asyncio.wait([feeding])


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "40000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "-5"},
    ],
)
async def test_without_a_watchdog_of_this_process_none_is_notified(
    systemd: socket.socket, environ: dict[str, str]
):
    await Notifier({"NOTIFY_SOCKET": systemd.getsockname(), **environ}).keep_alive()
    assert waiting(systemd) == []


# --- sockets from systemd


def handed_over(count: int) -> tuple[int, list[socket.socket]]:
    """`count` listening sockets on consecutive descriptors, as systemd passes them."""
    first = 700
    kept = []
    for number in range(count):
        listening = socket.socket(socket.AF_UNIX)
        os.dup2(listening.fileno(), first + number, inheritable=True)
        kept.append(listening)
    return first, kept


def test_sockets_are_taken_by_name_once_and_not_inherited_by_children():
    first, kept = handed_over(3)
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:b:a"}
    taken = take_listen_sockets(environ, first_fd=first)
    assert {name: len(sockets) for name, sockets in taken.items()} == {"a": 2, "b": 1}
    assert [s.fileno() for s in taken["a"]] == [first, first + 2]
    for each in (s for sockets in taken.values() for s in sockets):
        assert not each.get_inheritable()
        assert not each.getblocking()
        each.close()
    assert environ == {}
    assert take_listen_sockets(environ, first_fd=first) == {}
    for each in kept:
        each.close()


def test_sockets_without_names_are_called_unknown():
    first, (kept,) = handed_over(1)
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    taken = take_listen_sockets(environ, first_fd=first)
    assert list(taken) == ["unknown"]
    taken["unknown"][0].close()
    kept.close()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "-1"},
    ],
)
def test_sockets_for_another_process_are_not_touched(environ: dict[str, str]):
    assert take_listen_sockets(environ, first_fd=700) == {}


def test_a_descriptor_that_is_not_a_socket_is_skipped(caplog: pytest.LogCaptureFixture):
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    assert take_listen_sockets(environ, first_fd=701) == {}
    assert "not a socket" in caplog.text


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="no systemd here")
def test_the_real_systemd_hands_over_its_socket(tmp_path: Path):
    path = tmp_path / "broker.sock"
    code = (
        "from ippusbd.daemon.process.systemd import take_listen_sockets\n"
        "sockets = take_listen_sockets()\n"
        "client, _ = (sockets['broker'][0].setblocking(True), sockets['broker'][0].accept())[1]\n"
        "client.sendall(repr(sorted(sockets)).encode())\n"
    )
    with subprocess.Popen(
        ["systemd-socket-activate", "-l", path, "--fdname=broker", sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as activator:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            for _ in range(500):
                try:
                    client.connect(str(path))
                    break
                except (FileNotFoundError, ConnectionRefusedError):
                    assert activator.poll() is None
                    signal.sigtimedwait([], 0.01)
            assert client.recv(100) == b"['broker']"
        assert activator.wait(timeout=10) == 0


HANGS = """
import asyncio, time
from ippusbd.daemon.process.systemd import exit_within
async def main():
    exit_within(0.2)
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)
    {how}
asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["await asyncio.Event().wait()", "time.sleep(60)", "pass"])
def test_the_process_ends_though_a_step_the_loop_or_a_thread_hangs(how: str):
    done = subprocess.run(
        [sys.executable, "-c", HANGS.format(how=how)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0
    assert "not stopped within 0.2 s" in done.stderr
