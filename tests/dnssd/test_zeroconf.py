"""The zeroconf publisher's own ways: collisions, sockets, a library that is missing."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.services import fresh_mark, fresh_name, make_services
from support.waiting import until
from zeroconf import IPVersion, ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

from ippusbd.dnssd.protocols import ESTABLISHED
from ippusbd.dnssd.zeroconf_publisher import ZeroconfPublisher


def open_sockets() -> int:
    """How many sockets this process has open."""
    links = [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return sum(str(link.readlink()).startswith("socket:") for link in links)


async def test_a_name_that_somebody_announces_is_left_to_him() -> None:
    name = fresh_name()
    other = AsyncZeroconf(interfaces=["127.0.0.1"], ip_version=IPVersion.V4Only)
    publisher = ZeroconfPublisher()
    await publisher.start()
    try:
        await (
            await other.async_register_service(
                ServiceInfo(
                    "_ipp._tcp.local.",
                    f"{name}._ipp._tcp.local.",
                    port=631,
                    server="another.local.",
                    parsed_addresses=["127.0.0.1"],
                )
            )
        )
        await asyncio.sleep(1.1)  # what was just announced is not said again for a second
        publication = await publisher.publish(make_services(name, mark=fresh_mark()))
        assert (publication.name, publication.state) == (f"{name} (USB)", ESTABLISHED)
    finally:
        await publisher.close()
        await other.async_close()


async def test_sockets_are_open_only_while_something_is_announced() -> None:
    publisher = ZeroconfPublisher()
    await publisher.start()
    before = open_sockets()

    publication = await publisher.publish(make_services(fresh_name(), mark=fresh_mark()))
    assert open_sockets() > before
    await publication.withdraw()

    await until(lambda: open_sockets() == before, "sockets closed")
    await publisher.close()


async def test_established_and_withdrawn_in_bounded_time() -> None:
    publisher = ZeroconfPublisher()
    await publisher.start()
    start = time.monotonic()
    await publisher.publish(make_services(fresh_name(), mark=fresh_mark()))
    published_s = time.monotonic() - start

    start = time.monotonic()
    await publisher.close()
    closed_s = time.monotonic() - start

    assert published_s < 4  # four records, three probes each, side by side: 1.2 s
    assert closed_s < 2  # three goodbyes 125 ms apart


async def test_without_the_library_the_trouble_and_every_set_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf.asyncio", None)
    publisher = ZeroconfPublisher()
    await publisher.start()

    publication = await publisher.publish(make_services(fresh_name()))

    assert publisher.trouble.startswith("python-zeroconf is not installed")
    assert publication.state == publisher.trouble
    await publisher.close()


async def test_a_network_that_fails_is_tried_again() -> None:
    network_works = False

    def make_responder(**options: Any) -> AsyncZeroconf:
        if not network_works:
            raise OSError(19, "No such device")
        return AsyncZeroconf(**options)

    publisher = ZeroconfPublisher(retry_s=0.01, make_responder=make_responder)
    await publisher.start()
    publication = await publisher.publish(make_services(fresh_name(), mark=fresh_mark()))
    assert "No such device" in publication.state

    network_works = True
    await until(lambda: publication.state == ESTABLISHED, "established")
    await publisher.close()


async def test_withdrawing_twice_at_once_sends_goodbyes_and_ends() -> None:
    publisher = ZeroconfPublisher()
    await publisher.start()
    publication = await publisher.publish(make_services(fresh_name(), mark=fresh_mark()))

    await asyncio.gather(publication.withdraw(), publication.withdraw(), publisher.close())
