"""`ippusbd status`: the running daemon and its printers, for people or as JSON."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from time import localtime, strftime
from typing import TYPE_CHECKING

from ippusbd.cli.common import Exit, add_command, ask_daemon, ask_status, load_config
from ippusbd.cli.output import show, write
from ippusbd.daemon.observe.waiting import duration, explained, size, told
from ippusbd.kinds import Severity

if TYPE_CHECKING:  # every command loads this module: the types cost it 50 ms
    from ippusbd.config import Config
    from ippusbd.daemon.observe.status import (
        ConditionStatus,
        InterfaceCounts,
        PrinterStatus,
        RecentError,
        SharingStatus,
        Status,
    )
    from ippusbd.model import Supply


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "status",
        run,
        summary="show the running daemon and its printers",
        description="Show the running daemon and its printers: state and reason, name, port, USB\n"
        "interfaces, supplies, and the traffic since the start.",
        examples=[
            "ippusbd status --watch",
            "ippusbd status --json | jq -r '.printers[].url'",
        ],
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--watch",
        nargs="?",
        type=seconds,
        const=WATCH_S,
        metavar="SECONDS",
        help="show it again and again, every %(const)g seconds or those given, until Ctrl+C",
    )


def run(args: argparse.Namespace) -> int:
    """Ask the daemon and print its answer."""
    config = load_config(args)
    while True:
        _show(config, as_json=args.json, afresh=args.watch is not None)
        if args.watch is None:
            return Exit.OK
        time.sleep(args.watch)


def seconds(text: str) -> float:
    """A pause between two looks."""
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= DAY_S:
        raise argparse.ArgumentTypeError("must be a whole number of seconds, from 1 on")
    return float(text)


def _show(config: Config, *, as_json: bool, afresh: bool) -> None:
    """One status; on a terminal it replaces the one before if it is shown `afresh`."""
    if as_json:
        import json

        write(json.dumps(ask_daemon(config, "status", dict), indent=None if afresh else 2))
        return
    shown = list(lines(ask_status(config)))
    if afresh and sys.stdout.isatty():
        write(CLEAR, end="")
    show(shown)


def lines(status: Status) -> Iterator[str]:
    """The daemon in one line, then each printer in several."""
    yield (
        f"ippusbd {status.version}, process {status.pid}, "
        f"{status.phase} for {duration(status.uptime_s)}"
    )
    kind, state = status.publisher.kind, status.publisher.state
    yield state if kind == "off" else f"announcing with {kind or '?'}: {state}"
    if status.sharing is not None:
        yield from _sharing(status.sharing)
    if not status.printers:
        yield "no IPP-over-USB printer is connected (for details: ippusbd doctor)"
    for printer in status.printers:
        yield ""
        yield from _printer(printer)
    yield from _recent_errors(status.recent)
    if status.page.url:
        yield ""
        yield f"status page: {status.page.url}"


def _sharing(sharing: SharingStatus) -> Iterator[str]:
    """On which interfaces, and the fingerprint by which users verify the certificate."""
    where = ", ".join(sharing.interfaces) or "no interface (none has an address now)"
    needs = "with a password" if sharing.passwords else "without a password"
    console = ", web consoles too" if sharing.console else ""
    trouble = f"; {sharing.trouble}" if sharing.trouble else ""
    yield f"shared on {where}, {needs}{console}{trouble}"
    yield f"certificate {sharing.fingerprint or '?'} (SHA-256)"


def _recent_errors(recent: Sequence[RecentError]) -> Iterator[str]:
    """The most recent errors; the log has the others."""
    if recent:
        yield ""
        yield "recent errors:"
    for each in recent[:RECENT]:
        often = f" ({each.times} times)" if each.times > 1 else ""
        who = f"{each.printer}: " if each.printer else ""
        yield f"  {strftime('%Y-%m-%d %H:%M', localtime(each.at))} {who}{each.text}{often}"
        if each.reason is not None:
            yield f"{'':19}{each.reason.remedy}"


def _printer(printer: PrinterStatus) -> Iterator[str]:
    reason = f", {printer.reason}" if printer.reason is not None else ""
    what = f"{printer.id}, virtual" if printer.virtual else printer.id
    yield f"{printer.model or 'printer'} ({what}): {printer.state.value}{reason}"
    if printer.reason is not None:
        yield f"  {'to do':<11} {printer.reason.remedy}"
    for title, value in _details(printer):
        if value:
            yield f"  {title:<11} {value}"


def _details(printer: PrinterStatus) -> Iterator[tuple[str, str]]:
    yield "device", _device(printer)
    yield "web page", printer.url
    yield "name", printer.name
    is_told = printer.port and printer.announced != "established"
    yield "announced", printer.announced if is_told else ""
    yield "interfaces", _interfaces(printer.interfaces)
    for trouble in printer.troubles:
        yield "trouble", f"{trouble}: {trouble.remedy}"
    for lost in printer.missing:
        yield "missing", f"{lost.function}: {lost.reason}: {lost.reason.remedy}"
    yield "waiting", explained(printer)
    for each in printer.exchanges:
        where = "queued" if each.interface is None else f"interface {each.interface}"
        yield where, told(each)
    proof = printer.waits_for
    yield "not ended", f"{proof} ({duration(printer.waits_s)})" if proof else ""
    for ended in printer.ended:
        yield "ended", f"interface {ended.interface}, {duration(ended.age_s)} ago: {ended.proof}"
    if printer.condition is not None:
        yield from condition_lines(printer.condition)
    if printer.port:
        yield "traffic", _traffic(printer)
    yield "learned", ", ".join(f"{key} = {value}" for key, value in printer.learned.items())


def condition_lines(condition: ConditionStatus) -> Iterator[tuple[str, str]]:
    """What the printer reports: title and text; the text is empty if it reports nothing."""
    age_s = condition.age_s
    when = f" ({duration(age_s)} ago)" if age_s >= OLD_S else ""
    state = ", ".join(filter(None, (condition.state, condition.message)))
    yield "printer", state + when if state else ""
    for advice in condition.asks:
        remedy = f": {advice.remedy}" if advice.remedy else ""
        yield ASKS[advice.severity], advice.text + remedy
    yield "supplies", ", ".join(map(_supply, condition.supplies))
    jobs, pages = condition.jobs, condition.pages
    yield "jobs", f"{jobs} at the printer" if jobs else ""
    yield "pages", "" if pages is None else f"{pages} printed in total"


CLEAR = "\x1b[H\x1b[J"  # the cursor to the corner, and nothing below it
WATCH_S = 2.0
DAY_S = 86400
OLD_S = 90
RECENT = 3
ASKS = {
    Severity.ERROR: "NEEDS YOU",
    Severity.WARNING: "needs soon",
    Severity.REPORT: "says",
}


def _supply(supply: Supply) -> str:
    if supply.level is None:
        return supply.name
    how = " full" if supply.fills else ""
    return f"{supply.name} {supply.level} %{how}{' (!)' if supply.low else ''}"


def _device(printer: PrinterStatus) -> str:
    serial, address = printer.serial, printer.address
    parts = [f"at {address}" if address else "", f"serial {serial}" if serial else ""]
    return ", ".join(part for part in parts if part)


def _interfaces(counts: InterfaceCounts) -> str:
    """`3, 1 in use`; empty when there are none."""
    uses = (
        (counts.in_use, "in use"),
        (counts.broken, "broken"),
        (counts.waiting, "requests waiting"),
        (counts.released, "released to the kernel"),
    )
    more = [f"{count} {words}" for count, words in uses if count]
    return ", ".join([str(counts.total), *more]) if counts.total else ""


def _traffic(printer: PrinterStatus) -> str:
    count = printer.requests
    out, back = size(printer.bytes_out), size(printer.bytes_in)
    return f"{count} request{'s' * (count != 1)}, {out} to the printer, {back} from it"
