"""A connection that is let in, and one that is told to come again."""

from __future__ import annotations

import asyncio

import pytest

from ippusbd.proxy.admission import handover
from ippusbd.proxy.admission.handover import Handover, refusal


class Greeter(asyncio.Protocol):
    """Says hello."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


class Watched(Handover):
    """Says when its connection is over."""

    def __init__(self, next_protocol: asyncio.Protocol | None) -> None:
        super().__init__(lambda _: next_protocol, refusal("full", 7))
        self.over = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.over.set()


async def heard(arrival: Handover, *, says: bytes = b"", stays: bool = False) -> bytes:
    """All that a client hears of `arrival`, to which it `says` something."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: arrival, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(says)
        data = await reader.read()
        if not stays:
            writer.close()
        if isinstance(arrival, Watched):
            await arrival.over.wait()
        writer.close()
    return data


async def test_the_next_protocol_takes_over_from_the_first_moment():
    arrival = Handover(lambda _: Greeter(), refusal("full", 7))
    assert await heard(arrival) == b"hello"


@pytest.mark.parametrize("says", [b"", b"x" * 100_000])
async def test_a_refused_client_gets_a_whole_response_whatever_it_sends(says: bytes):
    data = await heard(Watched(None), says=says)
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert body == b"ippusbd: full\n"


async def test_a_refused_client_that_stays_is_disconnected(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(handover, "LINGER_S", 0.05)
    assert (await heard(Watched(None), stays=True)).endswith(b"ippusbd: full\n")
