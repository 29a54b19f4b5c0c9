"""What a neighbour on the network learns from python-zeroconf: what is shared, nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from support import mdns_neighbour
from support.desktop import Desktop
from support.neighbour import DESK, NEIGHBOUR, NETWORK
from support.services import fresh_mark, fresh_name, make_services

from ippusbd.dnssd.protocols import ESTABLISHED
from ippusbd.dnssd.scope import LOOPBACK, Scope
from ippusbd.dnssd.zeroconf_publisher import ZeroconfPublisher

pytestmark = pytest.mark.clients

NOT_SHARED = "203.0.113.10"  # the desk's address on another cable
ROUTE = f"ip -n house route add {NOT_SHARED} via {DESK}"
SCRIPT = [sys.executable, mdns_neighbour.__file__]
SHARED = Scope(("share0",), "desk.local", (DESK,))


@pytest.fixture(scope="module")
def desk() -> Iterator[Desktop]:
    with Desktop() as desktop:
        done = desktop.run(["sh", "-c", NETWORK + ROUTE])
        assert done.returncode == 0, done.stderr
        yield desktop


@asynccontextmanager
async def announced(name: str, scope: Scope) -> AsyncIterator[None]:
    publisher = ZeroconfPublisher(scope=scope)
    await publisher.start()
    try:
        publication = await publisher.publish(make_services(name, mark=fresh_mark()))
        assert (publication.name, publication.state) == (name, ESTABLISHED)
        yield
    finally:
        await publisher.close()


async def answers(desk: Desktop, asked: str) -> str:
    """Everything that the neighbour is answered."""
    inside = ["ip", "netns", "exec", "house", *SCRIPT, NEIGHBOUR, asked]
    done: subprocess.CompletedProcess[str] = await asyncio.to_thread(desk.run, inside)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("asked", [DESK, NOT_SHARED])
async def test_a_neighbour_gets_no_answer_about_a_printer_of_this_machine_alone(
    desk: Desktop, asked: str
) -> None:
    with desk.network():
        async with announced(fresh_name(), LOOPBACK):
            assert await answers(desk, asked) == ""


@pytest.mark.parametrize("asked", [DESK, NOT_SHARED])
async def test_a_neighbour_gets_answers_about_shared_printers_only(
    desk: Desktop, asked: str
) -> None:
    private, shared = fresh_name("Private"), fresh_name("Shared")
    with desk.network():
        async with announced(private, LOOPBACK), announced(shared, SHARED):
            told = await answers(desk, asked)
    assert shared in told
    assert private not in told
    assert "localhost" not in told


async def test_a_neighbour_that_claims_the_name_of_a_printer_does_not_change_it(
    desk: Desktop,
) -> None:
    name = fresh_name()
    claim = desk.popen(
        ["ip", "netns", "exec", "house", *SCRIPT, NEIGHBOUR, DESK, name], stdout=subprocess.PIPE
    )
    assert claim.stdout is not None
    assert await asyncio.to_thread(claim.stdout.readline) == "claimed\n"
    with desk.network():
        async with announced(name, LOOPBACK):
            pass  # under this name: see `announced`
    desk.stop(claim)
