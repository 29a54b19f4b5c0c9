"""`ippusbd status`: the running daemon and its printers, for people or as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from time import localtime, strftime
from typing import Any

from ippusbd.cli.common import Exit, add_command, ask_daemon, load_config, show


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "status",
        run,
        summary="show the running daemon and its printers",
        description="Show the running daemon and its printers: state and reason, name, port, USB\n"
        "interfaces, supplies, and the traffic since the start.",
        examples=[
            "ippusbd status",
            "ippusbd status --json | jq -r '.printers[].url'",
        ],
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Ask the daemon and print its answer."""
    status = ask_daemon(load_config(args), "status", dict)
    if args.json:
        import json

        print(json.dumps(status, indent=2))
    else:
        show(lines(status))
    return Exit.OK


def lines(status: Mapping[str, Any]) -> Iterator[str]:
    """The daemon in one line, then each printer in several."""
    publisher = status.get("publisher") or {}
    yield (
        f"ippusbd {status.get('version', '?')}, process {status.get('pid', '?')}, "
        f"{status.get('phase') or 'running'} for {duration(status.get('uptime_s', 0))}"
    )
    kind, state = publisher.get("kind") or "?", publisher.get("state") or "?"
    yield state if kind == "off" else f"announcing with {kind}: {state}"
    yield from _sharing(status.get("sharing") or {})
    printers = status.get("printers") or []
    if not printers:
        yield "no IPP-over-USB printer is connected (for details: ippusbd check)"
    for printer in printers:
        yield ""
        yield from _printer(printer)
    yield from _recent_errors(status.get("recent") or [])
    page = (status.get("page") or {}).get("url")
    if page:
        yield ""
        yield f"status page: {page}"


def _sharing(sharing: Mapping[str, Any]) -> Iterator[str]:
    """On which interfaces, and the fingerprint by which users verify the certificate."""
    if not sharing:
        return
    where = ", ".join(sharing.get("interfaces") or ()) or "no interface (none has an address now)"
    needs = "with a password" if sharing.get("passwords") else "without a password"
    console = ", web consoles too" if sharing.get("console") else ""
    trouble = sharing.get("trouble")
    yield f"shared on {where}, {needs}{console}{f'; {trouble}' if trouble else ''}"
    yield f"certificate {sharing.get('fingerprint') or '?'} (SHA-256)"


def _recent_errors(troubles: list[Mapping[str, Any]]) -> Iterator[str]:
    """The most recent errors; the log has the others."""
    if troubles:
        yield ""
        yield "recent errors:"
    for each in troubles[:RECENT]:
        who, times = each.get("printer"), each.get("times", 1)
        often = f" ({times} times)" if times > 1 else ""
        when = strftime("%Y-%m-%d %H:%M", localtime(float(each.get("at", 0))))
        yield f"  {when} {f'{who}: ' if who else ''}{each.get('text')}{often}"
        if each.get("remedy"):
            yield f"{'':19}{each['remedy']}"


def _printer(printer: Mapping[str, Any]) -> Iterator[str]:
    state, reason = printer.get("state", "?"), printer.get("reason")
    model = printer.get("model") or "printer"
    yield f"{model} ({printer.get('id', '?')}): {state}{f', {reason}' if reason else ''}"
    for title, value in _details(printer):
        if value:
            yield f"  {title:<11} {value}"


def _details(printer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "device", _device(printer)
    yield "web page", str(printer.get("url") or "")
    yield "name", str(printer.get("name") or "")
    announced = printer.get("announced") or ""
    yield "announced", "" if announced in ("", "established") else str(announced)
    yield "interfaces", _interfaces(printer.get("interfaces") or {})
    yield "trouble", str(printer.get("trouble") or "")
    for each in printer.get("missing") or ():
        yield "missing", f"{each.get('function')}: {each.get('answer')}: {each.get('remedy')}"
    waits = printer.get("waits_for") or ""
    yield "waiting", f"{waits} ({duration(printer.get('waits_s') or 0)})" if waits else ""
    for each in printer.get("ended") or ():
        ago = duration(each.get("age_s") or 0)
        yield "ended", f"interface {each.get('interface')}, {ago} ago: {each.get('proof')}"
    yield from condition_lines(printer.get("condition") or {})
    if "requests" in printer:
        yield "traffic", _traffic(printer)
    learned = printer.get("learned") or {}
    yield "learned", ", ".join(f"{key} = {value}" for key, value in learned.items())


def condition_lines(condition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the printer reports: title and text; the text is empty if it reports nothing."""
    age_s = condition.get("age_s") or 0
    when = f" ({duration(age_s)} ago)" if age_s >= OLD_S else ""
    state = ", ".join(filter(None, (condition.get("state"), condition.get("message"))))
    yield "printer", state + when if state else ""
    for advice in condition.get("asks") or ():
        remedy = advice.get("remedy")
        yield (
            ASKS.get(advice.get("severity"), "says"),
            advice["text"] + (f": {remedy}" if remedy else ""),
        )
    yield "supplies", ", ".join(_supply(each) for each in condition.get("supplies") or ())
    pages = condition.get("pages")
    yield "pages", "" if pages is None else f"{pages} printed in total"


OLD_S = 90
RECENT = 3
ASKS = {"error": "NEEDS YOU", "warning": "needs soon", "report": "says"}


def _supply(supply: Mapping[str, Any]) -> str:
    level = supply.get("level")
    if level is None:
        return str(supply["name"])
    how = " full" if supply.get("fills") else ""
    return f"{supply['name']} {level} %{how}{' (!)' if supply.get('low') else ''}"


def _device(printer: Mapping[str, Any]) -> str:
    serial, address = printer.get("serial"), printer.get("address")
    parts = [f"at {address}" if address else "", f"serial {serial}" if serial else ""]
    return ", ".join(part for part in parts if part)


def _interfaces(counts: Mapping[str, Any]) -> str:
    """`3, 1 in use`; empty when there are none."""
    if not counts.get("total"):
        return ""
    more = [f"{counts[name]} {words}" for name, words in _INTERFACE_WORDS if counts.get(name)]
    return ", ".join([str(counts["total"]), *more])


_INTERFACE_WORDS = (
    ("in_use", "in use"),
    ("broken", "broken"),
    ("waiting", "requests waiting"),
    ("released", "released to the kernel"),
)


def _traffic(printer: Mapping[str, Any]) -> str:
    count = printer.get("requests", 0)
    out, back = size(printer.get("bytes_out", 0)), size(printer.get("bytes_in", 0))
    return f"{count} request{'s' * (count != 1)}, {out} to the printer, {back} from it"


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
