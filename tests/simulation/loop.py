"""The event loop of the simulation: one thread, and a clock that jumps.

Nothing here waits. When no callback is ready, the clock jumps to the next timer; work for
threads is done at once, in the loop. So a run depends on its seed and on nothing else: not on
the machine, not on its load.

Of PyPI's libraries for this, detangle 0.1 explores short schedules and keeps a record of every
decision, which a year does not allow; simloom, simloop and seedloop are not to be had.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from simulation.transport import FarEnd, MemoryTransport

from ippusbd.virtual.usb.waits import Steps

ROUNDS_MAX = 50_000  # of the loop without the clock moving
COARSE_S = 1e-6  # the clock's resolution, above the rounding of a float after a year


class NothingLeft(Exception):
    """Everybody waits for something that will never happen."""


class Spinning(Exception):
    """The loop is busy and no time passes: somebody tries again without a pause."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """`time()` counts simulated seconds from 0."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._rounds = 0
        self._clock_resolution = COARSE_S
        self._selector = self  # asked once a round for what the world has done: nothing

    def time(self) -> float:
        return self._now

    # --- what BaseEventLoop asks of a selector and of its subclasses

    def select(self, timeout: float | None) -> Sequence[object]:
        if timeout is None:
            raise NothingLeft
        if timeout > 0:
            self._now += timeout
            self._rounds = 0
        self._rounds += 1
        if self._rounds > ROUNDS_MAX:
            raise Spinning(f"at {self._now:.3f} s")
        return ()

    def _process_events(self, event_list: Sequence[object]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """In the loop, one round later."""
        future: asyncio.Future[Any] = self.create_future()
        self.call_soon(self._work, future, func, args)
        return future

    @staticmethod
    def _work(future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            result = func(*args)
        except Exception as exc:  # noqa: BLE001 # whatever it is, it belongs to the caller
            if not future.done():
                future.set_exception(exc)
        else:
            if not future.done():
                future.set_result(result)

    async def connect_accepted_socket(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.Protocol], sock: FarEnd, **_: object
    ) -> tuple[MemoryTransport, asyncio.BaseProtocol]:
        """The daemon's end of a connection that a simulated client made."""
        protocol = protocol_factory()
        sock.transport.attach(protocol)
        return sock.transport, protocol

    # --- the firmware of virtual printers

    def start_firmware(self, name: str, steps: Steps[None]) -> Firmware:
        """For `VirtualPrinter(start=...)`."""
        return Firmware(self, steps)


class Firmware:
    """A coroutine of the firmware, resumed by this loop when what it waits for has come."""

    def __init__(self, loop: asyncio.AbstractEventLoop, steps: Steps[None]) -> None:
        self._loop = loop
        self._steps = steps
        self._alive = True
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self._resume(None)

    def is_alive(self) -> bool:
        return self._alive

    def join(self) -> None:
        """It ends by itself once its device has no power."""

    def _resume(self, changed: bool | None) -> None:
        self._scheduled = True  # nothing schedules another one meanwhile
        self._unsubscribe()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while True:
            try:
                wait = self._steps.send(changed)  # type: ignore[arg-type] # None at the start
            except StopIteration:
                self._alive = False
                return
            if wait.signal.count == wait.since:
                break
            changed = True
        self._scheduled = False
        self._unsubscribe = wait.signal.subscribe(self._changed)
        if wait.timeout_s is not None:
            self._timer = self._loop.call_later(wait.timeout_s, self._over)

    def _changed(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._resume, True)

    def _over(self) -> None:
        if not self._scheduled:
            self._resume(False)
