"""Findings from the daemon's status of its printers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ippusbd.daemon.observe.diagnosis import diagnose
from ippusbd.daemon.observe.status import PrinterStatus, Status
from ippusbd.daemon.printer.states import State
from ippusbd.doctor.findings import Finding, note, ok, problem
from ippusbd.wire.state_reasons import Severity


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
    elif row.state is State.AWAY:
        yield note("printer", "not connected", "plug it in and switch it on", about)
    else:
        yield _unserved(row.state.value, row.reason or row.trouble, about)
    if row.is_served and row.announced not in ("", "established"):
        yield problem("announced", f"not announced: {row.announced}", "see the Avahi lines", about)
    for each in row.missing:
        text = f"{each.claimed_by} says that it can {each.function}, but {each.answer}"
        yield problem("missing", text, each.remedy, about)
    if row.is_served and row.trouble:
        yield note("busy", row.trouble, diagnose(row.trouble).remedy, about)


def _unserved(state: str, reason: str, about: str) -> Finding:
    """Not served, or only partly: a note if this passes by itself."""
    if not reason:
        return note(
            "printer", f"{state}: its capabilities are being queried", "wait some seconds", about
        )
    found = diagnose(reason)
    text = f"{state}: {reason}"
    if found.kind == "warming-up":
        text = f"warming up: {reason}"
    if found.passes:
        return note(found.kind, text, found.remedy, about)
    return problem(found.kind, text, found.remedy or "see the log: journalctl -u ippusbd", about)


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
