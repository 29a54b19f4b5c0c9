"""A broker in a directory of the test's own."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.fake_directory import FakeDirectory, FakeTime, nothing_going_on

from ippusbd.broker.idle import IdleClock
from ippusbd.broker.listeners import Listeners, ListenerSettings
from ippusbd.broker.server import Broker, BrokerSettings


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="brk-") as made:  # short: 107 bytes for a socket
        yield Path(made) / "run"


@pytest.fixture
def directory() -> FakeDirectory:
    return FakeDirectory()


@pytest.fixture
def clock() -> IdleClock:
    time = FakeTime()
    return IdleClock(10, look=nothing_going_on, now=time.now, sleep=time.sleep)


@pytest.fixture
async def broker(folder: Path, directory: FakeDirectory, clock: IdleClock) -> AsyncIterator[Broker]:
    settings = BrokerSettings(answer_s=0.2, client_s=0.2, clients_max=64)
    made = Broker(directory, Listeners(ListenerSettings(folder)), clock, settings)
    await made.start()
    yield made
    await made.close()
