"""The Avahi publisher before an Avahi that restarts, renames itself, refuses, and falls silent."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import islice

import pytest
from support.fake_avahi import FakeAvahi
from support.services import make_services
from support.waiting import until

from ippusbd.dnssd.avahi_publisher import AvahiPublisher
from ippusbd.dnssd.avahi_server import ServerState
from ippusbd.dnssd.dbus import Bus
from ippusbd.dnssd.naming import MOST_NAMES
from ippusbd.dnssd.protocols import ESTABLISHED, REGISTERING
from ippusbd.dnssd.scope import LOOPBACK
from ippusbd.model import ServiceSet
from ippusbd.wire import txt

SERVICES = make_services("Printer")
INVALID = "org.freedesktop.Avahi.InvalidServiceNameError"


@pytest.fixture
def avahi(monkeypatch: pytest.MonkeyPatch) -> FakeAvahi:
    avahi = FakeAvahi()
    monkeypatch.setattr(Bus, "connect", avahi.connect)
    return avahi


@pytest.fixture
async def publisher(avahi: FakeAvahi) -> AsyncIterator[AvahiPublisher]:
    publisher = AvahiPublisher(retry_s=0.01, call_s=0.05, patience_s=0.5)
    yield publisher
    await publisher.close()


def names(avahi: FakeAvahi) -> set[str]:
    return {entry.name for entry in avahi.established if entry.type == "_ipp._tcp"}


async def test_without_avahi_publishing_returns_at_once_and_says_why(
    avahi: FakeAvahi, publisher: AvahiPublisher
) -> None:
    await publisher.start()

    publication = await publisher.publish(SERVICES)

    assert publisher.trouble == publication.state == "Avahi is not running"
    assert "EntryGroupNew" not in avahi.calls


async def test_avahi_that_appears_later_announces_what_was_published_before(
    avahi: FakeAvahi, publisher: AvahiPublisher
) -> None:
    await publisher.start()
    publication = await publisher.publish(SERVICES)

    avahi.start(ServerState.REGISTERING)
    await until(lambda: "not ready" in publication.state, "Avahi's state told")
    avahi.become(ServerState.RUNNING)

    await until(lambda: publication.state == ESTABLISHED, "established")
    assert publisher.trouble == ""
    assert names(avahi) == {"Printer"}


async def test_a_restarted_avahi_gets_everything_again(
    avahi: FakeAvahi, publisher: AvahiPublisher
) -> None:
    avahi.start()
    await publisher.start()
    publication = await publisher.publish(SERVICES)
    before = list(avahi.established)

    avahi.stop()
    assert publication.state != ESTABLISHED or publisher.trouble
    avahi.start()

    await until(lambda: avahi.established == before, "all of it back")
    await until(lambda: publication.state == ESTABLISHED, "established")


async def test_a_restart_faster_than_we_look_is_not_missed(
    avahi: FakeAvahi, publisher: AvahiPublisher
) -> None:
    avahi.start()
    await publisher.start()
    publication = await publisher.publish(SERVICES)

    for _ in range(3):
        avahi.stop()
        avahi.start()

    await until(lambda: names(avahi) == {"Printer"}, "back")
    await until(lambda: publication.state == ESTABLISHED, "established")


async def test_a_new_host_name_makes_the_groups_anew(
    avahi: FakeAvahi, publisher: AvahiPublisher
) -> None:
    avahi.start()
    await publisher.start()
    publication = await publisher.publish(SERVICES)
    old = set(avahi.groups)

    avahi.become(ServerState.REGISTERING)
    avahi.become(ServerState.RUNNING)

    await until(lambda: set(avahi.groups) - old, "new groups")
    await until(lambda: publication.state == ESTABLISHED, "established")
    assert not set(avahi.groups) & old  # else two answers for one name


async def test_a_signal_of_somebody_else_changes_nothing(
    avahi: FakeAvahi, publisher: AvahiPublisher
) -> None:
    avahi.start()
    await publisher.start()
    await publisher.publish(SERVICES)
    session, groups = publisher.server.session, set(avahi.groups)

    avahi.pretend(":1.666", ServerState.FAILURE)
    for _ in range(10):
        await asyncio.sleep(0)

    assert publisher.server.session is session
    assert set(avahi.groups) == groups


async def test_a_bus_that_appears_later_is_found(
    avahi: FakeAvahi, publisher: AvahiPublisher
) -> None:
    avahi.bus_is_there = False
    await publisher.start()
    publication = await publisher.publish(SERVICES)
    assert publication.state == publisher.trouble == "no D-Bus: it is not there"

    avahi.bus_is_there = True
    avahi.start()

    await until(lambda: publication.state == ESTABLISHED, "established")


async def test_a_lost_bus_is_found_again(avahi: FakeAvahi, publisher: AvahiPublisher) -> None:
    avahi.start()
    await publisher.start()
    publication = await publisher.publish(SERVICES)

    avahi.lose_bus()
    await until(lambda: "D-Bus" in publication.state, "the loss told")
    avahi.bus_is_there = True
    avahi.start()

    await until(lambda: names(avahi) == {"Printer"}, "back")


async def test_a_name_of_another_program_is_left_to_it(
    avahi: FakeAvahi, publisher: AvahiPublisher
) -> None:
    avahi.start()
    avahi.taken |= {("Printer", "_ipp._tcp"), ("Printer (USB)", "_uscan._tcp")}
    await publisher.start()

    publication = await publisher.publish(SERVICES)

    assert (publication.name, publication.state) == ("Printer (USB 2)", ESTABLISHED)
    assert {entry.name for entry in avahi.established} == {"Printer (USB 2)", "0102"}


async def test_a_collision_on_the_network_is_resolved_by_the_next_name(
    avahi: FakeAvahi, publisher: AvahiPublisher
) -> None:
    avahi.start()
    avahi.taken_elsewhere |= {"Printer"}
    await publisher.start()

    publication = await publisher.publish(SERVICES)

    assert (publication.name, publication.state) == ("Printer (USB)", ESTABLISHED)


async def test_a_collision_after_long_is_resolved_too_and_the_name_kept(
    avahi: FakeAvahi, publisher: AvahiPublisher
) -> None:
    avahi.start()
    await publisher.start()
    publication = await publisher.publish(SERVICES)

    avahi.collide("Printer")
    await until(lambda: names(avahi) == {"Printer (USB)"}, "renamed")
    assert publication.name == "Printer (USB)"

    avahi.stop()
    avahi.start()
    await until(lambda: names(avahi) == {"Printer (USB)"}, "the same name after a restart")


async def test_a_collision_of_the_fixed_record_renames_nothing(
    avahi: FakeAvahi, publisher: AvahiPublisher
) -> None:
    avahi.start()
    avahi.taken |= {("0102", "_ipp-usb._tcp")}
    await publisher.start()

    publication = await publisher.publish(SERVICES)

    assert (publication.name, publication.state) == ("Printer", ESTABLISHED)


async def test_when_every_name_is_taken_the_state_says_so(avahi: FakeAvahi) -> None:
    avahi.start()
    names = ["Printer", *islice(txt.names("Printer"), MOST_NAMES)]
    avahi.taken |= {(name, "_ipp._tcp") for name in names}
    publisher = AvahiPublisher(patience_s=5.0)
    await publisher.start()
    try:
        publication = await publisher.publish(SERVICES)
        assert publication.state == "every name like 'Printer' is taken"
    finally:
        await publisher.close()


async def test_a_refusal_names_the_record_and_the_reason(
    avahi: FakeAvahi, publisher: AvahiPublisher
) -> None:
    avahi.start()
    avahi.refusals["AddService"] = INVALID
    await publisher.start()

    publication = await publisher.publish(ServiceSet("Printer", SERVICES.records))

    assert "'Printer' _ipp._tcp: Avahi refuses it: InvalidServiceNameError" in publication.state


async def test_a_refused_host_name_is_named(avahi: FakeAvahi, publisher: AvahiPublisher) -> None:
    avahi.start()
    avahi.refusals["AddAddress"] = "org.freedesktop.Avahi.InvalidHostNameError"
    await publisher.start()

    publication = await publisher.publish(SERVICES)

    assert "host name 'localhost.local': Avahi refuses it" in publication.state


async def test_what_avahi_refused_is_tried_again_later(avahi: FakeAvahi) -> None:
    avahi.start()
    avahi.refusals["AddService"] = INVALID
    publisher = AvahiPublisher(refused_s=0.02)
    await publisher.start()
    try:
        publication = await publisher.publish(SERVICES)
        del avahi.refusals["AddService"]
        await until(lambda: publication.state == ESTABLISHED, "established")
    finally:
        await publisher.close()


async def test_a_group_that_avahi_gives_up_is_told_with_its_reason(
    avahi: FakeAvahi, publisher: AvahiPublisher
) -> None:
    avahi.start()
    await publisher.start()
    publication = await publisher.publish(SERVICES)

    avahi.fail("Printer", INVALID)

    await until(lambda: INVALID in publication.state, "the reason told")
    assert names(avahi) == set()


async def test_a_silent_avahi_delays_nobody_for_long(
    avahi: FakeAvahi, publisher: AvahiPublisher
) -> None:
    avahi.start()
    await publisher.start()
    avahi.silent = True

    publication = await publisher.publish(SERVICES)
    assert "no answer" in publication.state
    await publication.withdraw()

    assert avahi.established == []


async def test_an_avahi_silent_from_the_start_is_used_when_it_speaks(
    avahi: FakeAvahi, publisher: AvahiPublisher
) -> None:
    avahi.start()
    avahi.silent = True
    await publisher.start()
    assert "no answer" in publisher.trouble

    publication = await publisher.publish(SERVICES)
    avahi.silent = False

    await until(lambda: publication.state == ESTABLISHED, "established")


async def test_another_interface_that_does_not_exist_is_named(avahi: FakeAvahi) -> None:
    avahi.start()
    publisher = AvahiPublisher(scope=replace(LOOPBACK, interfaces=("nonesuch0",)))
    await publisher.start()
    try:
        publication = await publisher.publish(SERVICES)
        assert publication.state == "no network interface 'nonesuch0'"
    finally:
        await publisher.close()


async def test_on_lo_records_carry_a_host_name_of_their_own(
    avahi: FakeAvahi, publisher: AvahiPublisher
) -> None:
    avahi.start()
    await publisher.start()
    await publisher.publish(SERVICES)

    assert {entry.host for entry in avahi.established} == {"localhost.local"}
    for group in avahi.groups.values():
        assert group.addresses == [("localhost.local", "127.0.0.1")]


async def test_elsewhere_they_can_carry_avahis_own(avahi: FakeAvahi) -> None:
    avahi.start()
    publisher = AvahiPublisher(scope=replace(LOOPBACK, host=""))
    await publisher.start()
    try:
        await publisher.publish(SERVICES)
        assert {entry.host for entry in avahi.established} == {""}
        assert all(group.addresses == [] for group in avahi.groups.values())
    finally:
        await publisher.close()


async def test_a_slow_avahi_is_waited_for_with_a_bound(avahi: FakeAvahi) -> None:
    avahi.start()
    avahi._probed = lambda _path: None  # type: ignore[method-assign]  # it never settles
    publisher = AvahiPublisher(patience_s=0.05)
    await publisher.start()
    try:
        publication = await publisher.publish(SERVICES)
        assert publication.state == REGISTERING
    finally:
        await publisher.close()


async def test_without_dbus_fast_the_trouble_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dbus_fast.aio", None)
    publisher = AvahiPublisher()
    await publisher.start()
    try:
        assert publisher.trouble.startswith("dbus-fast is not installed")
    finally:
        await publisher.close()


@pytest.mark.parametrize("address", ["unix:path=/nonexistent/bus", "nonsense:x=y"])
async def test_a_bus_that_is_not_there_is_trouble_and_no_error(address: str) -> None:
    publisher = AvahiPublisher(bus_address=address)
    await publisher.start()
    try:
        assert publisher.trouble.startswith("no D-Bus: ")
    finally:
        await publisher.close()


async def test_a_publisher_that_was_never_started_closes() -> None:
    await AvahiPublisher().close()
