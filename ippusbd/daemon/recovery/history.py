"""A printer's health over its sessions: which rung comes next, when to give up.

A session that ended because the printer was unresponsive is followed by a rung of
the device: claim again, then USB resets, the last winner first. The next session
checks every interface before it serves, so each rung is judged.
Resets are counted over sessions, and over the new bus address that a reset may
cause; a real replug, or an administrator's `retry`, starts anew.

Knows the ladder and the state file; time is injected.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ippusbd.daemon.recovery.backoff import ResetBudget
from ippusbd.daemon.recovery.ladder import DEVICE_RUNGS, Rung
from ippusbd.daemon.recovery.learning import ConnectionTrial
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.errors import (
    CutAnswer,
    EndpointHalted,
    IppUsbError,
    NoInterface,
    PrinterSilent,
    TransferFailed,
    TransferTimeout,
    UsbError,
)
from ippusbd.kinds import Kind

log = logging.getLogger("ippusbd.daemon")

OWN_PLUG_S = 15.0  # a device that comes back this soon after our reset was not replugged
UNRESPONSIVE = (EndpointHalted, NoInterface, PrinterSilent, TransferFailed, TransferTimeout)


def is_unresponsive(failure: IppUsbError) -> bool:
    """The printer, which did not answer, may need a rung of the device."""
    return isinstance(failure, UNRESPONSIVE) and not isinstance(failure, CutAnswer)


class GivenUp(UsbError):
    """Resets did not help; nothing is tried until a replug or `ippusbd retry`."""

    kind = Kind.GIVEN_UP
    retry = False


class RecoveryHistory:
    """One printer's; a `Memory` for its ladder."""

    def __init__(
        self,
        state: StateFile,
        key: str,
        *,
        resets_max: int,
        resets_window_s: float,
        warm_up_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._key = key
        self._clock = clock
        self._resets_max, self._resets_window_s = resets_max, resets_window_s
        self._warm_up_s = warm_up_s
        self._budget = self._fresh_budget()
        self._since_s = clock()  # when it was plugged in, or last retried by an administrator
        self._worked = False  # since then
        self._reset_at = -OWN_PLUG_S
        self._tried: list[Rung] = []  # since it last worked
        self._hung = False  # in the last check, as soon as a second interface was used
        self.connection_trial = ConnectionTrial(self.learn)
        self.failures = 0  # sessions that failed since it last worked

    # --- Memory

    @property
    def winner(self) -> Rung | None:
        try:
            return Rung(self._state.recovery(self._key))
        except ValueError:  # none yet, or of another version
            return None

    def won(self, rung: Rung) -> None:
        if rung is not self.winner:
            self._state.set_recovery(self._key, rung.value)

    def learn(self, setting: str, value: object) -> None:
        self._state.learn(self._key, setting, value)

    # --- rungs of the device

    @property
    def in_recovery(self) -> bool:
        """A rung was taken, and its result is not known yet."""
        return bool(self._tried)

    @property
    def exhausted(self) -> bool:
        """No rung of the device is left."""
        return self._choose() is Rung.USB_RESET and self._budget.spent

    def next_rung(self, failure: IppUsbError) -> Rung | None:
        """The step after a session with this failure; None: the printer was not unresponsive.

        Raises GivenUp when there were enough resets.
        """
        if not is_unresponsive(failure):
            return None
        self.connection_trial.stop()
        rung = self._choose()
        if rung is Rung.USB_RESET and self._budget.spent and self._may_warm_up:
            rung = Rung.RECLAIM
        if rung is Rung.USB_RESET and not self._budget.allow():
            raise GivenUp(
                resets=self._resets_max, window_s=self._resets_window_s, failure=str(failure)
            ) from failure
        if rung is Rung.USB_RESET:
            self._reset_at = self._clock()
        self._tried.append(rung)
        return rung

    @property
    def _may_warm_up(self) -> bool:
        """It never worked since it was plugged in, not long ago: asking costs nothing."""
        return not self._worked and self._clock() - self._since_s < self._warm_up_s

    def _choose(self) -> Rung:
        if self.winner in DEVICE_RUNGS[1:] or DEVICE_RUNGS[0] in self._tried:
            return DEVICE_RUNGS[-1]
        return DEVICE_RUNGS[0]

    def hung_again(self) -> bool:
        """All interfaces were silent as soon as a second one was used; whether for the second time.

        The first time may be a coincidence: a printer falls silent when a job comes over Wi-Fi.
        """
        again, self._hung = self._hung, True
        return again

    def healthy(self) -> None:
        """Every interface answered at the start of a session."""
        self._hung = False
        if self._tried:
            log.info("%s: answers again after: %s", self._key, self._tried[-1].value)
            self.won(self._tried[-1])

    def working(self) -> None:
        """It answered all questions of the start: the recovery is over."""
        self._worked = True
        self._tried.clear()
        self.failures = 0

    def plugged(self) -> None:
        """A device was plugged in; unless our own reset caused it, earlier tries are forgotten."""
        if self._clock() - self._reset_at > OWN_PLUG_S:
            self.afresh()

    def afresh(self) -> None:
        """A new start, after a replug or an administrator's `retry`."""
        self._tried.clear()
        self._hung = False
        self.connection_trial.afresh()
        self._since_s, self._worked = self._clock(), False
        self.failures = 0
        self._budget = self._fresh_budget()

    def _fresh_budget(self) -> ResetBudget:
        return ResetBudget(self._resets_max, self._resets_window_s, clock=self._clock)
