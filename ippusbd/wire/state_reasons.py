"""printer-state-reasons in plain words, and how much each matters.

A keyword may end in -error, -warning or -report (RFC 8011, 5.4.12); without a suffix it has
its usual severity. An unregistered keyword of a maker is shown in its own words, so that
nothing that a printer reports is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final

from ippusbd.kinds import Severity
from ippusbd.wire.text import utf8_line

TEXT_BYTES: Final = 80


@dataclass(frozen=True, slots=True)
class Advice:
    """One reason in words, with its remedy."""

    reason: Annotated[str, "The keyword of printer-state-reasons."]
    text: Annotated[str, "The same in words."]
    severity: Annotated[Severity, "How much it matters."]
    remedy: Annotated[str, "What to do."] = ""


_E, _W, _R = Severity.ERROR, Severity.WARNING, Severity.REPORT
# keyword -> words, severity when the keyword has no suffix, what to do
_WORDS: Final[dict[str, tuple[str, Severity, str]]] = {
    "alert-removal-of-binary-change-entry": ("an alert was removed", _R, ""),
    "cleaner-life-almost-over": ("cleaning unit nearly used up", _W, "have a new one ready"),
    "cleaner-life-over": ("cleaning unit used up", _E, "replace the cleaning unit"),
    "connecting-to-device": ("connecting", _R, ""),
    "cover-open": ("cover open", _E, "close the cover"),
    "cutter-near-eol": ("cutter nearly worn", _W, "have a new one ready"),
    "deactivated": ("switched off for jobs", _E, "activate it at its panel"),
    "developer-empty": ("developer used up", _E, "replace the developer unit"),
    "developer-low": ("developer low", _W, "have a new developer unit ready"),
    "door-open": ("door open", _E, "close the door"),
    "fuser-over-temp": ("fuser too hot", _E, "let it cool down"),
    "fuser-under-temp": ("fuser warming up", _R, "wait a moment"),
    "hibernate": ("sleeping", _R, ""),
    "hold-new-jobs": ("holding new jobs", _W, "release them at its panel"),
    "identify-printer-requested": ("identifying itself", _R, ""),
    "input-cannot-feed-size-selected": ("no tray has that size", _E, "load that paper size"),
    "input-manual-input-request": ("manual feed requested", _E, "feed a sheet by hand"),
    "input-tray-missing": ("paper tray missing", _E, "put the tray back"),
    "interlock-open": ("a door or cover is open", _E, "close it"),
    "interpreter-resource-unavailable": ("out of memory", _W, "print fewer pages at once"),
    "marker-ink-almost-empty": ("ink low", _W, "have a new cartridge ready"),
    "marker-ink-empty": ("ink empty", _E, "replace the cartridge"),
    "marker-print-cartridge-missing": ("cartridge missing", _E, "put a cartridge in"),
    "marker-supply-empty": ("supply empty", _E, "replace what is empty"),
    "marker-supply-low": ("supply low", _W, "have a new one ready"),
    "marker-toner-cartridge-missing": ("toner cartridge missing", _E, "put a cartridge in"),
    "marker-toner-missing": ("toner missing", _E, "put a cartridge in"),
    "marker-waste-almost-full": ("waste box nearly full", _W, "have a new waste box ready"),
    "marker-waste-full": ("waste box full", _E, "replace the waste box"),
    "marker-waste-ink-receptacle-almost-full": ("waste ink pad nearly full", _W, "call service"),
    "marker-waste-ink-receptacle-full": ("waste ink pad full", _E, "call service"),
    "marker-waste-toner-receptacle-almost-full": (
        "waste toner box nearly full", _W, "have a new waste toner box ready"
    ),
    "marker-waste-toner-receptacle-full": (
        "waste toner box full", _E, "replace the waste toner box"
    ),
    "media-empty": ("paper out", _E, "load paper"),
    "media-jam": ("paper jam", _E, "remove the jammed paper"),
    "media-low": ("paper low", _W, "load paper soon"),
    "media-needed": ("paper needed", _E, "load the paper that the job asks for"),
    "media-path-cannot-duplex-media-selected": (
        "cannot print that paper on both sides", _W, "choose another paper or one side"
    ),
    "moving-to-paused": ("about to pause", _R, ""),
    "opc-life-over": ("drum used up", _E, "replace the drum"),
    "opc-near-eol": ("drum nearly used up", _W, "have a new drum ready"),
    "other": ("an unspecified condition", _W, "look at its panel"),
    "output-area-almost-full": ("output tray nearly full", _W, "remove the pages"),
    "output-area-full": ("output tray full", _E, "remove the pages"),
    "output-tray-missing": ("output tray missing", _E, "put the tray back"),
    "paused": ("paused", _W, "press resume at its panel, or: cupsenable QUEUE"),
    "power-down": ("switching off", _W, "switch it on"),
    "power-up": ("switching on", _R, "wait a moment"),
    "printer-manual-reset": ("was reset at its panel", _R, ""),
    "printer-nms-reset": ("was reset from the network", _R, ""),
    "resume": ("resuming", _R, "wait a moment"),
    "scanner-lamp-failure": ("scanner lamp failed", _W, "call service"),
    "scanner-media-jam": ("original jammed in the feeder", _W, "remove the original"),
    "shutdown": ("switched off", _E, "switch it on"),
    "spool-area-full": ("its memory is full", _W, "wait until jobs are printed"),
    "standby": ("sleeping", _R, ""),
    "stopped-partly": ("partly stopped", _W, "look at its panel"),
    "stopping": ("stopping", _R, ""),
    "subunit-life-almost-over": ("a part is nearly worn", _W, "have a new one ready"),
    "subunit-life-over": ("a part is worn out", _E, "replace it"),
    "subunit-missing": ("a part is missing", _E, "put it back"),
    "suspend": ("sleeping", _R, ""),
    "timed-out": ("the printer did not answer in time", _W, ""),
    "toner-empty": ("toner empty", _E, "replace the toner"),
    "toner-low": ("toner low", _W, "have new toner ready"),
    "wrong-media": ("wrong paper", _E, "load the paper that the job asks for"),
}  # fmt: skip
_STATES: Final = {3: "idle", 4: "printing", 5: "stopped"}


def all_advice(reasons: Iterable[str]) -> list[Advice]:
    """Every reason in words, the most urgent first, without duplicates."""
    found = {
        advice.text: advice for advice in reversed([advice(r) for r in reasons if r != "none"])
    }
    order = list(Severity)
    return sorted(reversed(found.values()), key=lambda each: order.index(each.severity))


def advice(reason: str) -> Advice:
    """One keyword in words."""
    base, ended = _ended(reason)
    text, usual, remedy = _WORDS.get(base, (_own_words(base), Severity.WARNING, ""))
    severity = ended or usual
    return Advice(reason, text, severity, "" if severity is Severity.REPORT else remedy)


def state_name(state: int | None) -> str:
    """printer-state in a word; empty: unknown."""
    return "" if state is None else _STATES.get(state, "")


def _ended(reason: str) -> tuple[str, Severity | None]:
    for severity in Severity:
        if reason.endswith(f"-{severity.value}"):
            return reason.removesuffix(f"-{severity.value}"), severity
    return reason, None


def _own_words(keyword: str) -> str:
    return utf8_line(keyword.replace("-", " ").replace("_", " "), TEXT_BYTES) or "unknown"
