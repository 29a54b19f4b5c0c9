"""`ippusbd doctor`: what is wrong, in plain words, each with what to do about it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ippusbd.cli.common import Exit, add_command, add_config_option, ask_daemon, load_config
from ippusbd.errors import IppUsbError, NotRunning

if TYPE_CHECKING:
    from ippusbd.config import Config
    from ippusbd.doctor.findings import Finding
    from ippusbd.doctor.machine import Machine
    from ippusbd.doctor.service import Answer


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    parser = add_command(
        commands,
        "doctor",
        run,
        summary="say what is wrong, and what to do about it",
        description="Look at the daemon, the USB devices and who holds them, ipp-usb and HPLIP,\n"
        "Avahi, CUPS, and what each printer says. Changes nothing. Each line is `ok`, `note`\n"
        "or `FAIL`, the remedy below it. Works without a daemon, too; as root it sees more.\n\n"
        "exit status: 0 nothing is wrong, 1 something is (a FAIL), 2 wrong configuration.",
        examples=[
            "ippusbd doctor",
            "ippusbd doctor --json | jq -r '.[] | select(.level==\"problem\")'",
        ],
    )
    parser.add_argument("--json", action="store_true", help="a list of findings, for programs")
    parser.add_argument("-q", "--quiet", action="store_true", help="only what is wrong")
    add_config_option(parser)


def run(args: argparse.Namespace) -> int:
    """Look at one thing after the other, showing each at once."""
    from ippusbd.doctor.findings import Level, as_table, lines
    from ippusbd.doctor.machine import Machine

    found = []
    for finding in examine(load_config(args), Machine()):
        found.append(finding)
        if not args.json and (finding.level is Level.PROBLEM or not args.quiet):
            for line in lines([finding]):
                print(line, flush=True)
    if args.json:
        import json

        print(json.dumps([as_table(each) for each in found], indent=2))
    return Exit.FAILED if any(each.level is Level.PROBLEM for each in found) else Exit.OK


def examine(config: Config, machine: Machine) -> Iterator[Finding]:
    """Every check, in the order in which a printer's way goes: USB, daemon, Avahi, CUPS."""
    from ippusbd.doctor import announcing, devices, printers, queues, rivals, service

    answer = _answer(config)
    who = machine.credentials(answer.pid)
    uris = queues.device_uris(machine)
    yield from service.check(answer, config, machine)
    yield from devices.check(machine, who, answer.serves, answer.pid)
    yield from rivals.check(machine, uris)
    if answer.status is not None:
        yield from printers.check(answer.status)
    yield from announcing.check(machine, config.dnssd, answer.status)
    ready = [row for row in answer.printers if row.get("state") in printers.SERVED]
    yield from queues.check(machine, ready, uris)


def _answer(config: Config) -> Answer:
    from ippusbd.doctor.service import Answer

    try:
        status = ask_daemon(config, "status")
    except NotRunning:
        return Answer(None)
    except IppUsbError as exc:
        return Answer(None, str(exc))
    return Answer(status if isinstance(status, dict) else None)
