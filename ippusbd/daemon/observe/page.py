"""The status page: printers, what they are doing, what they ask for, and what went wrong.

Made anew for every look, from the same status that `ippusbd status` prints, so that both
always say the same. Everything that came from a device is escaped here, the last to touch it.

Knows the status as it is given out, and HTML; never printers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from time import localtime, strftime
from typing import Any, Final

from ippusbd.daemon.observe.http import Reply
from ippusbd.daemon.observe.page_style import CSS, POLICY
from ippusbd.daemon.observe.remedies import diagnose

# state -> words, class
_STATES: Final = {
    "ready": ("ready", "good"),
    "partial": ("partly ready", "soon"),
    "probing": ("being asked", "soon"),
    "opening": ("being opened", "soon"),
    "waiting": ("tried again soon", "bad"),
    "refused": ("left alone", "bad"),
    "away": ("not plugged in", "soon"),
}
_SEVERITIES: Final = {"error": ("bad", "Needs you"), "warning": ("soon", "Needs you soon")}
OLD_S: Final = 90


def reply(status: Mapping[str, Any]) -> Reply:
    """The page for `status`."""
    return Reply(
        "\n".join(document(status)) + "\n",
        "text/html; charset=utf-8",
        headers=(("Content-Security-Policy", POLICY),),
    )


def document(status: Mapping[str, Any]) -> Iterator[str]:
    """Its lines."""
    printers = status.get("printers") or []
    yield "<!DOCTYPE html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{_title(printers)}</title><style>{CSS}</style></head><body>"
    yield '<a class="skip" href="#printers">Skip to the printers</a>'
    yield "<header><h1>USB printers and scanners</h1>"
    yield f'<p class="faint">as of {strftime("%H:%M:%S")} · <a href="/">look again</a></p></header>'
    yield '<main id="printers">'
    if not printers:
        yield '<section class="card"><h2>No printer</h2>'
        yield "<p>No printer that speaks IPP over USB is connected. Switch it on, and look at its"
        yield "cable; <code>ippusbd doctor</code> says more.</p></section>"
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
    needy = sum(any(w.get("severity") == "error" for w in _wishes(row)) for row in printers)
    if needy:
        return f"{needy} of {len(printers)} printers need you - ippusbd"
    return f"{len(printers)} printer{'s' * (len(printers) != 1)} - ippusbd"


def _wishes(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return (row.get("condition") or {}).get("asks") or []


# --- a printer


def _printer(number: int, row: Mapping[str, Any]) -> Iterator[str]:
    name = escape(str(row.get("name") or row.get("model") or row.get("id") or "printer"))
    words, colour = _STATES.get(str(row.get("state")), (str(row.get("state")), "soon"))
    yield f'<section class="card" aria-labelledby="printer-{number}"><div class="top">'
    yield f'<h2 id="printer-{number}">{name}</h2>'
    yield f'<span class="state {colour}">{escape(words)}</span></div>'
    yield from _reason(row)
    for advice in _wishes(row):
        yield _wish(advice)
    yield from _facts(row)
    yield from _supplies((row.get("condition") or {}).get("supplies") or [])
    yield "</section>"


def _reason(row: Mapping[str, Any]) -> Iterator[str]:
    reason = str(row.get("reason") or "")
    if reason and row.get("state") != "away":
        found = diagnose(reason)
        colour = "soon" if found.passes or row.get("state") in ("opening", "probing") else "bad"
        yield f'<p class="wish {colour}">{escape(reason)}{_then(found.remedy)}</p>'


def _wish(advice: Mapping[str, Any]) -> str:
    colour, title = _SEVERITIES.get(str(advice.get("severity")), ("", ""))
    text = escape(str(advice.get("text")))
    if not title:
        return f'<p class="faint">{text}</p>'
    then = _then(advice.get("remedy"))
    return f'<p class="wish {colour}"><strong>{title}: {text}</strong>{then}</p>'


def _then(remedy: object) -> str:
    return f"<br>{escape(str(remedy))}" if remedy else ""


def _facts(row: Mapping[str, Any]) -> Iterator[str]:
    rows = [(title, value) for title, value in _told(row) if value]
    if rows:
        yield "<dl>"
        yield from (f"<dt>{title}</dt><dd>{value}</dd>" for title, value in rows)
        yield "</dl>"


def _told(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Titles, and values that are HTML already."""
    condition, counts = row.get("condition") or {}, row.get("interfaces") or {}
    yield "Printer", "" if row.get("state") == "away" else escape(_doing(condition))
    if row.get("url") and row.get("state") in ("ready", "partial", "probing"):
        url = escape(str(row["url"]), quote=True)
        yield "Web console", f'<a href="{url}">{url}</a>'
    elif row.get("url"):
        yield "Web console", f"{escape(str(row['url']))} (when it is back)"
    yield "USB", escape(_interfaces(counts))
    requests = row.get("requests")
    yield "Requests", "" if requests is None else f"{requests} since the start"
    pages = condition.get("pages")
    yield "Serial number", escape(str(row.get("serial") or ""))
    yield "Pages", "" if pages is None else f"{pages} in its life"
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
        return "at rest until somebody asks"
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
    yield '<h2 id="recent">What went wrong lately</h2>'
    if not troubles:
        yield '<p class="faint">Nothing since the daemon was started.</p></section>'
        return
    yield '<ul class="log">'
    for each in troubles[:10]:
        when = strftime("%Y-%m-%d %H:%M:%S", localtime(float(each.get("at", 0))))
        who = f"{escape(str(each['printer']))}: " if each.get("printer") else ""
        times = each.get("times", 1)
        often = f" ({times} times)" if times > 1 else ""
        yield (
            f'<li><time class="faint" datetime="{when.replace(" ", "T")}">{when}</time> '
            f"{who}{escape(str(each.get('text')))}{often}{_then(each.get('remedy'))}</li>"
        )
    yield "</ul></section>"


def _footer(status: Mapping[str, Any]) -> Iterator[str]:
    publisher = status.get("publisher") or {}
    yield f"<footer><p>ippusbd {escape(str(status.get('version', '?')))}, announcing by"
    kind, state = (escape(str(publisher.get(key) or "?")) for key in ("kind", "state"))
    yield f"{kind}: {state}."
    yield "<code>ippusbd doctor</code> says what is wrong and what to do about it.</p></footer>"
