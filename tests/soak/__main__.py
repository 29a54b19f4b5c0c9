"""`make soak`: the daemon with misbehaving printers and clients.

    python -m soak --seconds 1800 --seed 7

Storms and calms alternate. In a storm clients of every kind and a fault injector for
each printer act at random; in the calm every printer must serve again by itself,
every document is accounted for, and the process's resources are measured. The
seed decides every choice; only the timing is the machine's.

Exit status 0: nothing was lost, hung, or grew.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from soak.clients import Client, proves_itself
from soak.faults import FaultInjector
from soak.gauge import Held, risen
from soak.ledger import Ledger
from soak.rig import Rig, running
from soak.talk import BOUND_S, Fault

STORM_S = 20.0
CLIENTS = 6
WARM_UP = 1  # calms before resources are measured the first time
NOTICED_S = 1.5  # within which the daemon, which polls the bus, noticed the last fault
PENDING_CHECKS = 30  # half a second apart: lost cancellations are delivered late
FLAT_S = 20.0  # within which resources of a storm are released


class Soak:
    """One run."""

    def __init__(self, rig: Rig, seed: int, seconds: float) -> None:
        self.rig = rig
        self.seed = seed
        self.ledger = Ledger()
        self.did: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self.faults: list[str] = []
        self.held: list[Held] = []
        self._end = time.monotonic() + seconds

    async def run(self) -> None:
        """Alternate storm and calm until the time is over or something is wrong."""
        number = 0
        while not self.faults and (time.monotonic() < self._end or len(self.held) <= WARM_UP):
            number += 1
            await self._storm(number)
            await self._calm(number)
        if len(self.held) > WARM_UP:
            self.faults += risen(self.held[WARM_UP - 1], self.held[-1])

    async def _storm(self, number: int) -> None:
        self.rig.diary.clear()
        stop = asyncio.Event()
        injectors = [
            FaultInjector(self.rig, printer, random.Random(f"{self.seed} {number} faults {index}"))
            for index, printer in enumerate(self.rig.printers)
        ]
        tasks = [asyncio.create_task(injector.work(stop)) for injector in injectors]
        for index in range(CLIENTS):
            chance = random.Random(f"{self.seed} {number} client {index}")
            client = Client(self.rig, self.ledger, chance)
            tasks.append(asyncio.create_task(self._customers(client, stop)))
        await asyncio.wait(tasks, timeout=STORM_S, return_when=asyncio.FIRST_EXCEPTION)
        stop.set()
        done, late = await asyncio.wait(tasks, timeout=2 * BOUND_S)
        self.faults += [f"storm {number}: {task} never ended" for task in late]
        for task in done:
            task.result()
        self.injected.update(sum((injector.faults for injector in injectors), Counter()))

    async def _customers(self, client: Client, stop: asyncio.Event) -> None:
        while not stop.is_set() and not self.faults:
            try:
                self.did[await client.act()] += 1
            except Fault as exc:
                self.faults.append(str(exc))
            await asyncio.sleep(0.02 + client.chance.random() * 0.4)

    async def _calm(self, number: int) -> None:
        """All printers served, all documents accounted for, all resources released."""
        await asyncio.sleep(NOTICED_S)
        await self.rig.retry()
        began = time.monotonic()
        self.faults += [f"calm {number}: {wrong}" for wrong in await self.rig.until_served()]
        served_s = time.monotonic() - began
        chance = random.Random(f"{self.seed} {number} calm")
        self.faults += await proves_itself(self.rig, self.ledger, chance)
        await self.rig.until_served()
        self.faults += [f"calm {number}: {wrong}" for wrong in await self._judged()]
        self.held.append(await self._settled())
        print(
            f"storm {number}: {self.did.total()} requests, {self.injected.total()} faults so far;"
            f" served again in {served_s:.1f} s; holds {self.held[-1]}",
            flush=True,
        )

    async def _judged(self) -> list[str]:
        """What is lost or kept wrongly, after the daemon had time for its pending cancellations."""
        for _ in range(PENDING_CHECKS):
            if not self.ledger.wrong(self.rig.kept()):
                break
            await asyncio.sleep(0.5)
        wrong = self.ledger.judge(self.rig.kept())
        self.rig.forget()
        return wrong

    async def _settled(self) -> Held:
        """The resources at rest; waited for, since idle interfaces are released after a while."""
        end = time.monotonic() + FLAT_S
        held = await self.rig.measure()
        while time.monotonic() < end:
            await asyncio.sleep(1.0)
            before, held = held, await self.rig.measure()
            reference = self.held[WARM_UP - 1] if len(self.held) >= WARM_UP else before
            if not risen(reference, held) and not risen(before, held):
                break
        return held


async def _soak(seed: int, seconds: float) -> int:
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        async with running(Path(folder)) as rig:
            soak = Soak(rig, seed, seconds)
            await soak.run()
    faults = soak.faults + rig.daemon.report["faults"]
    if faults:
        print("\nthe last storm:", *sorted(rig.diary + rig.daemon.report["lines"]), sep="\n")
    _tell(soak, Counter(rig.daemon.report["warnings"]))
    for fault in faults:
        print(f"FAULT {fault}")
    verdict = "FAILED" if faults else "nothing lost, nothing hung, nothing grew"
    print(f"soak: {verdict}; seed {seed}")
    return 1 if faults else 0


def _tell(soak: Soak, warnings: Counter[str]) -> None:
    print("\nclients did:")
    for what, count in sorted(soak.did.items()):
        print(f"{count:7} {what}")
    print("\nprinters did, or had done to them:")
    for what, count in sorted(soak.injected.items()):
        print(f"{count:7} {what}")
    print("\nthe daemon coped with:")
    for what, count in warnings.most_common(12):
        print(f"{count:7} {what}")
    fates = ", ".join(f"{count} {fate.value}" for fate, count in soak.ledger.fates.items())
    print(f"\ndocuments: {fates}")
    print(f"requests: {soak.did.total()}, faults survived: {soak.injected.total()}")
    warm = soak.held[min(WARM_UP, len(soak.held)) - 1]
    print(f"holds after warm-up: {warm}\nholds at the end: {soak.held[-1]}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    seed, seconds = options.seed, options.seconds
    sys.setswitchinterval(0.0005)  # printers, which are threads here, answer at once
    print(f"soak: {seconds:g} s, seed {seed} (SEED={seed} repeats it)", flush=True)
    return asyncio.run(_soak(seed, seconds))


if __name__ == "__main__":
    sys.exit(main())
