"""udev's events wake the supervisor; without udev there are none, and no failure."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ippusbd.usbio import hotplug
from ippusbd.usbio.hotplug import Hotplug


class FakeMonitor:
    """A monitor whose events the test writes into a pipe, one byte each."""

    made: list[FakeMonitor] = []  # noqa: RUF012 -- emptied by the fixture

    def __init__(self, source: str) -> None:
        self.source = source
        self.filter: tuple[str, str] | None = None
        self.started = False
        self.failure: OSError | None = None
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        FakeMonitor.made.append(self)

    @classmethod
    def from_netlink(cls, context: object, *, source: str = "udev") -> FakeMonitor:
        return cls(source)

    def filter_by(self, subsystem: str, device_type: str) -> None:
        self.filter = (subsystem, device_type)

    def start(self) -> None:
        self.started = True

    def fileno(self) -> int:
        return self._read

    def poll(self, *, timeout: float) -> object | None:
        assert timeout == 0
        if self.failure is not None:
            failure, self.failure = self.failure, None
            os.read(self._read, 100)
            raise failure
        try:
            return os.read(self._read, 1)
        except BlockingIOError:
            return None

    def tell(self, events: int = 1) -> None:
        os.write(self._write, b"e" * events)

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


@pytest.fixture
def udev(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[FakeMonitor]]:
    module = ModuleType("pyudev")
    module.Monitor = FakeMonitor  # type: ignore[attr-defined]
    module.Context = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyudev", module)
    monkeypatch.setattr(hotplug, "UDEV_RUNS", tmp_path)
    FakeMonitor.made = []
    yield FakeMonitor.made
    for monitor in FakeMonitor.made:
        monitor.close()


class Heard:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


async def a_moment() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_only_usb_devices_are_monitored(udev: list[FakeMonitor]):
    listening = Hotplug(Heard())
    assert listening.start()
    assert {monitor.source for monitor in udev} == {"udev", "kernel"}
    assert {monitor.filter for monitor in udev} == {("usb", "usb_device")}
    assert all(monitor.started for monitor in udev)
    listening.stop()


async def test_every_event_of_both_sources_wakes_the_supervisor(udev: list[FakeMonitor]):
    heard = Heard()
    listening = Hotplug(heard)
    listening.start()
    for number, monitor in enumerate(udev, 1):
        monitor.tell(events=3)
        await a_moment()
        assert heard.times == 3 * number
    listening.stop()


async def test_after_stop_no_event_is_reported(udev: list[FakeMonitor]):
    heard = Heard()
    listening = Hotplug(heard)
    listening.start()
    listening.stop()
    listening.stop()
    for monitor in udev:
        monitor.tell()
    await a_moment()
    assert heard.times == 0


async def test_lost_events_count_as_one_event(udev: list[FakeMonitor]):
    heard = Heard()
    listening = Hotplug(heard)
    listening.start()
    udev[0].failure = OSError(errno.ENOBUFS, "No buffer space available")
    udev[0].tell()
    await a_moment()
    assert heard.times == 1
    udev[0].tell()
    await a_moment()
    assert heard.times == 2
    listening.stop()


async def test_without_udev_there_are_no_events(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(hotplug, "UDEV_RUNS", tmp_path / "control")
    listening = Hotplug(Heard())
    assert not listening.start()
    listening.stop()


async def test_a_refused_netlink_socket_is_not_a_failure(
    udev: list[FakeMonitor], monkeypatch: pytest.MonkeyPatch
):
    def refused(*_: object, **__: object) -> FakeMonitor:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(FakeMonitor, "from_netlink", refused)
    listening = Hotplug(Heard())
    assert not listening.start()
    listening.stop()


async def test_a_missing_pyudev_is_not_a_failure(
    udev: list[FakeMonitor], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "pyudev", None)
    assert not Hotplug(Heard()).start()
