"""`ippusbd retry` and `ippusbd forget`: restart a printer's recovery, delete what was learned."""

from __future__ import annotations

import argparse

from ippusbd.cli.common import Exit, add_command, ask_daemon, load_config
from ippusbd.cli.output import show
from ippusbd.errors import IppUsbError


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    retry = add_command(
        commands,
        "retry",
        run_retry,
        summary="retry a printer that was given up on",
        description="Retry printers at once. A printer that did not respond after the permitted\n"
        "number of resets is not used until it is replugged or this command is run.\n"
        "One that may be printing is only reset if this names it, or if it is the only one.",
        examples=["ippusbd retry", 'ippusbd retry "LaserJet"', "ippusbd retry 03f0:1234"],
    )
    forget = add_command(
        commands,
        "forget",
        run_forget,
        summary="delete what was learned about a printer",
        description="Delete what the daemon learned about a printer: quirks and the recovery step\n"
        "that helped last. `ippusbd quirks` shows them. Ports and names are kept.\n"
        "Takes effect when the printer is next plugged in or retried.",
        examples=["ippusbd forget", 'ippusbd forget "QL-810W"'],
    )
    for parser in (retry, forget):
        parser.add_argument(
            "printer",
            nargs="?",
            default="",
            metavar="PRINTER",
            help="part of its name, its serial number, VID:PID or port (default: all)",
        )


def run_retry(args: argparse.Namespace) -> int:
    """Make the daemon retry printers, and print which."""
    return _request(args, "retry", "retrying", "no such printer is connected")


def run_forget(args: argparse.Namespace) -> int:
    """Make the daemon forget printers, and print which."""
    return _request(args, "forget", "forgotten", "nothing to forget")


def _request(args: argparse.Namespace, command: str, done: str, nothing: str) -> int:
    names = ask_daemon(load_config(args), command, list, printer=args.printer)
    if not names:
        raise IppUsbError(nothing)
    show(f"{done}: {name}" for name in names)
    return Exit.OK
