"""What exchanges do and what they wait for, in words: for the command and for the page.

Knows the status only.
"""

from __future__ import annotations

import time
from time import localtime, strftime
from typing import TYPE_CHECKING

from ippusbd.kinds import Severity

if TYPE_CHECKING:
    from ippusbd.daemon.observe.status import ExchangeStatus, PrinterStatus

_WORDS = {
    "document": "a print",
    "scan": "a scan",
    "question": "a question",
    "page": "a web page",
    "long poll": "a question that waits for events",
}


def explained(printer: PrinterStatus) -> str:
    """What is waited for, since when, and what waits; empty: nothing stalls."""
    if not printer.waits_for:
        return ""
    cause, since_s, condition = f"{printer.waits_for},", printer.waits_s, printer.condition
    if condition is not None:
        asks = [each.text for each in condition.asks if each.severity is Severity.ERROR]
        if asks:
            cause, since_s = ", ".join(asks), condition.since_s
    since = strftime("%H:%M", localtime(time.time() - since_s))
    waiting = [what(each) for each in printer.exchanges if _is_stopped(each)]
    wait = "waits" if len(waiting) == 1 else "wait"
    return f"{cause} since {since}" + (f": {_and(waiting)} {wait}" if waiting else "")


def _is_stopped(each: ExchangeStatus) -> bool:
    """It is work, and it waits for the printer or for an interface."""
    is_work = each.kind not in ("question", "page", "long poll")
    return is_work and not each.waits_for.client


def told(each: ExchangeStatus) -> str:
    """An exchange or a queued request in one line."""
    for_whom = f"{what(each)} for {each.client}" + (", which has left" if each.is_left else "")
    if each.interface is None:
        return f"{for_whom}, for {duration(each.for_s)}"
    moved = f"{size(each.bytes_out)} sent, {size(each.bytes_in)} read"
    rate = size((each.bytes_out + each.bytes_in) / max(each.for_s, 0.1))
    still = f" for {duration(each.still_s)}" if each.still_s >= 1 else ""
    return (
        f"{for_whom}: {moved} in {duration(each.for_s)} ({rate}/s); waits for"
        f" {each.waits_for.value}{still}"
    )


def what(each: ExchangeStatus) -> str:
    """`a print of 3.1 MB`."""
    words = _WORDS.get(each.kind, "a request")
    if each.kind == "document" and "fax" in each.request:
        words = "a fax"
    known = each.size or each.bytes_out
    return f"{words} of {size(known)}" if known and each.kind == "document" else words


def _and(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def duration(seconds: float) -> str:
    """`2 h 5 min`: the two largest units."""
    left = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def size(count: float) -> str:
    """`1.2 MB`, in decimal units."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
