"""What is concluded from a recovery step that did not help."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from support.fake_channel import FakeChannel
from support.scripted_printer import ScriptedPrinter, answer
from support.time_lapse import told

from ippusbd.daemon.recovery.ladder import Ladder, Rung
from ippusbd.errors import NoInterface, PrinterSilent
from ippusbd.exchange.query import Query
from ippusbd.model import Capability, InterfaceInfo
from ippusbd.usbio.pool import InterfacePool


class Device:
    """A device with two interfaces; `resets` is what happens at a soft reset."""

    interfaces = tuple(InterfaceInfo(1, n, 1, 0x81 + n, 1 + n, Capability.PRINT) for n in range(2))

    def __init__(self, resets: Callable[[], Awaitable[None]]) -> None:
        self._resets = resets

    async def port_status(self) -> int:
        return 0x18

    async def soft_reset(self, info: InterfaceInfo, *, recipient_other: bool = False) -> None:
        if not recipient_other:
            await self._resets()


class Memory:
    winner: Rung | None = None

    def __init__(self) -> None:
        self.learned: dict[str, object] = {}

    def won(self, rung: Rung) -> None:
        self.winner = rung

    def learn(self, setting: str, value: object) -> None:
        self.learned[setting] = value


@pytest.mark.parametrize("harmful", [False, True])
def test_a_soft_reset_is_not_blamed_for_an_interface_that_a_client_uses_by_then(harmful: bool):
    memory = Memory()

    async def story() -> None:
        hung, well = FakeChannel(number=0), ScriptedPrinter([answer(b"idle")] * 9)
        well.channels[0].number = 1
        pool = InterfacePool([hung, *well.channels], drain_s=1)
        async with AsyncExitStack() as clients:
            await clients.enter_async_context(pool.lease(wait_s=1))

            async def resets() -> None:
                if harmful:
                    well.answers.clear()
                else:
                    await clients.enter_async_context(pool.lease(wait_s=1))

            query = Query(pool, host="localhost")
            ladder = Ladder(Device(resets), memory, query, answer_s=1.0, touched=lambda: None)  # type: ignore[arg-type]
            with pytest.raises(NoInterface):
                await ladder.recover(hung, PrinterSilent("no answer"))
        await pool.close()

    told(story)
    assert memory.learned == ({"soft_reset": "never"} if harmful else {})
