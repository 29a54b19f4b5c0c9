"""`ippusbd retry` and `ippusbd forget`: an administrator's word after recovery had its say."""

from __future__ import annotations

import argparse

from ippusbd.cli.common import (
    Exit,
    add_command,
    add_config_option,
    ask_daemon,
    load_config,
    show,
)
from ippusbd.errors import IppUsbError


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The commands and their options."""
    retry = add_command(
        commands,
        "retry",
        run_retry,
        summary="try a printer again that was left alone",
        description="Try printers again at once. One that stayed deaf after too many resets is\n"
        "left alone until it is plugged in again, or until this command grants it a new start.",
        examples=["ippusbd retry", 'ippusbd retry "LaserJet"', "ippusbd retry 03f0:1234"],
    )
    forget = add_command(
        commands,
        "forget",
        run_forget,
        summary="forget what was found out about a printer",
        description="Forget what the daemon found out about a printer: learned quirks and the\n"
        "cure that helped last. `ippusbd quirks` shows them. Ports and names are kept.\n"
        "Takes effect when the printer is plugged in or tried the next time.",
        examples=["ippusbd forget", 'ippusbd forget "QL-810W"'],
    )
    for parser in (retry, forget):
        parser.add_argument(
            "printer",
            nargs="?",
            default="",
            metavar="PRINTER",
            help="part of its name, its serial number or VID:PID; without it all",
        )
        add_config_option(parser)


def run_retry(args: argparse.Namespace) -> int:
    """Ask the daemon, and say which printers it tries."""
    return _tell(args, "retry", "trying again", "no printer like that is plugged in")


def run_forget(args: argparse.Namespace) -> int:
    """Ask the daemon, and say what it forgot."""
    return _tell(args, "forget", "forgotten", "nothing was found out about such a printer")


def _tell(args: argparse.Namespace, command: str, done: str, nothing: str) -> int:
    names = ask_daemon(load_config(args), command, printer=args.printer)
    if not isinstance(names, list):
        raise IppUsbError("what answers is not an ippusbd")
    if not names:
        raise IppUsbError(nothing)
    show(f"{done}: {name}" for name in names)
    return Exit.OK
