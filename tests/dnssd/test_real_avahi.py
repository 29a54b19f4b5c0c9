"""The Avahi publisher beside a real Avahi that is killed, restarted, renamed and contested."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support import announce
from support.avahi_browse import Browse
from support.debian import require
from support.desktop import Desktop
from support.services import fresh_mark, fresh_name, make_services
from support.waiting import until
from zeroconf import IPVersion, ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

from ippusbd.dnssd.avahi_publisher import AvahiPublisher
from ippusbd.dnssd.protocols import ESTABLISHED
from ippusbd.dnssd.scope import LOOPBACK
from ippusbd.errors import PublishError
from ippusbd.model import ServiceRecord, ServiceSet

pytestmark = pytest.mark.clients

BACK_S = 5.0  # republished within
GOODBYE_S = 1.0  # a goodbye leaves a record one more second to live (RFC 6762, 10.1)


@asynccontextmanager
async def publishing(desktop: Desktop, **options: float) -> AsyncIterator[AvahiPublisher]:
    publisher = AvahiPublisher(bus_address=desktop.bus_address, **options)  # type: ignore[arg-type]
    await publisher.start()
    try:
        yield publisher
    finally:
        await publisher.close()


@contextmanager
def browsing(desktop: Desktop, type_: str = "_ipp._tcp") -> Iterator[Browse]:
    browse = Browse(desktop, type_)
    try:
        yield browse
    finally:
        browse.stop()


async def test_published_and_withdrawn_in_the_protocols_own_times(desktop: Desktop) -> None:
    published_s, withdrawn_s, gone_s = [], [], []
    with browsing(desktop) as browse:
        async with publishing(desktop) as publisher:
            for _ in range(3):  # the best counts: others use this machine too
                name = fresh_name()
                start = time.monotonic()
                publication = await publisher.publish(make_services(name, mark=fresh_mark()))
                published_s.append(time.monotonic() - start)
                await until(lambda name=name: name in browse.names, "found")

                start = time.monotonic()
                await publication.withdraw()
                withdrawn_s.append(time.monotonic() - start)
                await until(lambda name=name: name not in browse.names, "gone")
                gone_s.append(time.monotonic() - start)

    assert min(published_s) < 1.5  # Avahi's three probes: 0.77 s
    assert min(withdrawn_s) < 0.2
    assert min(gone_s) < GOODBYE_S + 0.2


async def test_avahi_killed_and_restarted_announces_again(bare_desktop: Desktop) -> None:
    desktop, name = bare_desktop, fresh_name()
    await asyncio.to_thread(desktop.start_bus)
    await asyncio.to_thread(desktop.start_avahi)
    async with publishing(desktop) as publisher:
        publication = await publisher.publish(make_services(name))

        await asyncio.to_thread(desktop.stop_avahi, kill=True)
        await until(lambda: publication.state == "Avahi is not running", "the loss told")
        await asyncio.to_thread(desktop.start_avahi)

        await until(lambda: publication.state == ESTABLISHED, "established again", BACK_S)
        with browsing(desktop) as browse:
            await until(lambda: browse.names == [name], "found again under the same name")


async def test_bus_and_avahi_that_start_later_are_found(bare_desktop: Desktop) -> None:
    desktop, name = bare_desktop, fresh_name()
    async with publishing(desktop) as publisher:
        publication = await publisher.publish(make_services(name))
        assert publication.state.startswith("no D-Bus: ")

        await asyncio.to_thread(desktop.start_bus)
        await until(lambda: publication.state == "Avahi is not running", "the bus found")
        await asyncio.to_thread(desktop.start_avahi)

        await until(lambda: publication.state == ESTABLISHED, "established", BACK_S)


async def test_a_restarted_bus_is_found_again(bare_desktop: Desktop) -> None:
    desktop, name = bare_desktop, fresh_name()
    await asyncio.to_thread(desktop.start_bus)
    await asyncio.to_thread(desktop.start_avahi)
    async with publishing(desktop) as publisher:
        publication = await publisher.publish(make_services(name))

        await asyncio.to_thread(desktop.stop_bus)  # Avahi leaves with it
        await until(lambda: publication.state != ESTABLISHED, "the loss told")
        await asyncio.to_thread(desktop.start_bus)
        await asyncio.to_thread(desktop.start_avahi)

        await until(lambda: publication.state == ESTABLISHED, "established again", BACK_S)


@pytest.mark.parametrize("host", ["", "localhost.local"])
async def test_after_a_change_of_the_host_name_the_printer_still_resolves(
    bare_desktop: Desktop, host: str
) -> None:
    require("avahi-set-host-name")
    desktop, name = bare_desktop, fresh_name()
    await asyncio.to_thread(desktop.start_bus)
    await asyncio.to_thread(desktop.start_avahi)
    publisher = AvahiPublisher(bus_address=desktop.bus_address, scope=replace(LOOPBACK, host=host))
    await publisher.start()
    try:
        publication = await publisher.publish(make_services(name))
        session = publisher.server.session

        await asyncio.to_thread(desktop.run, ["avahi-set-host-name", "renamed"])
        await until(lambda: publisher.server.session not in {None, session}, "a new session")
        await until(lambda: publication.state == ESTABLISHED, "established again", BACK_S)

        with browsing(desktop) as browse:
            await until(lambda: browse.names == [name], "found again")
            (found,) = browse.found
        assert found.host == (host or "renamed.local")
    finally:
        await publisher.close()


async def test_a_name_that_another_program_has_registered_is_left_to_it(desktop: Desktop) -> None:
    require("avahi-publish")
    name = fresh_name()
    other = desktop.popen(["avahi-publish", "--service", name, "_ipp._tcp", "631"])
    try:
        with browsing(desktop) as browse:
            await until(lambda: name in browse.names, "the other one's")
            async with publishing(desktop) as publisher:
                publication = await publisher.publish(make_services(name, mark=fresh_mark()))
                assert (publication.name, publication.state) == (f"{name} (USB)", ESTABLISHED)
                await until(lambda: {name, f"{name} (USB)"} <= set(browse.names), "both found")
    finally:
        desktop.stop(other)


async def test_a_name_of_another_host_is_left_to_it(desktop: Desktop) -> None:
    name = fresh_name()
    with desktop.network():
        responder = AsyncZeroconf(interfaces=["127.0.0.1"], ip_version=IPVersion.V4Only)
        info = ServiceInfo(
            "_ipp._tcp.local.",
            f"{name}._ipp._tcp.local.",
            port=631,
            server="another.local.",
            parsed_addresses=["127.0.0.1"],
        )
        try:
            await (await responder.async_register_service(info))
            async with publishing(desktop) as publisher:
                publication = await publisher.publish(make_services(name, mark=fresh_mark()))
                assert (publication.name, publication.state) == (f"{name} (USB)", ESTABLISHED)
        finally:
            await responder.async_close()


async def test_a_killed_daemons_printer_is_withdrawn_by_avahi(desktop: Desktop) -> None:
    name = fresh_name()
    process = desktop.popen(
        [sys.executable, str(Path(announce.__file__)), "avahi", name], stdout=subprocess.PIPE
    )
    with browsing(desktop) as browse:
        await until(lambda: name in browse.names, "found")

        os.killpg(process.pid, signal.SIGKILL)

        took_s = await until(lambda: name not in browse.names, "gone")
    desktop.stop(process)
    assert took_s < GOODBYE_S + 1


async def test_a_stopped_avahi_holds_nobody_up(bare_desktop: Desktop) -> None:
    desktop = bare_desktop
    await asyncio.to_thread(desktop.start_bus)
    await asyncio.to_thread(desktop.start_avahi)
    async with publishing(desktop, call_s=0.3) as publisher:
        desktop.pause_avahi()
        start = time.monotonic()
        publication = await publisher.publish(make_services(fresh_name()))
        assert "no answer" in publication.state
        await publication.withdraw()
        assert time.monotonic() - start < 3
        desktop.resume_avahi()


async def test_avahis_own_refusals_are_told_with_record_and_reason(
    desktop: Desktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ippusbd.dnssd.publication.check", lambda _services: None)
    long_name, long_item = "n" * 64, (("ty", "x" * 297),)
    async with publishing(desktop) as publisher:
        for record, error in (
            (ServiceRecord(long_name, "_ipp._tcp", 1), "InvalidServiceNameError"),
            (ServiceRecord("P", "_ipp._tcp", 1, (), long_item), "Invalid"),
            (ServiceRecord("P", "ipp._tcp", 1), "InvalidServiceTypeError"),
        ):
            publication = await publisher.publish(ServiceSet(record.name, (record,)))
            assert f"{record.name!r} {record.type}: Avahi refuses it: {error}" in publication.state
            await publication.withdraw()


async def test_avahi_refuses_plain_localhost_as_host(desktop: Desktop) -> None:
    scope = replace(LOOPBACK, host="localhost")
    publisher = AvahiPublisher(bus_address=desktop.bus_address, scope=scope)
    await publisher.start()
    try:
        publication = await publisher.publish(make_services(fresh_name(), mark=fresh_mark()))
        assert "InvalidHostNameError" in publication.state
    finally:
        await publisher.close()


async def test_our_checks_come_before_avahis(desktop: Desktop) -> None:
    async with publishing(desktop) as publisher:
        record = ServiceRecord("n" * 64, "_ipp._tcp", 1)
        with pytest.raises(PublishError, match="64 bytes"):
            await publisher.publish(ServiceSet(record.name, (record,)))


async def test_five_printers_are_announced_as_fast_as_one(desktop: Desktop) -> None:
    async with publishing(desktop) as publisher:
        sets = [make_services(fresh_name(), port=60000 + n, mark=fresh_mark()) for n in range(5)]
        start = time.monotonic()
        publications = await asyncio.gather(*(publisher.publish(each) for each in sets))
        took_s = time.monotonic() - start
    assert {each.name for each in publications} == {each.name for each in sets}
    assert took_s < 3
