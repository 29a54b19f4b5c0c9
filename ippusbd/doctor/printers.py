"""Findings from the daemon's status of its printers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ippusbd.daemon.observe.status import PrinterStatus, Status
from ippusbd.daemon.printer.states import State
from ippusbd.doctor.findings import Finding, note, ok, problem, told
from ippusbd.kinds import Kind, Severity


def check(status: Status) -> Iterator[Finding]:
    """One or more findings for each printer in `ippusbd status`."""
    if not status.printers:
        yield note("printers", "the daemon has no printer", "see the USB lines above")
    off = status.publisher.kind == "off"  # as configured: no problem
    for row in status.printers:
        yield from _state(replace(row, announced="") if off else row)
        yield from _interfaces(row)
        yield from _requests(row)


def _state(row: PrinterStatus) -> Iterator[Finding]:
    about = row.label
    if row.state is State.READY:
        yield ok("printer", f"served at {row.url}", about)
    elif row.reason is not None:
        found = told(row.reason, about)
        yield replace(found, text=f"{row.state.value}: {found.text}")
    if row.is_served and row.announced not in ("", "established"):
        yield told(Kind.ANNOUNCING.of(f"not announced: {row.announced}"), about)
    for each in row.missing:
        text = f"{each.claimed_by} says that it can {each.function}, but {each.reason}"
        yield problem("missing", text, each.reason.remedy, about)
    for trouble in row.troubles:  # the rest is served
        yield note(trouble.kind, trouble.text, trouble.remedy, about)


def _interfaces(row: PrinterStatus) -> Iterator[Finding]:
    counts = row.interfaces
    if row.is_served and counts.total and counts.released == counts.total:
        yield note(
            "released",
            "idle: its interfaces are released; the next request claims them again",
            about=row.label,
        )
    if counts.broken:
        yield problem(
            "interfaces",
            f"{counts.broken} of {counts.total} interfaces do not work and are being recovered",
            "if this persists, switch the printer off and on, or run: ippusbd retry",
            row.label,
        )


def _requests(row: PrinterStatus) -> Iterator[Finding]:
    """What the printer requests from its user."""
    if not row.is_served or row.condition is None:
        return
    for advice in row.condition.asks:
        if advice.severity is Severity.ERROR:
            remedy = advice.remedy or "see its display"
            yield problem("attention", advice.text, remedy, row.label)
        else:
            yield note("attention", advice.text, advice.remedy, row.label)
    low = [supply.name for supply in row.condition.supplies if supply.low]
    if low:
        yield note("supplies", f"low: {', '.join(low)}", "keep replacements ready", row.label)
