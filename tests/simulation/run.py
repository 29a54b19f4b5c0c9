"""One simulation: an office, its people and its misfortunes, for so many hours."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from simulation.laws import LawBroken, Laws
from simulation.ledger import Ledger
from simulation.loop import SimulatedLoop, Spinning
from simulation.machine import Machine
from simulation.office import CONFIG, Office, opened
from simulation.people import people_of
from simulation.queues import Manners
from simulation.trace import LogToTrace, Trace
from simulation.weather import Weather

from ippusbd.config import Config

AFTER_S = 180.0  # how long a disturbance may have consequences


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated; with the same plan comes the same trace."""

    seed: int
    hours: float = 24.0
    printers: int = 1
    without: tuple[str, ...] = ()  # laws that may be broken
    interfaces: int = 0  # of every printer; 0: one to three
    deeds: tuple[str, ...] = ()  # what the weather consists of; empty: everything
    per_week: float = 25.0  # of them
    manners: Manners = field(default_factory=Manners)
    config: Config = CONFIG


@dataclass(frozen=True, slots=True)
class Outcome:
    plan: Plan
    trace: Trace
    hours: float
    fault: str  # the law that was broken; "": none

    def __str__(self) -> str:
        return (
            f"seed {self.plan.seed}: {self.hours:.1f} simulated hours, {self.trace.events} events,"
            f" {self.trace.faults} faults injected, digest {self.trace.digest}"
        )


def simulate(plan: Plan, echo: TextIO | None = None) -> Outcome:
    """Run it in a loop of its own."""
    loop = SimulatedLoop()
    trace = Trace(loop.time, echo)
    asyncio.set_event_loop(loop)
    fault = ""
    try:
        with tempfile.TemporaryDirectory() as folder, _logged(trace):
            loop.run_until_complete(_office(loop, trace, plan, Path(folder) / "state"))
    except (LawBroken, Spinning) as exc:
        fault = f"{type(exc).__name__}: {exc}"
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return Outcome(plan, trace, loop.time() / 3600, fault)


async def _office(loop: SimulatedLoop, trace: Trace, plan: Plan, folder: Path) -> None:
    async with AsyncExitStack() as stack:
        office = await stack.enter_async_context(
            opened(loop, trace, folder, plan.seed, plan.config)
        )
        ledger = Ledger(loop.time, AFTER_S)
        laws = Laws(office, ledger, plan.without)
        actors = [asyncio.create_task(laws.keep(), name="laws")]
        stack.push_async_callback(_end, actors)
        for number in range(plan.printers):
            actors += _printer(office, ledger, laws, plan, f"V{number + 1}")
        machine = Machine(office, ledger, laws, office.chance("machine"))
        actors.append(asyncio.create_task(machine.change(per_week=8.0), name="machine"))
        end = asyncio.create_task(asyncio.sleep(plan.hours * 3600), name="end")
        actors.append(end)
        done, _ = await asyncio.wait(actors, return_when=asyncio.FIRST_COMPLETED)
        for task in [one for one in actors if one in done]:
            task.result()


def _printer(
    office: Office, ledger: Ledger, laws: Laws, plan: Plan, serial: str
) -> Iterator[asyncio.Task[None]]:
    interfaces = office.chance(f"interfaces {serial}").randint(1, 3)
    printer = office.add(serial, interfaces=plan.interfaces or interfaces)
    laws.watch(printer)
    printer.plug()
    weather = Weather(office, ledger, laws, printer, office.chance(f"weather {serial}"))
    changing = weather.change(plan.per_week, plan.deeds)
    yield asyncio.create_task(changing, name=f"weather {serial}")
    for name, actor in people_of(office, ledger, laws, printer, plan.manners):
        yield asyncio.create_task(actor, name=f"{name} {serial}")


async def _end(actors: list[asyncio.Task[None]]) -> None:
    for task in actors:
        task.cancel()
    await asyncio.gather(*actors, return_exceptions=True)


@contextmanager
def _logged(trace: Trace) -> Iterator[None]:
    """What the daemon logs goes to the trace and nowhere else."""
    logger = logging.getLogger("ippusbd")
    handler, before = LogToTrace(trace), (logger.level, logger.propagate)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
