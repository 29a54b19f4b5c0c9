"""Whether a printer is used through one interface only is decided by two hangs in a row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.fake_channel import FakeChannel

from ippusbd.daemon.printer.claiming import Claimer
from ippusbd.daemon.recovery.history import RecoveryHistory
from ippusbd.daemon.recovery.interface_check import OneAtMost
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.errors import PrinterSilent
from ippusbd.model import Capability, InterfaceInfo
from ippusbd.quirks.load import load
from ippusbd.quirks.match import MatchTarget
from ippusbd.usbio.protocols import Channel, TransferCounts

QUIRKS = load().effective_for(MatchTarget.from_text("Some Printer"))


class TwoInterfaces:
    """A device that falls silent when the test says so, and is restored by the next check."""

    interfaces = tuple(InterfaceInfo(1, n, 1, 0x81 + n, 1 + n, Capability.PRINT) for n in range(2))

    def __init__(self, history: RecoveryHistory) -> None:
        counts = TransferCounts()
        self._claimer = Claimer(self, QUIRKS, history, "it", counts, lambda: None)  # type: ignore[arg-type]
        self._hangs = self._hung = False

    async def check(self, *, hangs: bool) -> None:
        """The check at the start of a session that follows a recovery step."""
        self._hangs, self._hung = hangs, False
        await self._claimer.checked([FakeChannel(number=n) for n in range(2)], self._answers)

    async def _answers(self, channel: Channel) -> None:
        self._hung = self._hung or (self._hangs and channel.number == 1)
        if self._hung:
            raise PrinterSilent("no answer")


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[StateFile]:
    state = StateFile(tmp_path / "printers.json")
    yield state
    await state.close()


async def test_a_printer_that_hangs_with_two_interfaces_twice_in_a_row_is_used_through_one(
    state: StateFile,
):
    device = TwoInterfaces(RecoveryHistory(state, "it", resets_max=3, resets_window_s=600))
    with pytest.raises(OneAtMost):
        await device.check(hangs=True)
    assert state.learned("it") == {}
    with pytest.raises(OneAtMost):
        await device.check(hangs=True)
    assert state.learned("it") == {"max_interfaces": 1}


async def test_nothing_is_learned_from_a_moment_of_silence_now_and_then(state: StateFile):
    history = RecoveryHistory(state, "it", resets_max=3, resets_window_s=600)
    device = TwoInterfaces(history)
    for _ in range(3):
        with pytest.raises(OneAtMost):
            await device.check(hangs=True)
        await device.check(hangs=False)
    with pytest.raises(OneAtMost):
        await device.check(hangs=True)
    history.afresh()  # it was plugged in again
    with pytest.raises(OneAtMost):
        await device.check(hangs=True)
    assert state.learned("it") == {}
