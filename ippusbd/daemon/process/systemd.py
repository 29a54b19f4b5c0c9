"""Our side of the contract with who started us: signals, and systemd's few variables.

sd_notify(3) and sd_listen_fds(3) are some lines each, so no library is asked.
Without systemd all of it does nothing: a notifier without a socket is silent, and
no socket is handed over. Telling systemd never fails and never waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from typing import Final

log = logging.getLogger("ippusbd.daemon")

FIRST_FD: Final = 3  # SD_LISTEN_FDS_START
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def stop_on_signals(signals: tuple[signal.Signals, ...] = STOP_SIGNALS) -> Iterator[asyncio.Event]:
    """An event that the first of `signals` sets; the second one kills, as if never caught.

    Must be entered in a coroutine of the main thread.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    # What our starter made us ignore, as nohup does with SIGHUP, stays ignored.
    caught_ones = [each for each in signals if signal.getsignal(each) != signal.SIG_IGN]

    def caught(number: signal.Signals) -> None:
        log.info("%s: stopping", number.name)
        stop.set()
        for each in caught_ones:
            loop.remove_signal_handler(each)  # the next one has its default effect

    for each in caught_ones:
        loop.add_signal_handler(each, caught, each)
    try:
        yield stop
    finally:
        for each in caught_ones:
            loop.remove_signal_handler(each)


class Notifier:
    """Tells systemd how we are, if it asked for that by NOTIFY_SOCKET."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        address = environ.get("NOTIFY_SOCKET", "")
        # "@name" is a socket without a file, which the kernel writes with a leading NUL.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_s = _watchdog_s(environ)

    @property
    def watchdog_s(self) -> float:
        """How often systemd wants to hear from us, at the latest; 0: it does not."""
        return self._watchdog_s

    def ready(self) -> None:
        """Start-up is over."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Shutdown has begun."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """What `systemctl status` shows, on one line."""
        self._send("STATUS=" + " ".join(text.split()))

    def alive(self) -> None:
        """The event loop turns."""
        self._send("WATCHDOG=1")

    async def keep_alive(self) -> None:
        """Say so twice in every interval of the watchdog; until cancelled."""
        while self._watchdog_s:
            self.alive()
            await asyncio.sleep(self._watchdog_s / 2)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
            try:
                out.sendto(message.encode("utf-8", "replace"), self._address)
            except OSError as exc:
                log.debug("systemd cannot be told %s: %s", message, exc)


def _watchdog_s(environ: Mapping[str, str]) -> float:
    """WATCHDOG_USEC in seconds, if it is meant for this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    with suppress(ValueError):
        return max(0, int(environ.get("WATCHDOG_USEC", "0"))) / 1e6
    return 0.0


def take_listen_sockets(
    environ: MutableMapping[str, str] | None = None, *, first_fd: int = FIRST_FD
) -> dict[str, list[socket.socket]]:
    """The listening sockets systemd opened for us, by their FileDescriptorName.

    They can be taken once: the variables are removed, so that no child takes them for its own.
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
    """The socket behind `fd`, not inherited by children and not blocking."""
    try:
        adopted = socket.socket(fileno=fd)
    except OSError as exc:
        log.warning("descriptor %d that systemd passed is no socket: %s", fd, exc.strerror)
        return None
    adopted.set_inheritable(False)
    adopted.setblocking(False)
    return adopted
