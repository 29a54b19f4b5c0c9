"""The status as Prometheus reads it (text exposition format 0.0.4).

One line for each number of `ippusbd status --json` that a graph or an alarm can use. Names
and labels are a promise: dashboards are built on them. Numbers that a printer did not tell
are not there, rather than zero.

Knows the status as it is given out; never printers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ippusbd.daemon.printer.states import State

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, object]

# name -> kind, what it is
_KNOWN: Final[dict[str, tuple[str, str]]] = {
    "ippusbd_info": ("gauge", "The running version."),
    "ippusbd_uptime_seconds": ("gauge", "Since the daemon was started."),
    "ippusbd_announcing": ("gauge", "1 while printers can be announced by DNS-SD."),
    "ippusbd_printer_up": ("gauge", "1 while the printer answers requests."),
    "ippusbd_printer_state": ("gauge", "1 for the state the printer is in, for the daemon."),
    "ippusbd_printer_requests_total": ("counter", "HTTP requests sent to the printer."),
    "ippusbd_printer_sent_bytes_total": ("counter", "Bytes sent to the printer."),
    "ippusbd_printer_received_bytes_total": ("counter", "Bytes read from the printer."),
    "ippusbd_printer_interfaces": ("gauge", "USB interfaces, by what they do."),
    "ippusbd_printer_waiting_requests": ("gauge", "Requests that wait for an interface."),
    "ippusbd_printer_reason": ("gauge", "1 for each of the printer's printer-state-reasons."),
    "ippusbd_printer_pages_total": ("counter", "Pages printed in the printer's life."),
    "ippusbd_printer_sheets_total": ("counter", "Sheets printed in the printer's life."),
    "ippusbd_printer_condition_age_seconds": ("gauge", "Since the printer was asked last."),
    "ippusbd_supply_level_ratio": ("gauge", "Level of a supply, 0 to 1."),
    "ippusbd_supply_low": ("gauge", "1 while a supply needs somebody soon."),
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
        if isinstance(value, bool):
            value = int(value)
        if isinstance(value, int | float):
            told = ",".join(f'{key}="{_escaped(text)}"' for key, text in (labels or {}).items())
            self.lines.setdefault(name, []).append(
                f"{name}{{{told}}} {value}" if told else f"{name} {value}"
            )

    def text(self) -> Iterator[str]:
        for name, (kind, meaning) in _KNOWN.items():
            if name in self.lines:
                yield f"# HELP {name} {meaning}"
                yield f"# TYPE {name} {kind}"
                yield from self.lines[name]


def exposition(status: Mapping[str, Any], process: Mapping[str, float] | None = None) -> str:
    """The text for `status`, and for what `process` says of the daemon's own process."""
    samples = _Samples()
    samples.add("ippusbd_info", 1, {"version": status.get("version", "")})
    samples.add("ippusbd_uptime_seconds", status.get("uptime_s"))
    publisher = status.get("publisher") or {}
    by = {"by": publisher.get("kind", "")}
    samples.add("ippusbd_announcing", publisher.get("state") == "ok", by)
    for row in status.get("printers") or ():
        _printer(samples, row)
    for name, value in (process or {}).items():
        samples.add(name, value)
    return "\n".join([*samples.text(), ""])


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
        told = {"reason": advice.get("reason", ""), "severity": advice.get("severity", "")}
        samples.add("ippusbd_printer_reason", 1, {**about, **told})
    samples.add("ippusbd_printer_pages_total", condition.get("pages"), about)
    samples.add("ippusbd_printer_sheets_total", condition.get("sheets"), about)
    samples.add("ippusbd_printer_condition_age_seconds", condition.get("age_s"), about)
    for name, supply in _told_apart(condition.get("supplies") or ()):
        which = {**about, "supply": name, "kind": supply.get("kind", "")}
        level = supply.get("level")
        if level is not None:
            samples.add("ippusbd_supply_level_ratio", level / 100, which)
            samples.add("ippusbd_supply_low", bool(supply.get("low")), which)


def _told_apart(supplies: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Two samples may not have the same labels: a second "Black" becomes "Black 2"."""
    seen: dict[str, int] = {}
    for supply in supplies:
        name = str(supply.get("name", ""))
        seen[name] = seen.get(name, 0) + 1
        yield (name if seen[name] == 1 else f"{name} {seen[name]}"), supply


def _escaped(text: object) -> str:
    return str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
