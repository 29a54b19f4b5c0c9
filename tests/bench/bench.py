"""`make bench`: the daemon's cost, compared with a bare pyusb loop on the same virtual device.

Three processes: the daemon as users start it (`ippusbd run --virtual`), a client of plain
sockets, and the bare pyusb loop. Daemon and bare loop each have the virtual printer in their own
process, so its cost is in both figures; "added" is their difference, which is the daemon's own.

The bare loop is measured twice. "Device alone" moves bytes without a client, at the speed of
memory, which no proxy can reach: its bytes have to pass through TCP, which is slower.
"Bare loop" is the same blocking pyusb loop with the same client at a socket. The
floors compare with the bare loop; latency is compared with the device alone.

Starts and memory are those of an installed daemon, whose modules are compiled: the bench has a
cache of its own for them, which a start that is not counted fills.

Device, bare loop and daemon alternate, and every figure is the median of the rounds: other load
on the machine affects all alike. DNS-SD is off in the measured daemon, so that nothing depends on
the network. Exit status 1 when a floor is missed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from worker import Worker, cpu_s, rss_mib

ROOT = Path(__file__).resolve().parents[2]
IPPUSBD = ROOT / ".venv" / "bin" / "ippusbd"
MIB = 1 << 20
ROUNDS = 5
SIZE = 128 * MIB
QUESTIONS = 200  # a round
STARTS = 5
WAYS = (("up", False), ("up", True), ("down", False), ("down", True))

CONFIG = """
[daemon]
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[listen]
port_min = 61000
[dnssd]
publisher = "off"
[log]
level = "warning"
"""


@dataclass(frozen=True)
class Floor:
    """What must hold; `value` was measured."""

    what: str
    value: float
    limit: float
    unit: str
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value < self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<"
        verdict = "ok" if self.holds else "MISSED"
        return f"  {self.what:<44}{self.value:9.2f} {sign} {self.limit:g} {self.unit:<4} {verdict}"


@dataclass
class Daemon:
    """A running `ippusbd run --virtual`."""

    process: subprocess.Popen[str]
    config: Path
    port: int
    start_s: float

    @property
    def pid(self) -> int:
        return self.process.pid


@contextmanager
def daemon() -> Iterator[Daemon]:
    """Started, until its printer was announced as ready; stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        config = Path(folder) / "ippusbd.conf"
        config.write_text(CONFIG.format(folder=folder))
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(IPPUSBD), "run", "--virtual", "--config", str(config)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield Daemon(process, config, _port(process), time.perf_counter() - start)
        finally:
            process.terminate()
            process.wait(timeout=30)
            assert process.stdout is not None
            process.stdout.close()


def _port(process: subprocess.Popen[str]) -> int:
    """From the table that is shown when the printer is ready."""
    assert process.stdout is not None
    for line in process.stdout:
        if "http://localhost:" in line:
            return int(line.partition("http://localhost:")[2].partition("/")[0])
    raise SystemExit("bench: the daemon ended before its printer was ready")


@contextmanager
def compiled_once() -> Iterator[None]:
    """For the processes that are started here, whatever PYTHONDONTWRITEBYTECODE says."""
    with tempfile.TemporaryDirectory(prefix="bench-compiled-") as folder:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        yield


# --- memory and start


@dataclass
class Memory:
    idle_mib: float
    after_up_mib: float
    after_down_mib: float

    @property
    def growth_mib(self) -> float:
        return max(self.after_up_mib, self.after_down_mib) - self.idle_mib


def measure_memory(size: int = 500 * MIB) -> Memory:
    """RSS of a daemon before any request, then after a large job each way."""
    with daemon() as d, Worker("client.py") as client:
        idle = rss_mib(d.pid)
        client.ask("up", port=d.port, size=size, chunked=False)
        after_up = rss_mib(d.pid)
        client.ask("down", port=d.port, size=size, chunked=True)
        return Memory(idle, after_up, rss_mib(d.pid))


def measure_starts() -> list[float]:
    """The first one compiles, and is left out."""
    times = []
    for _ in range(STARTS + 1):
        with daemon() as d:
            times.append(d.start_s)
    return times[1:]


@dataclass
class Command:
    """What it takes; the memory is this process's own where that is more."""

    seconds: float
    peak_mib: float


def measure_commands() -> dict[str, Command]:
    """Short answers, beside a daemon."""
    with daemon() as d:
        return {
            "--help": measure_command("--help"),
            "status": measure_command("status", "--config", str(d.config)),
        }


def measure_command(*argv: str) -> Command:
    """The median time and the most memory."""
    times, peaks = [], []
    for number in range(STARTS + 1):
        start = time.perf_counter()
        process = subprocess.Popen([str(IPPUSBD), *argv], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"bench: ippusbd {argv[0]}: exit status {process.returncode}")
        if number:
            times.append(time.perf_counter() - start)
            peaks.append(used.ru_maxrss / 1024)
    return Command(statistics.median(times), max(peaks))


# --- speed


@dataclass
class Way:
    """One direction and framing: MB/s and CPU milliseconds per MB, of every round."""

    name: str
    alone: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    bare_cpu: list[float] = field(default_factory=list)
    ours_cpu: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Percent of the bare loop, the median of the rounds' own ratios."""
        return 100 * statistics.median(o / b for o, b in zip(self.ours, self.bare, strict=True))


def measure_ways(d: Daemon, client: Worker, bare: Worker) -> list[Way]:
    """All ways, alternating; a first, small round is not counted."""
    relay = bare.ask("port")["port"]
    ways = [Way(f"{job}, {'chunked' if coded else 'length'}") for job, coded in WAYS]
    for number in range(ROUNDS + 1):
        size = SIZE if number else 8 * MIB
        for way, (job, chunked) in zip(ways, WAYS, strict=True):
            measured = _one_round(d, client, bare, relay, job, size, chunked=chunked)
            if number:
                for values, value in zip(
                    (way.alone, way.bare, way.ours, way.bare_cpu, way.ours_cpu),
                    measured,
                    strict=True,
                ):
                    values.append(value)
    return ways


def _one_round(
    d: Daemon, client: Worker, bare: Worker, relay: float, job: str, size: int, *, chunked: bool
) -> tuple[float, ...]:
    """MB/s of device, bare loop and daemon; CPU ms per MB of the latter two."""
    megabytes = size / 1e6
    alone = bare.ask(job, size=size, chunked=chunked)
    bare.begin(f"relay_{job}", chunked=chunked, **({"size": size} if job == "up" else {}))
    relayed = client.ask(job, port=relay, size=size, chunked=chunked)
    relay_cpu = bare.figures()["cpu_s"]
    before = cpu_s(d.pid)
    ours = client.ask(job, port=d.port, size=size, chunked=chunked)
    spent = cpu_s(d.pid) - before
    return (
        megabytes / alone["seconds"],
        megabytes / relayed["seconds"],
        megabytes / ours["seconds"],
        1000 * relay_cpu / megabytes,
        1000 * spent / megabytes,
    )


@dataclass
class Latency:
    bare_ms: list[float] = field(default_factory=list)
    ours_ms: list[float] = field(default_factory=list)
    bare_cpu_ms: list[float] = field(default_factory=list)  # of a question, in each round
    ours_cpu_ms: list[float] = field(default_factory=list)

    @property
    def cpu_ratio(self) -> float:
        """CPU of the daemon's process, of the bare loop's: the median of the rounds."""
        rounds = zip(self.ours_cpu_ms, self.bare_cpu_ms, strict=True)
        return statistics.median(ours / bare for ours, bare in rounds)

    @property
    def added_ms(self) -> float:
        return statistics.median(self.ours_ms) - statistics.median(self.bare_ms)


def measure_latency(d: Daemon, client: Worker, bare: Worker) -> Latency:
    """Get-Printer-Attributes on one connection, alternating."""
    found = Latency()
    for number in range(ROUNDS + 1):
        limit = bare.ask("latency", count=QUESTIONS)
        before = cpu_s(d.pid)
        taken = client.ask("latency", port=d.port, count=QUESTIONS)["ms"]
        spent = cpu_s(d.pid) - before
        if number:
            found.bare_ms += limit["ms"]  # type: ignore[arg-type]
            found.ours_ms += taken  # type: ignore[arg-type]
            found.bare_cpu_ms.append(1000 * limit["cpu_s"] / QUESTIONS)
            found.ours_cpu_ms.append(1000 * spent / QUESTIONS)
    return found


def measure_rates(d: Daemon, client: Worker, bare: Worker) -> dict[str, float]:
    """Get-Printer-Attributes per second: the loop, then 1, 4 and 16 clients."""
    rates = {"device alone": bare.ask("rate", count=1000)["per_s"]}
    for clients in (1, 4, 16):
        name = f"{clients} client{'s' if clients > 1 else ''}"
        rates[name] = client.ask("rate", port=d.port, count=1600, clients=clients)["per_s"]
    return rates


# --- the table


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def show_ways(ways: list[Way]) -> None:
    print(f"\nthroughput, MB/s, {SIZE // MIB} MiB, median of {ROUNDS} (least to most)")
    print(f"  {'':<16}{'device alone':>20}{'bare loop':>20}{'ippusbd':>20}{'share':>8}")
    for way in ways:
        print(
            f"  {way.name:<16}{_spread(way.alone):>20}{_spread(way.bare):>20}"
            f"{_spread(way.ours):>20}{way.share:7.0f}%"
        )
    print("\nCPU of the process with the virtual printer in it, ms per MB")
    print(f"  {'':<16}{'bare loop':>12}{'ippusbd':>12}{'added':>10}")
    for way in ways:
        bare, ours = statistics.median(way.bare_cpu), statistics.median(way.ours_cpu)
        print(f"  {way.name:<16}{bare:12.2f}{ours:12.2f}{ours - bare:10.2f}")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"


def show_latency(found: Latency, rates: dict[str, float]) -> None:
    print(f"\nGet-Printer-Attributes, ms, {len(found.ours_ms)} on one connection")
    print(f"  {'':<16}{'device alone':>12}{'ippusbd':>12}{'added':>10}")
    for name, of in (("p50", statistics.median), ("p99", p99)):
        bare, ours = of(found.bare_ms), of(found.ours_ms)
        print(f"  {name:<16}{bare:12.2f}{ours:12.2f}{ours - bare:10.2f}")
    bare, ours = map(statistics.median, (found.bare_cpu_ms, found.ours_cpu_ms))
    print(f"  {'CPU':<16}{bare:12.2f}{ours:12.2f}{ours - bare:10.2f}")
    text = ", ".join(f"{name} {per_s:.0f}" for name, per_s in rates.items())
    print(f"  requests per second: {text}")


def show_rest(memory: Memory, starts: list[float], commands: dict[str, Command]) -> None:
    print("\nmemory of the daemon with its virtual printer, RSS in MiB")
    print(f"  idle {memory.idle_mib:.1f}, after 500 MiB up {memory.after_up_mib:.1f},", end=" ")
    print(f"then 500 MiB down {memory.after_down_mib:.1f}: growth {memory.growth_mib:.1f}")
    print("\nstart of the process to printer ready, s")
    print(f"  median {statistics.median(starts):.3f} ({min(starts):.3f}-{max(starts):.3f})")
    print("\ncommands, s, and their most memory in MiB")
    for name, command in commands.items():
        print(f"  {name:<16}{command.seconds:12.3f}{command.peak_mib:12.1f}")


def figures_only() -> bool:
    """Where others share the processors, figures are told without a verdict."""
    return os.environ.get("IPPUSBD_BENCH_FIGURES") == "1"


def main() -> int:
    print(f"bench: {os.cpu_count()} cores, load average before: {os.getloadavg()[0]:.1f}")
    starts = measure_starts()
    commands = measure_commands()
    memory = measure_memory()
    with daemon() as d, Worker("client.py") as client, Worker("bare.py") as bare:
        ways = measure_ways(d, client, bare)
        latency = measure_latency(d, client, bare)
        rates = measure_rates(d, client, bare)
    show_ways(ways)
    show_latency(latency, rates)
    show_rest(memory, starts, commands)
    floors = [Floor(f"throughput {w.name}, of the bare loop", w.share, 60, "%", True) for w in ways]
    floors += [
        Floor("added latency, p50", latency.added_ms, 1.5, "ms"),
        Floor("CPU of a question, of the bare loop's", latency.cpu_ratio, 6, "x"),
        Floor("RSS growth after 500 MiB", memory.growth_mib, 8, "MiB"),
        Floor("RSS with a printer ready, its virtual part too", memory.idle_mib, 47, "MiB"),
        Floor("start to ready, median", statistics.median(starts), 0.45, "s"),
    ]
    for name, command in commands.items():
        floors.append(Floor(f"ippusbd {name}", command.seconds, 0.15, "s"))
        floors.append(Floor(f"ippusbd {name}, memory", command.peak_mib, 20, "MiB"))
    print("\nfloors")
    for floor in floors:
        print(floor)
    return 0 if figures_only() or all(floor.holds for floor in floors) else 1


if __name__ == "__main__":
    with compiled_once():
        sys.exit(main())
