"""`auto`: Avahi while it runs, zeroconf while it does not, one printer all the while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.avahi_browse import Browse
from support.desktop import Desktop
from support.fake_avahi import FakeAvahi
from support.services import fresh_mark, fresh_name, make_services
from support.waiting import until

from ippusbd.dnssd.auto_publisher import AutoPublisher
from ippusbd.dnssd.avahi_publisher import AvahiPublisher
from ippusbd.dnssd.avahi_server import ServerState
from ippusbd.dnssd.dbus import Bus
from ippusbd.dnssd.protocols import ESTABLISHED, WITHDRAWN, Publisher
from ippusbd.dnssd.select import make_publisher
from ippusbd.dnssd.zeroconf_publisher import ZeroconfPublisher
from ippusbd.errors import ConfigError, PublishError
from ippusbd.model import ServiceRecord, ServiceSet

BACK_S = 5.0  # republished within


@pytest.fixture
def avahi(monkeypatch: pytest.MonkeyPatch) -> FakeAvahi:
    avahi = FakeAvahi()
    monkeypatch.setattr(Bus, "connect", avahi.connect)
    return avahi


@pytest.fixture
async def publisher(avahi: FakeAvahi) -> AsyncIterator[AutoPublisher]:
    publisher = AutoPublisher(
        AvahiPublisher(retry_s=0.01), ZeroconfPublisher(retry_s=0.01), grace_s=0.2
    )
    yield publisher
    await publisher.close()


@pytest.fixture
def services() -> ServiceSet:
    return make_services(fresh_name(), mark=fresh_mark())


async def test_avahi_is_preferred_where_it_runs(
    avahi: FakeAvahi, publisher: AutoPublisher, services: ServiceSet
) -> None:
    avahi.start()
    await publisher.start()

    publication = await publisher.publish(services)

    assert (publisher.kind, publisher.trouble) == ("avahi", "")
    assert (publication.state, publication.name) == (ESTABLISHED, services.name)
    assert services.name in {entry.name for entry in avahi.established}


async def test_without_avahi_zeroconf_announces_without_delay(
    avahi: FakeAvahi, publisher: AutoPublisher, services: ServiceSet
) -> None:
    await publisher.start()

    publication = await publisher.publish(services)

    assert (publisher.kind, publication.state) == ("zeroconf", ESTABLISHED)
    await publication.withdraw()
    assert publication.state == WITHDRAWN


async def test_an_avahi_that_is_starting_is_waited_for(
    avahi: FakeAvahi, publisher: AutoPublisher, services: ServiceSet
) -> None:
    avahi.start(ServerState.REGISTERING)
    await publisher.start()
    assert (publisher.kind, publisher.trouble) == ("off", "looking for Avahi")
    publishing = asyncio.create_task(publisher.publish(services))
    await asyncio.sleep(0.01)

    avahi.become(ServerState.RUNNING)

    assert (await publishing).state == ESTABLISHED
    assert publisher.kind == "avahi"


async def test_a_publication_outlives_every_switch_under_its_name(
    avahi: FakeAvahi, publisher: AutoPublisher, services: ServiceSet
) -> None:
    avahi.start()
    avahi.taken |= {(services.name, "_ipp._tcp")}
    await publisher.start()
    publication = await publisher.publish(services)
    name = f"{services.name} (USB)"
    assert publication.name == name

    avahi.stop()
    await until(lambda: publisher.kind == "zeroconf", "zeroconf took over")
    await until(lambda: publication.state == ESTABLISHED, "established there")
    assert publication.name == name

    avahi.start()
    await until(lambda: publisher.kind == "avahi", "Avahi took over")
    await until(lambda: publication.state == ESTABLISHED, "established there")
    assert publication.name == name


@pytest.mark.parametrize("was_there", [False, True])
async def test_where_avahi_disallows_other_stacks_its_port_stays_free(
    avahi: FakeAvahi,
    services: ServiceSet,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    was_there: bool,
) -> None:
    caplog.set_level("INFO")
    conf = tmp_path / "avahi-daemon.conf"
    conf.write_text("[server]\n#disallow-other-stacks=no\ndisallow-other-stacks=yes\n")
    publisher = AutoPublisher(
        AvahiPublisher(retry_s=0.01), ZeroconfPublisher(), grace_s=0.01, avahi_conf=conf
    )
    if was_there:
        avahi.start()
    await publisher.start()
    try:
        publication = await publisher.publish(services)
        if was_there:
            avahi.stop()
        await until(lambda: "disallows other stacks" in caplog.text, "the publisher is chosen")
        assert (publisher.kind, publisher.trouble) == ("avahi", "Avahi is not running")

        avahi.start()
        await until(lambda: publication.state == ESTABLISHED, "announced")
    finally:
        await publisher.close()


async def test_a_restart_of_avahi_calls_no_zeroconf(
    avahi: FakeAvahi, publisher: AutoPublisher, services: ServiceSet
) -> None:
    avahi.start()
    await publisher.start()
    publication = await publisher.publish(services)

    avahi.stop()
    await until(lambda: publication.state != ESTABLISHED, "the loss told")
    avahi.start()

    await until(lambda: publication.state == ESTABLISHED, "established again")
    assert publisher.kind == "avahi"


async def test_withdrawing_in_the_middle_of_a_switch_leaves_nothing(
    avahi: FakeAvahi, publisher: AutoPublisher, services: ServiceSet
) -> None:
    await publisher.start()
    publication = await publisher.publish(services)
    avahi.start()
    await until(lambda: publisher.kind == "avahi", "switching")

    await publication.withdraw()

    assert avahi.established == []
    assert publication.state == WITHDRAWN


async def test_what_cannot_be_announced_is_refused_at_once(publisher: AutoPublisher) -> None:
    record = ServiceRecord("n" * 64, "_ipp._tcp", 1)
    with pytest.raises(PublishError, match="64 bytes"):
        await publisher.publish(ServiceSet(record.name, (record,)))


async def test_a_cancelled_publish_leaves_nothing(
    avahi: FakeAvahi, publisher: AutoPublisher, services: ServiceSet
) -> None:
    avahi.start()
    await publisher.start()
    publishing = asyncio.create_task(publisher.publish(services))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    publishing.cancel()
    await asyncio.wait({publishing})

    assert avahi.established == []


@pytest.mark.parametrize(
    ("kind", "complaint"), [("static", "needs a folder"), ("bonjour", "'bonjour'")]
)
def test_a_kind_that_cannot_be_made_is_a_fault_of_the_configuration(
    kind: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        make_publisher(kind)


async def test_when_disabled_nothing_is_announced_and_faults_still_show() -> None:
    publisher: Publisher = make_publisher("off")
    await publisher.start()
    publication = await publisher.publish(make_services("Printer"))
    assert "disabled" in publication.state
    record = ServiceRecord("n" * 64, "_ipp._tcp", 1)
    with pytest.raises(PublishError):
        await publisher.publish(ServiceSet(record.name, (record,)))
    await publication.withdraw()
    await publisher.close()


@pytest.mark.clients
async def test_a_real_avahi_comes_goes_and_comes_back_within_five_seconds(
    bare_desktop: Desktop, services: ServiceSet
) -> None:
    desktop = bare_desktop
    with desktop.network():
        publisher = AutoPublisher(
            AvahiPublisher(bus_address=desktop.bus_address), ZeroconfPublisher()
        )
        await publisher.start()
        try:
            publication = await publisher.publish(services)
            assert (publisher.kind, publication.state) == ("zeroconf", ESTABLISHED)

            await asyncio.to_thread(desktop.start_bus)
            await asyncio.to_thread(desktop.start_avahi)
            await announced(publisher, "avahi", services.name, desktop)

            await asyncio.to_thread(desktop.stop_avahi, kill=True)
            start = time.monotonic()
            await until(lambda: publisher.kind == "zeroconf", "zeroconf chosen", BACK_S)
            left_s = BACK_S - (time.monotonic() - start)
            await until(lambda: publication.state == ESTABLISHED, "zeroconf took over", left_s)

            await asyncio.to_thread(desktop.start_avahi)
            await announced(publisher, "avahi", services.name, desktop)
        finally:
            await publisher.close()


async def announced(publisher: Publisher, kind: str, name: str, desktop: Desktop) -> None:
    """Wait until the printer is found under its name, announced by `kind`."""
    await until(lambda: publisher.kind == kind, f"{kind} chosen", BACK_S)
    browse = Browse(desktop, "_ipp._tcp")
    try:
        await until(lambda: browse.names == [name], "found", BACK_S)
    finally:
        browse.stop()
