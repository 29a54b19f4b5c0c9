"""What every publisher does, whoever announces: one suite over all of them, fake and real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.desktop import Desktop
from support.dnssd_stages import (
    FakeAvahiStage,
    FolderStage,
    Seen,
    Stage,
    real_stage,
    zeroconf_stage,
)
from support.services import TXT, fresh_mark, fresh_name, make_services
from support.waiting import until

from ippusbd.dnssd.protocols import ESTABLISHED, WITHDRAWN
from ippusbd.errors import PublishError
from ippusbd.model import ServiceRecord, ServiceSet

FAKES = ["fake avahi", "zeroconf", "folder"]
REAL = ["real avahi", "real zeroconf", "real static"]


@pytest.fixture(scope="module", autouse=True)
def _desktop_comes_first(request: pytest.FixtureRequest) -> None:
    """A desktop is made before any test's files and threads are counted, if one is needed."""
    here = (item for item in request.session.items if item.path == request.path)
    if any(item.get_closest_marker("clients") for item in here):
        request.getfixturevalue("desktop")


@pytest.fixture(params=[*FAKES, *(pytest.param(name, marks=pytest.mark.clients) for name in REAL)])
async def stage(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Stage]:
    """A started publisher, closed at the end; what it left behind fails the test."""
    kind: str = request.param
    stage: Stage
    if kind.startswith("real "):
        desktop: Desktop = request.getfixturevalue("desktop")
        with real_stage(desktop, kind.removeprefix("real ")) as stage:
            async with _started(stage):
                yield stage
    elif kind == "zeroconf":
        async with zeroconf_stage() as stage, _started(stage):
            yield stage
    else:
        stage = FakeAvahiStage(monkeypatch) if kind == "fake avahi" else FolderStage(tmp_path)
        async with _started(stage):
            yield stage


class _started:
    def __init__(self, stage: Stage) -> None:
        self._publisher = stage.publisher

    async def __aenter__(self) -> None:
        await self._publisher.start()

    async def __aexit__(self, *_: object) -> None:
        await self._publisher.close()


@pytest.fixture
def services() -> ServiceSet:
    return make_services(fresh_name(), mark=fresh_mark())


async def see(stage: Stage, record: ServiceRecord) -> Seen:
    """Wait until `record` is seen exactly as it is meant."""
    txt = frozenset(f"{key}={value}" for key, value in record.txt)
    wanted = Seen(stage.shown(record.name), record.type, record.port, txt)

    async def seen() -> bool:
        return wanted in await stage.seen(record.type)

    await until(seen, f"{wanted} seen")
    return wanted


async def see_none(stage: Stage, *names: str) -> None:
    """Wait until no instance of any type has one of `names`."""

    async def gone() -> bool:
        types = ("_ipp._tcp", "_uscan._tcp", "_http._tcp", "_ipp-usb._tcp")
        there = {each.name for type_ in types for each in await stage.seen(type_)}
        return not there & {stage.shown(name) for name in names}

    await until(gone, f"{names} gone")


async def test_every_record_is_seen_with_its_name_port_and_exact_txt(
    stage: Stage, services: ServiceSet
) -> None:
    publication = await stage.publisher.publish(services)

    assert publication.state == ESTABLISHED
    assert publication.name == services.name
    for record in (*services.records, *services.fixed):
        await see(stage, record)


async def test_subtypes_lead_to_the_instance(stage: Stage, services: ServiceSet) -> None:
    await stage.publisher.publish(services)

    for subtype in ("_universal", "_print"):

        async def found(subtype: str = subtype) -> bool:
            names = await stage.with_subtype(subtype, "_ipp._tcp")
            return stage.shown(services.name) in names

        await until(found, f"{subtype} found")


async def test_a_withdrawn_set_is_gone_and_others_stay(stage: Stage, services: ServiceSet) -> None:
    other = make_services(fresh_name(), port=60001, mark=fresh_mark())
    first, _ = await asyncio.gather(
        stage.publisher.publish(services), stage.publisher.publish(other)
    )
    await see(stage, services.records[0])

    await first.withdraw()
    assert first.state == WITHDRAWN
    await see_none(stage, services.name, services.fixed[0].name)
    await see(stage, other.records[0])
    await first.withdraw()  # idempotent


async def test_two_printers_of_one_name_get_two(stage: Stage, services: ServiceSet) -> None:
    twin = make_services(services.name, port=60001, mark=fresh_mark())

    first, second = await asyncio.gather(
        stage.publisher.publish(services), stage.publisher.publish(twin)
    )

    assert sorted([first.name, second.name]) == [services.name, f"{services.name} (USB)"]
    await see(stage, replace(services.records[0], name=first.name))
    await see(stage, replace(twin.records[0], name=second.name))
    await see(stage, services.fixed[0])
    await see(stage, twin.fixed[0])


async def test_a_withdrawn_name_is_free_again(stage: Stage, services: ServiceSet) -> None:
    publication = await stage.publisher.publish(services)
    await see(stage, services.records[0])
    await publication.withdraw()
    await see_none(stage, services.name)

    again = await stage.publisher.publish(replace_port(services, 60007))

    assert (again.state, again.name) == (ESTABLISHED, services.name)
    await see(stage, replace(services.records[0], port=60007))


def replace_port(services: ServiceSet, port: int) -> ServiceSet:
    """The same printer at another port."""
    return replace(
        services,
        records=tuple(replace(each, port=port) for each in services.records),
        fixed=tuple(replace(each, port=port) for each in services.fixed),
    )


async def test_close_withdraws_everything_and_a_closed_publisher_starts_again(
    stage: Stage, services: ServiceSet
) -> None:
    publication = await stage.publisher.publish(services)
    await see(stage, services.records[0])

    await stage.publisher.close()
    assert publication.state == WITHDRAWN
    await see_none(stage, services.name)

    await stage.publisher.start()
    await stage.publisher.publish(services)
    await see(stage, services.records[0])


async def test_a_publish_that_is_cancelled_leaves_nothing(
    stage: Stage, services: ServiceSet
) -> None:
    for turns in (0, 1, 2, 5, 20):
        publishing = asyncio.create_task(stage.publisher.publish(services))
        for _ in range(turns):
            await asyncio.sleep(0)
        if not publishing.cancel():
            await publishing.result().withdraw()  # it was faster
        await asyncio.wait({publishing})
    await stage.publisher.publish(make_services(fresh_name(), mark=fresh_mark()))

    await see_none(stage, services.name)


async def test_names_and_items_at_their_limits_pass(stage: Stage) -> None:
    name = f"{fresh_name()} ü 漢"
    name += "x" * (63 - len(name.encode()))
    record = ServiceRecord(name, "_ipp._tcp", 65535, (), (("pdl", "p" * 251), *TXT))

    publication = await stage.publisher.publish(ServiceSet(name, (record,)))

    assert publication.name == name
    await see(stage, record)


async def test_a_name_with_dots_stays_one_label(stage: Stage) -> None:
    name = f"{fresh_name()} Ver. 3.5"
    record = ServiceRecord(name, "_http._tcp", 60000)

    publication = await stage.publisher.publish(ServiceSet(name, (record,)))

    assert publication.name == name
    await see(stage, record)


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        (ServiceRecord("n" * 64, "_ipp._tcp", 1), "'nnn.*' _ipp._tcp: the name has 64 bytes"),
        (ServiceRecord("ü" * 32, "_ipp._tcp", 1), "64 bytes"),
        (
            ServiceRecord("P", "_uscan._tcp", 1, (), (("ty", "x" * 297),)),
            "'P' _uscan._tcp: TXT item 'ty' has 300 bytes",
        ),
        (ServiceRecord("P", "_ipp-over-usb-is-long._tcp", 1), "not a service type"),
        (ServiceRecord("P", "_ipp._tcp", 65536), "port 65536"),
    ],
)
async def test_what_dns_sd_cannot_say_is_refused_naming_the_record(
    stage: Stage, record: ServiceRecord, complaint: str
) -> None:
    with pytest.raises(PublishError, match=complaint):
        await stage.publisher.publish(ServiceSet(record.name, (record,)))
