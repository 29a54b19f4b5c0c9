"""The figures as a table: medians of the rounds, the ratio ours/peer, and the targets.

A target that was not measured is shown as such, never as met.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
BARE = "bare"


@dataclass(frozen=True)
class Target:
    """A bound on our figure: `factor` times the other's, or absolute if `of` is empty."""

    factor: float
    of: str = "peer"  # "peer", "bare" or ""
    least: bool = False  # at least, not at most
    engine: str = ""  # where it holds; empty: everywhere

    def words(self) -> str:
        sign = ">=" if self.least else "<="
        return f"{sign} {self.factor:g}" + (f" x {self.of}" if self.of else "")

    def met(self, ours: float, reference: float | None) -> bool | None:
        """None: there is nothing to compare with."""
        if self.of and reference is None:
            return None
        bound = self.factor * (reference or 0.0) if self.of else self.factor
        return ours >= bound if self.least else ours <= bound


@dataclass(frozen=True)
class Line:
    """One figure of the table: where it is in the rows, and its target."""

    title: str
    unit: str
    what: str
    key: str
    targets: tuple[Target, ...] = ()
    bare: str = ""  # its key in the bare loop's row


NO_SLOWER = (Target(1.0),)
LATENCY = (Target(0.4, engine="uml"), Target(1.2, engine="qemu"))
KEPT_LATENCY = (*LATENCY, Target(1.6, "bare", engine="uml"))
NONE = (Target(0, ""),)


def _fast(of_bare: float) -> tuple[Target, ...]:
    return Target(2.5, least=True), Target(of_bare, "bare", least=True, engine="uml")


def _lines() -> Iterator[Line]:
    yield Line("attach to first 200", "s", "plug", "answered_s", NO_SLOWER)
    yield Line("attach to advertised", "s", "plug", "advertised_s", NO_SLOWER)
    yield Line("unplug to withdrawn", "s", "plug", "withdrawn_s", NO_SLOWER)
    for kind, title in (("keep", "keep-alive"), ("new", "new connection")):
        what = f"latency {kind}"
        p50 = KEPT_LATENCY if kind == "keep" else LATENCY
        yield Line(f"latency, {title}, p50", "ms", what, "p50_ms", p50, "p50_ms")
        yield Line(f"latency, {title}, p99", "ms", what, "p99_ms", (Target(0.8),), "p99_ms")
    for clients in (1, 4, 16):
        what, target = f"rate {clients}", (Target(1.2, least=True),) if clients > 1 else ()
        yield Line(f"requests, {clients} clients", "/s", what, "per_s", target, "per_s")
        if clients == 16:
            yield Line("  p99", "ms", what, "p99_ms", (Target(0.5),))
        yield Line("  slowest client's share", "", what, "slowest_share")
        yield Line("  not answered 200", "", what, "bad", NONE)
    for way, short in (("upload", "up"), ("download", "down")):
        for framing in ("length", "chunked"):
            what, bare = f"{way} {framing}", f"{short}_mb_per_s"
            fast = _fast(0.75 if (short, framing) == ("up", "chunked") else 0.6)
            yield Line(f"{short}, {framing}", "MB/s", what, "mb_per_s", fast, bare)
            cheap = Target(0.8), Target(4, "")
            yield Line("  CPU of the daemon", "ms/MB", what, "cpu_ms_per_mb", cheap)
    yield Line("RSS idle", "MB", "rss idle", "rss_mb", (Target(42, ""),))
    yield Line("RSS after load", "MB", "rss after", "rss_mb", (Target(45, ""),))
    yield Line("vanishing: clients in 300 s", "", "vanish", "clients")
    yield Line("vanishing: cut jobs taken", "", "vanish", "cut_jobs", NONE)
    yield Line("vanishing: broken HTTP", "", "vanish", "broken_http", NONE)
    yield Line("vanishing: next clients refused", "", "vanish", "refused", NONE)
    yield Line("vanishing: a stranger's answer", "", "vanish", "strangers_answer", NONE)


LINES = tuple(_lines())


def median(rows: Iterable[Row], server: str, what: str, key: str) -> float | None:
    """Over all rounds; None: it was not measured. Counts add up instead: none may happen."""
    counts = what == "vanish" or key == "bad"
    values = [
        float(row[key])
        for row in rows
        if row["server"] == server and row["what"] == what and key in row
    ]
    if not values:
        return None
    return sum(values) if counts else statistics.median(values)


def report(rows: Sequence[Row], ours: str, peer: str, engine: str) -> list[dict[str, Any]]:
    """One entry per line that was measured on either daemon."""
    entries = []
    for line in LINES:
        value = median(rows, ours, line.what, line.key)
        other = median(rows, peer, line.what, line.key)
        bare = median(rows, BARE, BARE, line.bare) if line.bare else None
        if value is None and other is None:
            continue
        entries.append(
            {
                "title": line.title,
                "unit": line.unit,
                "ours": value,
                "peer": other,
                "bare": bare,
                "ratio": value / other if value is not None and other else None,
                "targets": list(_judged(line, engine, value, other, bare)),
            }
        )
    return entries


def _judged(
    line: Line, engine: str, value: float | None, peer: float | None, bare: float | None
) -> Iterator[dict[str, Any]]:
    for target in line.targets:
        if target.engine in ("", engine):
            reference = {"peer": peer, "bare": bare}.get(target.of)
            met = None if value is None else target.met(value, reference)
            yield {"target": target.words(), "met": met}


def table(entries: Sequence[Mapping[str, Any]], ours: str, peer: str) -> Iterator[str]:
    """The lines to print."""
    head = ("", "", BARE, ours, peer, "ours/peer")
    yield "{:<31} {:<5} {:>9} {:>16} {:>13} {:>9}  targets".format(*head)
    for entry in entries:
        numbers = [_number(entry[key]) for key in ("bare", "ours", "peer", "ratio")]
        judged = "; ".join(f"{one['target']}: {_verdict(one['met'])}" for one in entry["targets"])
        yield "{:<31} {:<5} {:>9} {:>16} {:>13} {:>9}  {}".format(
            entry["title"], entry["unit"], *numbers, judged
        ).rstrip()


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _verdict(met: bool | None) -> str:
    return {True: "met", False: "MISSED", None: "not measured"}[met]
