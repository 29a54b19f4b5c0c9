"""The status as Prometheus reads it (text exposition format 0.0.4).

One line for each number of `ippusbd status --json` that a graph or an alarm can use. Names
and labels are stable: dashboards depend on them. A number that the printer does not report
is left out; it is not zero. No two samples have the same name and labels: a reader would refuse
them all, or drop one. Devices without a port are distinguished by their address.

Knows the status; no printers.
"""

from __future__ import annotations

import itertools
import os
import resource
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ippusbd.daemon.observe.status import ConditionStatus, InterfaceCounts, PrinterStatus, Status
from ippusbd.daemon.printer.states import State
from ippusbd.model import Supply

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, object]

# name -> type, help
_KNOWN: Final[dict[str, tuple[str, str]]] = {
    "ippusbd_info": ("gauge", "The running version."),
    "ippusbd_uptime_seconds": ("gauge", "Time since the daemon was started."),
    "ippusbd_announcing": ("gauge", "1 while printers can be announced by DNS-SD."),
    "ippusbd_printer_up": ("gauge", "1 while the printer answers requests."),
    "ippusbd_printer_state": ("gauge", "1 for the state in which the daemon has the printer."),
    "ippusbd_printer_trouble": (
        "gauge",
        "1 for each kind of trouble, and for the reason of the printer's state.",
    ),
    "ippusbd_printer_missing_function": (
        "gauge",
        "1 for each function that the printer claims to have and does not answer for.",
    ),
    "ippusbd_printer_requests_total": ("counter", "HTTP requests sent to the printer."),
    "ippusbd_printer_sent_bytes_total": ("counter", "Bytes sent to the printer."),
    "ippusbd_printer_received_bytes_total": ("counter", "Bytes read from the printer."),
    "ippusbd_printer_transfers_submitted_total": ("counter", "USB bulk transfers begun."),
    "ippusbd_printer_transfers_completed_total": (
        "counter",
        "USB bulk transfers that ended by themselves.",
    ),
    "ippusbd_printer_transfers_cancelled_total": (
        "counter",
        "USB bulk transfers that the daemon ended.",
    ),
    "ippusbd_printer_interfaces": ("gauge", "USB interfaces, by use."),
    "ippusbd_printer_waiting_requests": ("gauge", "Requests that wait for an interface."),
    "ippusbd_printer_reason": ("gauge", "1 for each of the printer's printer-state-reasons."),
    "ippusbd_printer_pages_total": ("counter", "Pages printed since manufacture."),
    "ippusbd_printer_sheets_total": ("counter", "Sheets printed since manufacture."),
    "ippusbd_printer_condition_age_seconds": (
        "gauge",
        "Time since the printer last reported its status.",
    ),
    "ippusbd_supply_level_ratio": ("gauge", "Level of a supply, 0 to 1."),
    "ippusbd_supply_low": ("gauge", "1 while a supply is low, or a waste container nearly full."),
    "process_resident_memory_bytes": ("gauge", "Memory of the daemon."),
    "process_cpu_seconds_total": ("counter", "Processor time of the daemon."),
    "process_open_fds": ("gauge", "Open file descriptors of the daemon."),
}


@dataclass(slots=True)
class _Samples:
    """By name, in the order of `_KNOWN`; of each name with its labels there is one, the first."""

    found: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, name: str, value: float | None, labels: Labels | None = None) -> None:
        if value is not None:
            number = int(value) if isinstance(value, bool) else value
            text = ",".join(f'{key}="{_escaped(value)}"' for key, value in (labels or {}).items())
            sample = f"{name}{{{text}}}" if text else name
            self.found.setdefault(name, {}).setdefault(sample, number)

    def text(self) -> Iterator[str]:
        for name, (kind, meaning) in _KNOWN.items():
            if name in self.found:
                yield f"# HELP {name} {meaning}"
                yield f"# TYPE {name} {kind}"
                yield from (f"{sample} {number}" for sample, number in self.found[name].items())


def exposition(status: Status, process: Mapping[str, float] | None = None) -> str:
    """The text for `status`, and for `process`, the daemon's own figures."""
    samples, publisher = _Samples(), status.publisher
    samples.add("ippusbd_info", 1, {"version": status.version})
    samples.add("ippusbd_uptime_seconds", status.uptime_s)
    samples.add("ippusbd_announcing", publisher.state == "ok", {"publisher": publisher.kind})
    for row in status.printers:
        _printer(samples, row)
    for name, value in (process or {}).items():
        samples.add(name, value)
    return "\n".join([*samples.text(), ""])


def process() -> dict[str, float]:
    """Memory, processor time and open files of this process, under Prometheus' own names."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {"process_cpu_seconds_total": round(used.ru_utime + used.ru_stime, 3)}
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        found["process_resident_memory_bytes"] = pages * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError):
        found["process_open_fds"] = len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208 -- names only
    return found


def _printer(samples: _Samples, row: PrinterStatus) -> None:
    about = {
        "printer": row.name or row.model,
        "id": row.id,
        "serial": row.serial,
        "port": row.port,
    }
    if not row.port:  # it may have no name and no serial number either
        about["address"] = row.address
    samples.add("ippusbd_printer_up", row.is_served, about)
    for each in State:
        samples.add("ippusbd_printer_state", row.state is each, about | {"state": each.value})
    found = [row.reason, *row.troubles, *(missing.reason for missing in row.missing)]
    for kind, severity in sorted({(one.kind, one.severity.value) for one in found if one}):
        samples.add("ippusbd_printer_trouble", 1, {**about, "kind": kind, "severity": severity})
    for missing in row.missing:
        which = {**about, "function": missing.function}
        samples.add("ippusbd_printer_missing_function", 1, which)
    if row.port:
        samples.add("ippusbd_printer_requests_total", row.requests, about)
        samples.add("ippusbd_printer_sent_bytes_total", row.bytes_out, about)
        samples.add("ippusbd_printer_received_bytes_total", row.bytes_in, about)
        samples.add("ippusbd_printer_transfers_submitted_total", row.transfers.submitted, about)
        samples.add("ippusbd_printer_transfers_completed_total", row.transfers.completed, about)
        samples.add("ippusbd_printer_transfers_cancelled_total", row.transfers.cancelled, about)
        _interfaces(samples, about, row.interfaces)
    if row.condition is not None:
        _condition(samples, about, row.condition)


def _interfaces(samples: _Samples, about: Labels, counts: InterfaceCounts) -> None:
    uses = {"in_use": counts.in_use, "broken": counts.broken, "released": counts.released}
    for use, count in {**uses, "free": counts.total - sum(uses.values())}.items():
        samples.add("ippusbd_printer_interfaces", count, {**about, "use": use})
    samples.add("ippusbd_printer_waiting_requests", counts.waiting, about)


def _condition(samples: _Samples, about: Labels, condition: ConditionStatus) -> None:
    for advice in condition.asks:
        why = {"reason": advice.reason, "severity": advice.severity.value}
        samples.add("ippusbd_printer_reason", 1, {**about, **why})
    samples.add("ippusbd_printer_pages_total", condition.pages, about)
    samples.add("ippusbd_printer_sheets_total", condition.sheets, about)
    samples.add("ippusbd_printer_condition_age_seconds", condition.age_s, about)
    for name, supply in _distinct(condition.supplies):
        if supply.level is not None:
            which = {**about, "supply": name, "kind": supply.kind}
            samples.add("ippusbd_supply_level_ratio", supply.level / 100, which)
            samples.add("ippusbd_supply_low", supply.low, which)


def _distinct(supplies: Iterable[Supply]) -> Iterator[tuple[str, Supply]]:
    """No two samples may have the same labels: a second "Black" becomes "Black 2"."""
    taken: set[str] = set()
    for supply in supplies:
        plain = supply.name
        names = itertools.chain((plain,), (f"{plain} {n}" for n in itertools.count(2)))
        name = next(each for each in names if each not in taken)
        taken.add(name)
        yield name, supply


def _escaped(text: object) -> str:
    return str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
