"""The status as Prometheus reads it (text exposition format 0.0.4).

One line for each number of `ippusbd status --json` that a graph or an alarm can use. Names
and labels are stable: dashboards depend on them. A number that the printer does not report
is left out; it is not zero.

Knows the status as `ippusbd status --json` prints it; no printers.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ippusbd.daemon.printer.states import State

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, object]

# name -> type, help
_KNOWN: Final[dict[str, tuple[str, str]]] = {
    "ippusbd_info": ("gauge", "The running version."),
    "ippusbd_uptime_seconds": ("gauge", "Time since the daemon was started."),
    "ippusbd_announcing": ("gauge", "1 while printers can be announced by DNS-SD."),
    "ippusbd_printer_up": ("gauge", "1 while the printer answers requests."),
    "ippusbd_printer_state": ("gauge", "1 for the state in which the daemon has the printer."),
    "ippusbd_printer_missing_function": (
        "gauge",
        "1 for each function that the printer claims to have and does not answer for.",
    ),
    "ippusbd_printer_requests_total": ("counter", "HTTP requests sent to the printer."),
    "ippusbd_printer_sent_bytes_total": ("counter", "Bytes sent to the printer."),
    "ippusbd_printer_received_bytes_total": ("counter", "Bytes read from the printer."),
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
_UP: Final = ("ready", "partial")
_USES: Final = ("in_use", "broken", "released")


@dataclass(slots=True)
class _Samples:
    """By name, in the order of `_KNOWN`."""

    lines: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, value: object, labels: Labels | None = None) -> None:
        if isinstance(value, int | float):
            number = int(value) if isinstance(value, bool) else value
            text = ",".join(f'{key}="{_escaped(value)}"' for key, value in (labels or {}).items())
            self.lines.setdefault(name, []).append(
                f"{name}{{{text}}} {number}" if text else f"{name} {number}"
            )

    def text(self) -> Iterator[str]:
        for name, (kind, meaning) in _KNOWN.items():
            if name in self.lines:
                yield f"# HELP {name} {meaning}"
                yield f"# TYPE {name} {kind}"
                yield from self.lines[name]


def exposition(status: Mapping[str, Any], process: Mapping[str, float] | None = None) -> str:
    """The text for `status`, and for `process`, the daemon's own figures."""
    samples = _Samples()
    samples.add("ippusbd_info", 1, {"version": status.get("version", "")})
    samples.add("ippusbd_uptime_seconds", status.get("uptime_s"))
    publisher = status.get("publisher") or {}
    by = {"publisher": publisher.get("kind", "")}
    samples.add("ippusbd_announcing", publisher.get("state") == "ok", by)
    for row in status.get("printers") or ():
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


def _printer(samples: _Samples, row: Mapping[str, Any]) -> None:
    about = {
        "printer": row.get("name") or row.get("model") or "",
        "id": row.get("id", ""),
        "serial": row.get("serial", ""),
        "port": row.get("port", 0),
    }
    state = row.get("state")
    samples.add("ippusbd_printer_up", state in _UP, about)
    for each in State:
        samples.add("ippusbd_printer_state", state == each.value, about | {"state": each.value})
    for each in row.get("missing") or ():
        which = {**about, "function": each.get("function", "")}
        samples.add("ippusbd_printer_missing_function", 1, which)
    samples.add("ippusbd_printer_requests_total", row.get("requests"), about)
    samples.add("ippusbd_printer_sent_bytes_total", row.get("bytes_out"), about)
    samples.add("ippusbd_printer_received_bytes_total", row.get("bytes_in"), about)
    _interfaces(samples, about, row.get("interfaces") or {})
    _condition(samples, about, row.get("condition") or {})


def _interfaces(samples: _Samples, about: Labels, counts: Mapping[str, Any]) -> None:
    if counts:
        free = counts.get("total", 0) - sum(counts.get(use, 0) for use in _USES)
        uses = {use: counts.get(use, 0) for use in _USES} | {"free": free}
        for use, count in uses.items():
            samples.add("ippusbd_printer_interfaces", count, {**about, "use": use})
    samples.add("ippusbd_printer_waiting_requests", counts.get("waiting"), about)


def _condition(samples: _Samples, about: Labels, condition: Mapping[str, Any]) -> None:
    for advice in condition.get("asks") or ():
        which = {"reason": advice.get("reason", ""), "severity": advice.get("severity", "")}
        samples.add("ippusbd_printer_reason", 1, {**about, **which})
    samples.add("ippusbd_printer_pages_total", condition.get("pages"), about)
    samples.add("ippusbd_printer_sheets_total", condition.get("sheets"), about)
    samples.add("ippusbd_printer_condition_age_seconds", condition.get("age_s"), about)
    for name, supply in _distinct(condition.get("supplies") or ()):
        which = {**about, "supply": name, "kind": supply.get("kind", "")}
        level = supply.get("level")
        if level is not None:
            samples.add("ippusbd_supply_level_ratio", level / 100, which)
            samples.add("ippusbd_supply_low", bool(supply.get("low")), which)


def _distinct(supplies: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """No two samples may have the same labels: a second "Black" becomes "Black 2"."""
    seen: dict[str, int] = {}
    for supply in supplies:
        name = str(supply.get("name", ""))
        seen[name] = seen.get(name, 0) + 1
        yield (name if seen[name] == 1 else f"{name} {seen[name]}"), supply


def _escaped(text: object) -> str:
    return str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
