"""The benchmark inside the guest: one virtual printer, the daemons on it one after the other.

Rounds alternate the order of the daemons, so that warm-up and wear affect
both. Each figure of each round is kept; figures.py on the other side makes
medians and ratios of them. The result is a JSON file in the run
directory, written after every step: a guest that dies late loses little.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clients import Clients
from lab import Desktop, Printers, forget_state
from plugging import Browse, cycle
from programs import run
from report import Failed
from servers import Ours, Peer, Running
from vanishing import Vanishing

HERE = Path(__file__).resolve().parent
WARM_UP_S = 1.0
WARM_UP_BYTES = 4_000_000
BARE_FOR = ("bare", "latency", "rate", "throughput")
BARE_QUESTIONS = 1000
IDLE_S = 3.0  # longer than idle_release_s of ours


class Bench:
    """What is measured, and where it is noted."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._only = set(options.only.split(","))
        self._clients = Clients(options.load)
        self.printers = Printers()
        self.rows: list[dict[str, Any]] = []

    def wants(self, part: str) -> bool:
        return "all" in self._only or part in self._only

    def note(self, round_: int, label: str, what: str, figures: dict[str, Any]) -> None:
        self.rows.append({"round": round_, "server": label, "what": what, **figures})
        words = ", ".join(f"{key} {_short(value)}" for key, value in figures.items())
        print(f"round {round_}  {label:<16} {what:<16} {words}", flush=True)
        self._options.result.write_text(json.dumps(self.rows))

    # --- one round of one daemon

    def measure(self, round_: int, server: Ours | Peer) -> None:
        """A failure is noted as such; a failure of the peer is a result, too."""
        try:
            self._measure(round_, server)
        except Failed as exc:
            self.note(round_, server.label, "failed", {"why": str(exc)})

    def _measure(self, round_: int, server: Ours | Peer) -> None:
        start = time.monotonic()
        with server.run() as running:
            self._clients.first(running.port)
            self.note(round_, server.label, "start", {"start_s": time.monotonic() - start})
            for part, measure in (
                ("rss", self._rss_idle),
                ("plug", self._plug),
                ("latency", self._latency),
                ("rate", self._rate),
                ("throughput", self._throughput),
                ("rss", self._rss_after),
                ("vanish", self._vanish),
            ):
                if self.wants(part) and (part != "vanish" or round_ == 1):
                    for what, figures in measure(running):
                        self.note(round_, server.label, what, figures)

    def _plug(self, running: Running) -> Iterator[tuple[str, dict[str, Any]]]:
        browse = Browse("_ipp._tcp")
        try:
            for _ in range(self._options.cycles):
                yield "plug", cycle(self.printers, self._clients, running, browse)
        finally:
            browse.stop()

    def _vanish(self, running: Running) -> Iterator[tuple[str, dict[str, Any]]]:
        crowd = Vanishing(self.printers, running.port)
        yield "vanish", crowd.run(self._options.vanishing)

    def _rss_idle(self, running: Running) -> Iterator[tuple[str, dict[str, Any]]]:
        time.sleep(IDLE_S)
        yield "rss idle", {"rss_mb": running.rss_mb()}

    def _rss_after(self, running: Running) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "rss after", {"rss_mb": running.rss_mb()}

    def _latency(self, running: Running) -> Iterator[tuple[str, dict[str, Any]]]:
        for keep in (True, False):
            self._clients.ask(running.port, clients=1, seconds=WARM_UP_S, keep=keep)
            what = "latency keep" if keep else "latency new"
            yield what, self._asked(running, clients=1, keep=keep)

    def _rate(self, running: Running) -> Iterator[tuple[str, dict[str, Any]]]:
        for clients in (1, 4, 16):
            yield f"rate {clients}", self._asked(running, clients=clients, keep=True)

    def _asked(self, running: Running, *, clients: int, keep: bool) -> dict[str, Any]:
        seconds, cpu_s = self._options.seconds, running.cpu_s()
        said = self._clients.ask(running.port, clients=clients, seconds=seconds, keep=keep)
        said["cpu_s"] = running.cpu_s() - cpu_s
        said["per_s"] = said["good"] / said["seconds"]
        said["slowest_share"] = min(said["per_client"]) * clients / max(1, said["good"])
        return said

    def _throughput(self, running: Running) -> Iterator[tuple[str, dict[str, Any]]]:
        for direction in (self._clients.upload, self._clients.download):
            direction(running.port, WARM_UP_BYTES, chunked=False)
            for chunked in (False, True):
                framing = "chunked" if chunked else "length"
                yield f"{direction.__name__} {framing}", self._moved(running, direction, chunked)

    def _moved(
        self, running: Running, direction: Callable[..., dict[str, Any]], chunked: bool
    ) -> dict[str, Any]:
        size = self._options.megabytes * 1_000_000
        cpu_s, faults = running.cpu_s(), running.page_faults()
        said = direction(running.port, size, chunked=chunked)
        del said["answer"]
        said["cpu_s"] = running.cpu_s() - cpu_s
        said["mb_per_s"] = size / 1e6 / said["seconds"]
        said["cpu_ms_per_mb"] = 1e3 * said["cpu_s"] / (size / 1e6)
        said["faults_per_mb"] = (running.page_faults() - faults) / (size / 1e6)
        return said

    def bare(self, round_: int) -> None:
        """pyusb alone, in a process of its own."""
        size = self._options.megabytes * 1_000_000
        figures = json.loads(run(sys.executable, HERE / "bare.py", size, BARE_QUESTIONS))
        for way in ("up", "down"):
            figures[f"{way}_mb_per_s"] = size / 1e6 / figures[f"{way}_s"]
        self.note(round_, "bare", "bare", figures)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class BenchDesktop(Desktop):
    """Nothing prints through CUPS here, and nothing else may ask the printer."""

    def _cups(self) -> None:
        pass


@contextmanager
def desktop() -> Iterator[None]:
    one = BenchDesktop()
    one.start()
    try:
        yield
    finally:
        one.stop()


def _servers(options: argparse.Namespace) -> list[Ours | Peer]:
    channels = options.channel.split(",") if options.channel else [""]
    sizes = [int(size) for size in options.transfer_kb.split(",")] if options.transfer_kb else [0]
    ours = [Ours(channel, size) for channel in channels for size in sizes]
    return [*ours, Peer(options.quiet_peer)]


def main() -> int:
    options = _parser().parse_args()
    servers = _servers(options)
    with desktop():
        forget_state()
        bench = Bench(options)
        try:
            for round_ in range(1, options.rounds + 1):
                if any(bench.wants(part) for part in BARE_FOR):
                    bench.bare(round_)
                for server in servers if round_ % 2 else reversed(servers):
                    bench.measure(round_, server)
        finally:
            bench.printers.stop()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--load", type=Path, required=True)
    add("--result", type=Path, required=True)
    add("--rounds", type=int, default=2)
    add("--only", default="all")
    add("--channel", default="")
    add("--transfer-kb", default="")
    add("--seconds", type=float, default=5.0)
    add("--megabytes", type=int, default=50)
    add("--cycles", type=int, default=3)
    add("--vanishing", type=int, default=200)
    add("--quiet-peer", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
