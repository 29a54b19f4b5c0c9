"""`ippusbd version`."""

from __future__ import annotations

import argparse

from ippusbd import __version__
from ippusbd.cli.common import Exit, add_command
from ippusbd.cli.output import show


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add_command(
        commands,
        "version",
        run,
        summary="print the version",
        description="Print the version.",
        examples=["ippusbd version"],
        config=False,
    )


def run(_: argparse.Namespace) -> int:
    show([f"ippusbd {__version__}"])
    return Exit.OK
