"""The contract with the program that started this one: signals, and systemd's variables.

sd_notify(3) and sd_listen_fds(3) are a few lines each, so no library is used.
Without systemd nothing happens: no notification is sent, and no socket is
inherited. A notification never fails and never waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from typing import Final

log = logging.getLogger("ippusbd.daemon")

FIRST_FD: Final = 3  # SD_LISTEN_FDS_START
SPARE_S: Final = 2.0  # on a busy machine
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that the first of STOP_SIGNALS sets; a second one ends the process at once.

    A second SIGHUP does not: of a closed terminal kernel and shell send one each.

    Must be entered in a coroutine of the main thread.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    # A signal that was ignored at the start, as SIGHUP under nohup, stays ignored.
    before = {each: signal.getsignal(each) for each in STOP_SIGNALS}
    handled = [each for each in STOP_SIGNALS if before[each] != signal.SIG_IGN]

    def caught(number: signal.Signals) -> None:
        log.info("%s: stopping", number.name)
        stop.set()
        for each in handled:
            loop.remove_signal_handler(each)
            # Not Python's handler of SIGINT, which would raise wherever the loop is.
            signal.signal(each, signal.SIG_IGN if each is signal.SIGHUP else signal.SIG_DFL)

    for each in handled:
        loop.add_signal_handler(each, caught, each)
    try:
        yield stop
    finally:
        for each in handled:
            loop.remove_signal_handler(each)
            signal.signal(each, before[each])


def exit_within(limit_s: float) -> None:
    """End the process then though parts of it hang: the kernel releases what they hold.

    A thread does it, since the event loop, or the wait for other threads after it, may hang.
    """
    loop = asyncio.get_running_loop()

    def leave() -> None:
        names = ", ".join(sorted(task.get_name() for task in asyncio.all_tasks(loop)))
        log.error(
            "not stopped within %g s, exiting; still running: %s", limit_s, names or "threads"
        )
        logging.shutdown()
        os._exit(0)

    timer = threading.Timer(limit_s, leave)
    timer.daemon = True
    timer.start()


class Notifier:
    """Notifies systemd of the service's state, where NOTIFY_SOCKET is set."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        address = environ.get("NOTIFY_SOCKET", "")
        # "@name" is a socket without a file, which the kernel writes with a leading NUL.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._owed = ""  # a line that was lost
        self._watchdog_s = _watchdog_s(environ)  # 0: there is none

    def ready(self) -> None:
        """Start-up is complete. Said again with the next message if it was lost."""
        if not self._send("READY=1"):
            self._owed = "READY=1\n"

    def stopping(self, within_s: float) -> None:
        """Shutdown has begun, and takes at most `within_s`, whatever TimeoutStopSec is."""
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int((within_s + SPARE_S) * 1e6)}")

    def status(self, text: str) -> None:
        """The line that `systemctl status` shows."""
        self._send("STATUS=" + " ".join(text.split()))

    def alive(self) -> bool:
        """The event loop runs; False: systemd did not hear it."""
        return self._send("WATCHDOG=1")

    async def keep_alive(self) -> None:
        """Send `alive` twice in every interval of the watchdog, until cancelled.

        One that was lost is sent again soon: two in a row would end the daemon.
        """
        while self._watchdog_s:
            sent = self.alive()
            await asyncio.sleep(self._watchdog_s / (2 if sent else 16))

    def _send(self, message: str) -> bool:
        """False: it was lost. For a moment there may be no descriptor, or no space."""
        if not self._address:
            return True
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
                text = self._owed + message
                out.sendto(text.encode("utf-8", "replace"), self._address)
        except OSError as exc:
            log.debug("cannot send %s to systemd: %s", message, exc)
            return False
        self._owed = ""
        return True


def _watchdog_s(environ: Mapping[str, str]) -> float:
    """WATCHDOG_USEC in seconds, if it is set for this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    with suppress(ValueError):
        return max(0, int(environ.get("WATCHDOG_USEC", "0"))) / 1e6
    return 0.0


def take_listen_sockets(
    environ: MutableMapping[str, str] | None = None, *, first_fd: int = FIRST_FD
) -> dict[str, list[socket.socket]]:
    """The listening sockets that systemd passed, by their FileDescriptorName.

    The variables are removed, so that no child process uses them.
    """
    environ = os.environ if environ is None else environ
    pid, count, names = (
        environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    )
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    given = names.split(":") if names else []
    sockets: dict[str, list[socket.socket]] = {}
    for number in range(int(count)):
        name = given[number] if number < len(given) else "unknown"  # as sd_listen_fds(3) says
        if (listening := _adopt(first_fd + number)) is not None:
            sockets.setdefault(name, []).append(listening)
    return sockets


def _adopt(fd: int) -> socket.socket | None:
    """The socket behind `fd`, non-blocking and not inherited by children."""
    try:
        adopted = socket.socket(fileno=fd)
    except OSError as exc:
        log.warning("file descriptor %d passed by systemd is not a socket: %s", fd, exc.strerror)
        return None
    adopted.set_inheritable(False)
    adopted.setblocking(False)
    return adopted
