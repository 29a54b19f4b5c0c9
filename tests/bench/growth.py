"""`make bench-growth`: what the daemon costs by the number of printers, of clients, and of bytes.

The daemon has a process to itself, as in the soak; the client another one, and the virtual
printers this one, which hash documents and keep none. Its USB transfers are a socket's messages,
so single figures are not those of hardware: judged are slopes, and what a further printer costs.

A curve's exponent is the slope of its logarithms: 1 is linear, 0 is flat. Exit status 1 when a
bound is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import Floor, figures_only
from soak.apart import daemon_apart
from support.waiting import until
from worker import Worker, cpu_s, rss_mib, status_mib

from ippusbd.daemon.observe.control_client import ask
from ippusbd.model import UsbId
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.backend import VirtualBackend

SETTINGS = """
[listen]
port_min = 61000
[usb]
poll_s = 30  # as where udev reports what is plugged
[dnssd]
publisher = "off"
[broker]
group = ""
"""
READY_S = 120.0
RELEASED_S = 6.0  # idle interfaces are released after 2 s ...
LATER_S = 20.0  # ... or, at a fourth time within a minute, after 16 s
REQUESTS = 1600  # of all clients together
SAMPLE_S = 0.02
MB = 1_000_000
GAUGES = {"seconds": "time, s", "cpu_s": "CPU, s", "mib": "memory, MiB", "fds": "descriptors"}


@dataclass
class Run:
    """One measurement; `cpu_s` and `seconds` of the whole of it, the others at their peak."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    mib: float = 0.0
    fds: int = 0


@dataclass
class Daemon:
    """Under measurement."""

    pid: int
    ports: list[int]
    printers: list[VirtualPrinter]

    @contextmanager
    def run(self) -> Iterator[Run]:
        """Measure what happens inside."""
        run, over = Run(fds=self.fds), threading.Event()

        def sample() -> None:
            while not over.wait(SAMPLE_S):
                run.fds = max(run.fds, self.fds)

        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # forget the peak of memory
        sampler = threading.Thread(target=sample)
        sampler.start()
        began, before = time.perf_counter(), cpu_s(self.pid)
        try:
            yield run
            run.seconds, run.cpu_s = time.perf_counter() - began, cpu_s(self.pid) - before
            run.mib = status_mib(self.pid, "VmHWM")
        finally:
            over.set()
            sampler.join()

    @property
    def fds(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


@asynccontextmanager
async def serving(count: int) -> AsyncIterator[Daemon]:
    """A daemon whose printers are ready."""
    printers = [
        VirtualPrinter(f"Example GrowthJet {n}", f"G{n}", UsbId(0x1209, n))
        for n in range(1, count + 1)
    ]
    backend = VirtualBackend([printer.device for printer in printers])
    try:
        with tempfile.TemporaryDirectory(prefix="growth-") as folder:
            async with daemon_apart(Path(folder), backend, SETTINGS) as apart:
                await until(lambda: len(_ready(apart.control)) == count, timeout_s=READY_S)
                yield Daemon(apart.process.pid, _ready(apart.control), printers)
    finally:
        backend._finalize_object()
        for printer in printers:
            printer.close()


def _ready(control: Path) -> list[int]:
    rows = ask(control, "status", timeout_s=READY_S)["printers"]
    return [row["port"] for row in rows if row["state"] == "ready"]


# --- what is measured


@dataclass
class Curves:
    """Runs by `what` there was so much of."""

    what: str
    sizes: list[int]
    runs: list[Run] = field(default_factory=list)

    def exponent(self, of: str) -> float:
        values = [max(float(getattr(run, of)), 1e-3) for run in self.runs]
        return statistics.linear_regression(
            [math.log(size) for size in self.sizes], [math.log(value) for value in values]
        ).slope

    def rise(self, of: str) -> float:
        """From the first to the highest."""
        values = [getattr(run, of) for run in self.runs]
        return float(max(values) - values[0])

    def __str__(self) -> str:
        sizes = "".join(f"{size:10}" for size in self.sizes)
        lines = [f"\n{self.what:<26}{sizes}  exponent"]
        for of, name in GAUGES.items():
            row = "".join(f"{getattr(run, of):10.4g}" for run in self.runs)
            lines.append(f"  {name:<24}{row}{self.exponent(of):10.2f}")
        return "\n".join(lines)


async def idle_printers(counts: list[int], idle_s: float) -> tuple[Curves, list[Floor]]:
    """`seconds` are those until all are ready, the others of the time after that."""
    curves = Curves("printers, idle", counts)
    for count in counts:
        began = time.perf_counter()
        async with serving(count) as daemon:
            ready_s = time.perf_counter() - began
            await asyncio.sleep(RELEASED_S)
            with daemon.run() as run:
                await asyncio.sleep(idle_s)
            run.seconds, run.mib = ready_s, rss_mib(daemon.pid)
            curves.runs.append(run)
    more = counts[-1] - counts[0]
    cpu = 100 * (curves.runs[-1].cpu_s - curves.runs[0].cpu_s) / idle_s / more
    return curves, [
        Floor("memory of a further idle printer", curves.rise("mib") / more, 1, "MiB"),
        Floor("CPU of a further idle printer", cpu, 0.1, "%"),
        Floor("descriptors of a further idle printer", curves.rise("fds") / more, 16, ""),
        Floor("exponent of the time until all are ready", curves.exponent("seconds"), 1.1, ""),
    ]


async def clients(counts: list[int]) -> tuple[Curves, list[Floor]]:
    """As many requests of the more clients at once."""
    curves = Curves(f"clients, {REQUESTS} requests", counts)
    async with serving(1) as daemon:
        with Worker("client.py") as client:
            client.ask("rate", port=daemon.ports[0], count=REQUESTS, clients=1)
            sizes = [rss_mib(daemon.pid)]
            for count in (*counts, counts[-1]):
                with daemon.run() as run:
                    client.ask("rate", port=daemon.ports[0], count=REQUESTS, clients=count)
                curves.runs.append(run)
                await asyncio.sleep(LATER_S)
                sizes.append(rss_mib(daemon.pid))
            curves.runs.pop()
    first, *_, once, again = sizes
    return curves, [
        Floor("exponent of the time by clients", curves.exponent("seconds"), 0.1, ""),
        Floor("exponent of the CPU by clients", curves.exponent("cpu_s"), 0.1, ""),
        Floor("memory of all clients", curves.rise("mib"), 10, "MiB"),
        Floor("memory kept when they are gone", once - first, 5, "MiB"),
        # Cycles that Python has not collected yet are in it; after a collection it is flat.
        Floor("memory kept when they came again", again - once, 2, "MiB"),
        Floor("descriptors of a client", curves.rise("fds") / (counts[-1] - counts[0]), 1.1, ""),
    ]


async def documents(job: str, sizes: list[int]) -> tuple[Curves, list[Floor]]:
    """Documents of so many MB, printed (`print`) or scanned (`down`)."""
    curves = Curves(f"MB, {job}", sizes)
    async with serving(1) as daemon:
        with Worker("client.py") as client:
            client.ask(job, port=daemon.ports[0], size=MB, chunked=True)  # what is made once
            for size in sizes:
                with daemon.run() as run:
                    client.ask(job, port=daemon.ports[0], size=size * MB, chunked=True)
                curves.runs.append(run)
        printed = [document.completed for document in daemon.printers[0].documents]
        assert job != "print" or printed == [True] * (1 + len(sizes)), printed
    return curves, [
        Floor(f"exponent of the time by bytes, {job}", curves.exponent("seconds"), 1.1, ""),
        Floor(f"exponent of the CPU by bytes, {job}", curves.exponent("cpu_s"), 1.1, ""),
        Floor(f"memory of the largest document, {job}", curves.rise("mib"), 8, "MiB"),
        Floor(f"descriptors of the largest document, {job}", curves.rise("fds"), 4, ""),
    ]


async def measure(options: argparse.Namespace) -> list[Floor]:
    bounds: list[Floor] = []
    for measuring in (
        idle_printers(options.printers, options.idle_s),
        clients(options.clients),
        documents("print", options.documents),
        documents("down", options.documents),
    ):
        curves, its_bounds = await measuring
        print(curves, flush=True)
        bounds += its_bounds
    return bounds


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="growth")
    parser.add_argument("--printers", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 200])
    parser.add_argument("--documents", type=int, nargs="+", default=[1, 50, 500, 2000])
    parser.add_argument("--idle-s", type=float, default=60.0)
    print(f"growth: {os.cpu_count()} cores, load average before: {os.getloadavg()[0]:.1f}")
    bounds = asyncio.run(measure(parser.parse_args(arguments)))
    print("\nbounds", *bounds, sep="\n")
    return 0 if figures_only() or all(bound.holds for bound in bounds) else 1


if __name__ == "__main__":
    sys.exit(main())
