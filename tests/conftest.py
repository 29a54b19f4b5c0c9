"""Leak fixtures: no test leaves a task, a thread or a file descriptor. Shared fixtures."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from support.watched_loop import WatchedLoop, blocked_s

from ippusbd.users import client_identity
from ippusbd.users.tcp_owner import OwnerUnknown

if TYPE_CHECKING:
    from ippusbd.virtual.printer import VirtualPrinter

SETTLE_S = 3.0

# How fast this machine is decides no test; the rest of the profile is hypothesis's own choice.
settings.register_profile(
    "any machine", settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
)
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """A shell that runs us in the background ignores SIGINT for all of us; some tests send it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command run in this process sets up handlers on a stream that ends with its test."""
    loggers = [logging.getLogger(), logging.getLogger("ippusbd")]
    before = [(one, list(one.handlers), one.level, one.propagate) for one in loggers]
    yield
    for one, handlers, level, propagate in before:
        one.handlers[:] = handlers
        one.setLevel(level)
        one.propagate = propagate


def _open_files() -> dict[str, str]:
    files = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            files[entry.name] = str(entry.readlink())
        except FileNotFoundError:
            continue  # the descriptor of this very listing
    return files


def _wait_until(condition: object, timeout_s: float) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.01)
    return False


@pytest.fixture(autouse=True)
def _no_thread_or_file_left() -> Iterator[None]:
    threads = set(threading.enumerate())
    files = _open_files()
    yield

    def left() -> list[str]:
        # asyncio's executor and aiohttp's resolver are told by name; nothing of ours is.
        names = [t.name for t in set(threading.enumerate()) - threads]
        return [name for name in names if not name.startswith("asyncio_")]

    def opened() -> dict[str, str]:
        extra = {n: t for n, t in _open_files().items() if files.get(n) != t}
        return {n: t for n, t in extra.items() if not t.startswith(("/dev/urandom", "/proc/"))}

    if left() or opened():
        gc.collect()  # takes as long as many a test, so only where something may be left
    _wait_until(lambda: not left(), SETTLE_S)
    assert not left(), f"threads left behind: {left()}"
    ours = opened()
    assert not ours, f"file descriptors left behind: {ours}"


def pytest_asyncio_loop_factories() -> dict[str, type[WatchedLoop]]:
    """The event loop of every test."""
    return {"watched": WatchedLoop}


@pytest.fixture(autouse=True)
def _loop_is_never_blocked() -> Iterator[None]:
    blocked_s.clear()
    yield
    assert not blocked_s, f"the event loop was blocked for {max(blocked_s):.2f} s"


@pytest.fixture(autouse=True)
async def _no_task_left(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    for _ in range(20):
        left = [t for t in asyncio.all_tasks() - before if t is not asyncio.current_task()]
        if not left:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"tasks left behind: {left}")


@pytest.fixture
def make_printer() -> Iterator[Callable[..., VirtualPrinter]]:
    """`make_printer(*personalities, **options)`: a virtual printer, not plugged in yet."""
    from ippusbd.virtual.printer import VirtualPrinter

    made: list[VirtualPrinter] = []

    def make(*personalities: str, **options: object) -> VirtualPrinter:
        printer = VirtualPrinter(personalities=personalities, **options)  # type: ignore[arg-type]
        made.append(printer)
        return printer

    yield make
    for printer in made:
        printer.close()


@pytest.fixture
def state_path(tmp_path: Path) -> Path:
    """Of a state file in a folder that is not there yet."""
    return tmp_path / "state" / "printers.json"


@pytest.fixture
def by_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients are identified by address, as where the kernel does not report their users."""

    def untold(*_: object) -> None:
        raise OwnerUnknown("not here")

    monkeypatch.setattr(client_identity, "owner", untold)
