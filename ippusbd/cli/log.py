"""`ippusbd log`: show or change the running daemon's log levels."""

from __future__ import annotations

import argparse

from ippusbd.cli.common import Exit, add_command, ask_daemon, load_config
from ippusbd.cli.output import show
from ippusbd.errors import WrongUsage


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "log",
        run,
        summary="show or change the running daemon's log levels",
        description="Show the running daemon's log levels, or change them until it is restarted.\n"
        "Levels: debug, info, warning, error. Areas: usb, http, dnssd, daemon, broker, virtual;\n"
        "without an area, all.\n\n"
        "In the journal lines have fields: journalctl -u ippusbd PRINTER='HP LaserJet' REQUEST=12",
        examples=["ippusbd log", "ippusbd log debug usb", "ippusbd log info"],
    )
    parser.add_argument("level", nargs="?", default="", metavar="LEVEL")
    parser.add_argument("area", nargs="?", default="", metavar="AREA")


def run(args: argparse.Namespace) -> int:
    """Change the level if one is given, and show all levels."""
    from ippusbd.log import AREAS, LEVELS

    if args.level not in ("", *LEVELS):
        raise WrongUsage(f"unknown level {args.level}: levels are {', '.join(LEVELS)}")
    if args.area not in ("", *AREAS):
        raise WrongUsage(f"unknown area {args.area}: areas are {', '.join(AREAS)}")
    levels = ask_daemon(load_config(args), "log", dict, level=args.level, area=args.area)
    show(f"{area:<8} {level}" for area, level in levels.items())
    return Exit.OK
