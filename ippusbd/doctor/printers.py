"""Findings from the daemon's status of its printers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ippusbd.daemon.observe.status import PrinterStatus, Status
from ippusbd.daemon.printer.states import State
from ippusbd.doctor.findings import Finding, ok, told
from ippusbd.kinds import Kind, Severity


def check(status: Status) -> Iterator[Finding]:
    """One or more findings for each printer in `ippusbd status`."""
    if not status.printers:
        yield told(Kind.NO_PRINTER.of(), check="printers")
    off = status.publisher.kind == "off"  # as configured: no problem
    for row in status.printers:
        yield from _state(replace(row, announced="") if off else row)
        yield from _interfaces(row)
        yield from _requests(row)


def _state(row: PrinterStatus) -> Iterator[Finding]:
    about = row.label
    if row.state is State.READY:
        virtual = "a virtual printer, " if row.virtual else ""
        yield ok("printer", f"{virtual}served at {row.url}", about)
    elif row.reason is not None:
        found = told(row.reason, about)
        yield replace(found, text=f"{row.state.value}: {found.text}")
    if row.is_served and row.announced not in ("", "established"):
        yield told(Kind.ANNOUNCING.of(f"not announced: {row.announced}"), about)
    for each in row.missing:
        text = f"{each.claimed_by} says that it can {each.function}, but {each.reason}"
        lacks = replace(each.reason, text=text, passes=False, severity=Severity.WARNING)
        yield told(lacks, about, check="missing")
    for trouble in row.troubles:  # the rest is served
        yield told(replace(trouble, severity=Severity.REPORT), about)


def _interfaces(row: PrinterStatus) -> Iterator[Finding]:
    counts = row.interfaces
    if row.is_served and counts.total and counts.released == counts.total:
        yield told(Kind.RELEASED.of(), row.label)
    if counts.broken:
        diagnosis = Kind.BROKEN.of(broken=counts.broken, total=counts.total)
        yield told(diagnosis, row.label, check="interfaces")


def _requests(row: PrinterStatus) -> Iterator[Finding]:
    """What the printer requests from its user."""
    if not row.is_served or row.condition is None:
        return
    for advice in row.condition.asks:
        kind = Kind.ATTENTION if advice.severity is Severity.ERROR else Kind.SAYS
        remedy = advice.remedy or "see its display"
        yield told(kind.of(says=advice.text, remedy=remedy), row.label, check="attention")
    low = [supply.name for supply in row.condition.supplies if supply.low]
    if low:
        yield told(Kind.LOW.of(supplies=", ".join(low)), row.label, check="supplies")
