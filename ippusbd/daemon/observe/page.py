"""The status page: printers, their state, what they need, and recent errors.

Rendered for every request from the same status that `ippusbd status` prints, so that both agree.
Everything that came from a device is escaped here, at the last moment.

Knows the status and HTML; no printers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from time import localtime, strftime
from typing import Final

from ippusbd.daemon.observe.page_style import CSS
from ippusbd.daemon.observe.page_style import POLICY as POLICY
from ippusbd.daemon.observe.status import (
    ConditionStatus,
    InterfaceCounts,
    PrinterStatus,
    RecentError,
    Status,
)
from ippusbd.daemon.observe.waiting import explained, told
from ippusbd.daemon.printer.states import State
from ippusbd.kinds import Diagnosis, Kind, Severity
from ippusbd.model import Supply
from ippusbd.wire.state_reasons import Advice

# state -> words, class
_STATES: Final = {
    State.READY: ("ready", "good"),
    State.PARTIAL: ("partly ready", "soon"),
    State.PROBING: ("being queried", "soon"),
    State.OPENING: ("being opened", "soon"),
    State.WAITING: ("will be retried", "bad"),
    State.REFUSED: ("not used", "bad"),
    State.IGNORED: ("ignored", "soon"),
    State.AWAY: ("not plugged in", "soon"),
}
_SEVERITIES: Final = {
    Severity.ERROR: ("bad", "Action needed"),
    Severity.WARNING: ("soon", "Action needed soon"),
}
OLD_S: Final = 90
REFRESH_S: Final = 30


def document(status: Status) -> Iterator[str]:
    """Its lines."""
    printers = status.printers
    yield "<!DOCTYPE html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{_title(printers)}</title><style>{CSS}</style></head><body>"
    yield '<a class="skip" href="#printers">Skip to the printers</a>'
    yield "<header><h1>USB printers and scanners</h1>"
    now = f"as of {strftime('%H:%M:%S')}, refreshed every {REFRESH_S} s"
    yield f'<p class="faint">{now} · <a href="/">reload</a></p></header>'
    yield '<main id="printers">'
    if not printers:
        yield '<section class="card"><h2>No printer</h2>'
        yield "<p>No IPP-over-USB printer is plugged in. Switch the printer on and check its cable;"
        yield "<code>ippusbd doctor</code> says more.</p></section>"
    else:
        yield '<div class="printers">'
        for number, row in enumerate(printers):
            yield from _printer(number, row)
        yield "</div>"
    yield from _recent(status.recent)
    yield "</main>"
    yield from _footer(status)
    yield "</body></html>"


def _title(printers: Sequence[PrinterStatus]) -> str:
    needing = sum(any(a.severity is Severity.ERROR for a in _advices(row)) for row in printers)
    if needing:
        return f"{needing} of {len(printers)} printers need attention - ippusbd"
    return f"{len(printers)} printer{'s' * (len(printers) != 1)} - ippusbd"


def _advices(row: PrinterStatus) -> Sequence[Advice]:
    return row.condition.asks if row.condition is not None else ()


# --- a printer


def _printer(number: int, row: PrinterStatus) -> Iterator[str]:
    words, colour = _STATES[row.state]
    yield f'<section class="card" aria-labelledby="printer-{number}"><div class="top">'
    yield f'<h2 id="printer-{number}">{escape(row.label)}</h2>'
    yield f'<span class="state {colour}">{words}</span></div>'
    yield from _reason(row)
    yield from _missing(row)
    yield from _stalls(row)
    for advice in _advices(row):
        yield _advice(advice)
    yield from _facts(row)
    if row.condition is not None:
        yield from _supplies(row.condition.supplies)
    yield "</section>"


def _reason(row: PrinterStatus) -> Iterator[str]:
    if row.reason is not None and row.reason.kind != Kind.UNPLUGGED.label:
        yield _trouble(row.reason)
    yield from map(_trouble, row.troubles)


def _trouble(reason: Diagnosis, before: str = "") -> str:
    colour = "bad" if reason.severity is Severity.ERROR else "soon"
    text = escape(before + reason.text)
    return f'<p class="advice {colour}">{text}{_remedy(reason.remedy)}</p>'


def _missing(row: PrinterStatus) -> Iterator[str]:
    """Functions that it claims and does not show."""
    for each in row.missing:
        yield _trouble(each.reason, f"It does not {each.function}: ")


def _stalls(row: PrinterStatus) -> Iterator[str]:
    """What exchanges do and wait for, and which were ended on which proof."""
    if waiting := explained(row):
        yield f'<p class="advice soon">{escape(waiting)}</p>'
        yield f'<p class="faint">{escape(f"not ended, because: {row.waits_for}")}</p>'
    if row.exchanges:
        yield '<h3>In progress</h3><ul class="log">'
        yield from (f"<li>{escape(told(each))}</li>" for each in row.exchanges)
        yield "</ul>"
    for each in row.ended:
        text = f"ended on interface {each.interface}: {each.proof}"
        yield f'<p class="faint">{escape(text)}</p>'


def _advice(advice: Advice) -> str:
    colour, title = _SEVERITIES.get(advice.severity, ("", ""))
    text = escape(advice.text)
    if not title:
        return f'<p class="faint">{text}</p>'
    then = _remedy(advice.remedy)
    return f'<p class="advice {colour}"><strong>{title}: {text}</strong>{then}</p>'


def _remedy(remedy: str) -> str:
    return f"<br>{escape(remedy)}" if remedy else ""


def _facts(row: PrinterStatus) -> Iterator[str]:
    rows = [(title, value) for title, value in _details(row) if value]
    if rows:
        yield "<dl>"
        yield from (f"<dt>{title}</dt><dd>{value}</dd>" for title, value in rows)
        yield "</dl>"


def _details(row: PrinterStatus) -> Iterator[tuple[str, str]]:
    """Titles, and values that are already HTML."""
    condition = row.condition or ConditionStatus()
    yield "Printer", "" if row.state is State.AWAY else escape(_doing(condition))
    url = escape(row.url, quote=True)
    if url and (row.is_served or row.state is State.PROBING):
        yield "Web console", f'<a href="{url}">{url}</a>'
    elif url:
        yield "Web console", f"{url} (when it is plugged in)"
    yield "USB", escape(_interfaces(row.interfaces))
    yield "Requests", f"{row.requests} since the start" if row.port else ""
    yield "Serial number", escape(row.serial)
    yield "Jobs", f"{condition.jobs} at the printer" if condition.jobs else ""
    yield "Pages", "" if condition.pages is None else f"{condition.pages} since manufacture"
    yield "Announced", "" if row.announced in ("no", "established") else escape(row.announced)


def _doing(condition: ConditionStatus) -> str:
    text = ", ".join(filter(None, (condition.state, condition.message)))
    age_s = condition.age_s
    return f"{text} ({age_s / 60:.0f} min ago)" if text and age_s >= OLD_S else text


def _interfaces(counts: InterfaceCounts) -> str:
    total, waiting = counts.total, counts.waiting
    if not total:
        return ""
    if counts.released == total:
        return "released until the next request"
    told = [(counts.in_use, "in use"), (counts.broken, "broken")]
    parts = [f"{count} {words}" for count, words in told if count]
    if waiting:
        parts.append(f"{waiting} request{'s' * (waiting != 1)} waiting")
    return ", ".join([f"{total} interface{'s' * (total != 1)}", *parts])


def _supplies(supplies: Sequence[Supply]) -> Iterator[str]:
    if supplies:
        yield '<h3>Supplies</h3><ul class="supplies">'
        yield from map(_supply, supplies)
        yield "</ul>"


def _supply(supply: Supply) -> str:
    name = escape(supply.name)
    if supply.level is None:
        return f'<li><span>{name}</span><span class="level">not known</span></li>'
    width = max(0, min(supply.level, 100))
    bar = (
        f'<span class="bar{" low" * supply.low}" aria-hidden="true"><svg viewBox="0 0 100 1"'
        f' preserveAspectRatio="none"><rect width="{width}" height="1"/></svg></span>'
    )
    words = f"{width} %{' full' if supply.fills else ', low' * supply.low}"
    return f'<li><span>{name}</span>{bar}<span class="level">{words}</span></li>'


# --- the rest


def _recent(recent: Sequence[RecentError]) -> Iterator[str]:
    yield '<section class="card" aria-labelledby="recent">'
    yield '<h2 id="recent">Recent errors</h2>'
    if not recent:
        yield '<p class="faint">None since the daemon was started.</p></section>'
        return
    yield '<ul class="log">'
    for each in recent[:10]:
        when = strftime("%Y-%m-%d %H:%M:%S", localtime(each.at))
        who = f"{escape(each.printer)}: " if each.printer else ""
        often = f" ({each.times} times)" if each.times > 1 else ""
        then = _remedy(each.reason.remedy) if each.reason is not None else ""
        yield (
            f'<li><time class="faint" datetime="{when.replace(" ", "T")}">{when}</time> '
            f"{who}{escape(each.text)}{often}{then}</li>"
        )
    yield "</ul></section>"


def _footer(status: Status) -> Iterator[str]:
    publisher = status.publisher
    yield f"<footer><p>ippusbd {escape(status.version)}, announced by"
    yield f"{escape(publisher.kind or '?')}: {escape(publisher.state)}."
    yield "<code>ippusbd doctor</code> finds problems and says what to do.</p></footer>"
