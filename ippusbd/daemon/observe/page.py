"""The status page: printers, their state, what they need, and recent errors.

Rendered for every request from the same status that `ippusbd status` prints, so that both agree.
Everything that came from a device is escaped here, at the last moment.

Knows the status as `ippusbd status --json` prints it, and HTML; no printers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from time import localtime, strftime
from typing import Any, Final

from ippusbd.daemon.observe.diagnosis import diagnose
from ippusbd.daemon.observe.page_style import CSS
from ippusbd.daemon.observe.page_style import POLICY as POLICY

# state -> words, class
_STATES: Final = {
    "ready": ("ready", "good"),
    "partial": ("partly ready", "soon"),
    "probing": ("being queried", "soon"),
    "opening": ("being opened", "soon"),
    "waiting": ("will be retried", "bad"),
    "refused": ("not used", "bad"),
    "ignored": ("ignored", "soon"),
    "away": ("not plugged in", "soon"),
}
_SEVERITIES: Final = {"error": ("bad", "Action needed"), "warning": ("soon", "Action needed soon")}
OLD_S: Final = 90


def document(status: Mapping[str, Any]) -> Iterator[str]:
    """Its lines."""
    printers = status.get("printers") or []
    yield "<!DOCTYPE html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{_title(printers)}</title><style>{CSS}</style></head><body>"
    yield '<a class="skip" href="#printers">Skip to the printers</a>'
    yield "<header><h1>USB printers and scanners</h1>"
    yield f'<p class="faint">as of {strftime("%H:%M:%S")} · <a href="/">reload</a></p></header>'
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
    yield from _recent(status.get("recent") or [])
    yield "</main>"
    yield from _footer(status)
    yield "</body></html>"


def _title(printers: list[Mapping[str, Any]]) -> str:
    needing = sum(any(w.get("severity") == "error" for w in _advices(row)) for row in printers)
    if needing:
        return f"{needing} of {len(printers)} printers need attention - ippusbd"
    return f"{len(printers)} printer{'s' * (len(printers) != 1)} - ippusbd"


def _advices(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return (row.get("condition") or {}).get("asks") or []


# --- a printer


def _printer(number: int, row: Mapping[str, Any]) -> Iterator[str]:
    name = escape(str(row.get("name") or row.get("model") or row.get("id") or "printer"))
    words, colour = _STATES.get(str(row.get("state")), (str(row.get("state")), "soon"))
    yield f'<section class="card" aria-labelledby="printer-{number}"><div class="top">'
    yield f'<h2 id="printer-{number}">{name}</h2>'
    yield f'<span class="state {colour}">{escape(words)}</span></div>'
    yield from _reason(row)
    yield from _missing(row)
    yield from _stalls(row)
    for advice in _advices(row):
        yield _advice(advice)
    yield from _facts(row)
    yield from _supplies((row.get("condition") or {}).get("supplies") or [])
    yield "</section>"


def _reason(row: Mapping[str, Any]) -> Iterator[str]:
    reason = str(row.get("reason") or "")
    if reason and row.get("state") != "away":
        found = diagnose(reason)
        colour = "soon" if found.passes or row.get("state") in ("opening", "probing") else "bad"
        yield f'<p class="advice {colour}">{escape(reason)}{_remedy(found.remedy)}</p>'


def _missing(row: Mapping[str, Any]) -> Iterator[str]:
    """Functions that it claims and does not show."""
    for each in row.get("missing") or ():
        text = f"It does not {each.get('function')}: {each.get('answer')}"
        yield f'<p class="advice soon">{escape(text)}{_remedy(each.get("remedy"))}</p>'


def _stalls(row: Mapping[str, Any]) -> Iterator[str]:
    """What exchanges wait for, and which were ended on which proof."""
    if row.get("waits_for"):
        minutes = float(row.get("waits_s") or 0) / 60
        text = f"waiting for {minutes:.0f} min: {row['waits_for']}"
        yield f'<p class="advice soon">{escape(text)}</p>'
    for each in row.get("ended") or ():
        text = f"ended on interface {each.get('interface')}: {each.get('proof')}"
        yield f'<p class="faint">{escape(text)}</p>'


def _advice(advice: Mapping[str, Any]) -> str:
    colour, title = _SEVERITIES.get(str(advice.get("severity")), ("", ""))
    text = escape(str(advice.get("text")))
    if not title:
        return f'<p class="faint">{text}</p>'
    then = _remedy(advice.get("remedy"))
    return f'<p class="advice {colour}"><strong>{title}: {text}</strong>{then}</p>'


def _remedy(remedy: object) -> str:
    return f"<br>{escape(str(remedy))}" if remedy else ""


def _facts(row: Mapping[str, Any]) -> Iterator[str]:
    rows = [(title, value) for title, value in _details(row) if value]
    if rows:
        yield "<dl>"
        yield from (f"<dt>{title}</dt><dd>{value}</dd>" for title, value in rows)
        yield "</dl>"


def _details(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Titles, and values that are already HTML."""
    condition, counts = row.get("condition") or {}, row.get("interfaces") or {}
    yield "Printer", "" if row.get("state") == "away" else escape(_doing(condition))
    if row.get("url") and row.get("state") in ("ready", "partial", "probing"):
        url = escape(str(row["url"]), quote=True)
        yield "Web console", f'<a href="{url}">{url}</a>'
    elif row.get("url"):
        yield "Web console", f"{escape(str(row['url']))} (when it is plugged in)"
    yield "USB", escape(_interfaces(counts))
    requests = row.get("requests")
    yield "Requests", "" if requests is None else f"{requests} since the start"
    pages = condition.get("pages")
    yield "Serial number", escape(str(row.get("serial") or ""))
    yield "Pages", "" if pages is None else f"{pages} since manufacture"
    announced = str(row.get("announced") or "")
    yield "Announced", "" if announced in ("", "no", "established") else escape(announced)


def _doing(condition: Mapping[str, Any]) -> str:
    text = ", ".join(filter(None, (condition.get("state"), condition.get("message"))))
    age_s = condition.get("age_s") or 0
    return f"{text} ({age_s / 60:.0f} min ago)" if text and age_s >= OLD_S else text


def _interfaces(counts: Mapping[str, Any]) -> str:
    total = counts.get("total", 0)
    if not total:
        return ""
    if counts.get("released") == total:
        return "released until the next request"
    told = [(counts.get("in_use"), "in use"), (counts.get("broken"), "broken")]
    parts = [f"{count} {words}" for count, words in told if count]
    waiting = counts.get("waiting")
    if waiting:
        parts.append(f"{waiting} request{'s' * (waiting != 1)} waiting")
    return ", ".join([f"{total} interface{'s' * (total != 1)}", *parts])


def _supplies(supplies: list[Mapping[str, Any]]) -> Iterator[str]:
    if supplies:
        yield '<h3>Supplies</h3><ul class="supplies">'
        yield from map(_supply, supplies)
        yield "</ul>"


def _supply(supply: Mapping[str, Any]) -> str:
    name, level = escape(str(supply.get("name"))), supply.get("level")
    low = bool(supply.get("low"))
    if level is None:
        return f'<li><span>{name}</span><span class="level">not known</span></li>'
    width = max(0, min(int(level), 100))
    bar = (
        f'<span class="bar{" low" * low}" aria-hidden="true"><svg viewBox="0 0 100 1"'
        f' preserveAspectRatio="none"><rect width="{width}" height="1"/></svg></span>'
    )
    words = f"{width} %{' full' if supply.get('fills') else ''}{', low' * _is_low(supply)}"
    return f'<li><span>{name}</span>{bar}<span class="level">{words}</span></li>'


def _is_low(supply: Mapping[str, Any]) -> bool:
    return bool(supply.get("low")) and not supply.get("fills")


# --- the rest


def _recent(troubles: list[Mapping[str, Any]]) -> Iterator[str]:
    yield '<section class="card" aria-labelledby="recent">'
    yield '<h2 id="recent">Recent errors</h2>'
    if not troubles:
        yield '<p class="faint">None since the daemon was started.</p></section>'
        return
    yield '<ul class="log">'
    for each in troubles[:10]:
        when = strftime("%Y-%m-%d %H:%M:%S", localtime(float(each.get("at", 0))))
        who = f"{escape(str(each['printer']))}: " if each.get("printer") else ""
        times = each.get("times", 1)
        often = f" ({times} times)" if times > 1 else ""
        yield (
            f'<li><time class="faint" datetime="{when.replace(" ", "T")}">{when}</time> '
            f"{who}{escape(str(each.get('text')))}{often}{_remedy(each.get('remedy'))}</li>"
        )
    yield "</ul></section>"


def _footer(status: Mapping[str, Any]) -> Iterator[str]:
    publisher = status.get("publisher") or {}
    yield f"<footer><p>ippusbd {escape(str(status.get('version', '?')))}, announced by"
    kind, state = (escape(str(publisher.get(key) or "?")) for key in ("kind", "state"))
    yield f"{kind}: {state}."
    yield "<code>ippusbd doctor</code> finds problems and says what to do.</p></footer>"
