"""Findings from the daemon's status of its printers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ippusbd.daemon.observe.diagnosis import diagnose
from ippusbd.doctor.findings import Finding, note, ok, problem

SERVED = ("ready", "partial")


def check(status: Mapping[str, Any]) -> Iterator[Finding]:
    """One or more findings for each printer in `ippusbd status`."""
    rows = status.get("printers") or []
    if not rows:
        yield note("printers", "the daemon has no printer", "see the USB lines above")
    off = (status.get("publisher") or {}).get("kind") == "off"  # as configured: no problem
    for row in rows:
        yield from _state({**row, "announced": ""} if off else row)
        yield from _interfaces(row)
        yield from _requests(row)


def _about(row: Mapping[str, Any]) -> str:
    return str(row.get("name") or row.get("model") or row.get("id") or "printer")


def _state(row: Mapping[str, Any]) -> Iterator[Finding]:
    state, reason, about = row.get("state"), str(row.get("reason") or ""), _about(row)
    if state == "ready":
        yield ok("printer", f"served at {row.get('url')}", about)
    elif state == "away":
        yield note("printer", "not connected", "plug it in and switch it on", about)
    else:
        yield _unserved(str(state), reason or str(row.get("trouble") or ""), about)
    announced = str(row.get("announced") or "")
    if state in SERVED and announced not in ("", "established"):
        yield problem("announced", f"not announced: {announced}", "see the Avahi lines", about)
    for each in row.get("missing") or ():
        text = f"{each.get('claimed_by')} says that it can {each.get('function')}, but"
        yield problem("missing", f"{text} {each.get('answer')}", str(each.get("remedy")), about)
    trouble = str(row.get("trouble") or "")
    if state in SERVED and trouble:
        yield note("busy", trouble, diagnose(trouble).remedy, about)


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


def _interfaces(row: Mapping[str, Any]) -> Iterator[Finding]:
    counts = row.get("interfaces") or {}
    total, released = counts.get("total", 0), counts.get("released", 0)
    if row.get("state") in SERVED and total and released == total:
        yield note(
            "released",
            "idle: its interfaces are released; the next request claims them again",
            about=_about(row),
        )
    broken = counts.get("broken", 0)
    if broken:
        yield problem(
            "interfaces",
            f"{broken} of {total} interfaces do not work and are being recovered",
            "if this persists, switch the printer off and on, or run: ippusbd retry",
            _about(row),
        )


def _requests(row: Mapping[str, Any]) -> Iterator[Finding]:
    """What the printer requests from its user."""
    if row.get("state") not in SERVED:
        return
    condition = row.get("condition") or {}
    for advice in condition.get("asks") or ():
        text, remedy = str(advice.get("text")), str(advice.get("remedy") or "see its display")
        if advice.get("severity") == "error":
            yield problem("attention", text, remedy, _about(row))
        else:
            yield note("attention", text, str(advice.get("remedy") or ""), _about(row))
    low = [s["name"] for s in condition.get("supplies") or () if s.get("low")]
    if low:
        yield note("supplies", f"low: {', '.join(low)}", "keep replacements ready", _about(row))
