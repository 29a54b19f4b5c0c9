"""`ippusbd doctor`: what is wrong, with a remedy for each problem."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ippusbd.cli.common import Exit, add_command, ask_status, config_file, load_config
from ippusbd.cli.output import write
from ippusbd.errors import IppUsbError, NotRunning, WrongUsage

if TYPE_CHECKING:
    from ippusbd.config import Config
    from ippusbd.doctor.examination import Examination
    from ippusbd.doctor.findings import Finding
    from ippusbd.doctor.service import Answer


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "doctor",
        run,
        summary="find problems and show how to solve them",
        description="Examine the configuration, the daemon, the USB devices and the programs that\n"
        "use them, ipp-usb and HPLIP, Avahi, CUPS, and what each printer reports.\n"
        "Changes nothing. Each line is `ok`, `note` or `FAIL`, with the remedy below it. Works\n"
        "without a running daemon; run it as root to see the programs of other users.\n\n"
        "exit status: 0 no problem, 1 at least one FAIL, 2 wrong configuration.",
        examples=[
            "ippusbd doctor",
            "sudo ippusbd doctor --report ippusbd-report.txt",
            "ippusbd doctor --json | jq -r '.[] | select(.level==\"problem\")'",
        ],
    )
    parser.add_argument("--json", action="store_true", help="print the findings as a JSON list")
    parser.add_argument("-q", "--quiet", action="store_true", help="print problems only")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="make a file for a bug report: findings, status, descriptors, quirks, log, versions, "
        "without serial numbers, names, addresses and documents; it is shown first",
    )
    parser.add_argument("--yes", action="store_true", help="with --report: write it without asking")


def run(args: argparse.Namespace) -> int:
    """Examine one thing after the other and print each finding at once."""
    if args.yes and args.report is None:
        raise WrongUsage("--yes needs --report")
    if args.report is not None:
        if args.json or args.quiet:
            raise WrongUsage("--report has a form of its own: leave out --json and --quiet")
        from ippusbd.cli import report

        return report.run(args, examination(args))
    return show_findings(examination(args).everything(), as_json=args.json, quiet=args.quiet)


def show_findings(
    findings: Iterable[Finding], *, as_json: bool = False, quiet: bool = False
) -> Exit:
    """Print findings as they come, or all as JSON; `Exit.FAILED` if there is a problem."""
    from ippusbd.doctor.findings import Level, as_table, lines

    found = []
    for finding in findings:
        if quiet and finding.level is not Level.PROBLEM:
            continue
        found.append(finding)
        if not as_json:
            for line in lines([finding]):
                write(line)
    if as_json:
        write(json.dumps([as_table(each) for each in found], indent=2))
    return Exit.FAILED if any(each.level is Level.PROBLEM for each in found) else Exit.OK


def examination(args: argparse.Namespace) -> Examination:
    """Of this machine, with the configuration that is named. Raises ConfigError."""
    from ippusbd.doctor.examination import Examination
    from ippusbd.doctor.machine import Machine

    config = load_config(args)
    return Examination(config, config_file(args), Machine(config=args.config), asked(config))


def asked(config: Config) -> Answer:
    """The running daemon's status, or the reason why there is none."""
    from ippusbd.doctor.service import Answer

    try:
        return Answer(ask_status(config))
    except NotRunning:
        return Answer(None)
    except IppUsbError as exc:
        return Answer(None, str(exc))
