"""`ippusbd check`: what `ippusbd doctor` can find before the daemon is started.

A wrong configuration ends it at once, with exit code 2.
"""

from __future__ import annotations

import argparse

from ippusbd.cli.common import add_command
from ippusbd.cli.doctor import examination, show_findings


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add_command(
        commands,
        "check",
        run,
        summary="check the configuration and the USB devices",
        description="Check the configuration, the quirk files, the directories and the USB\n"
        "devices, with the reason for each device that cannot be used: what `ippusbd doctor`\n"
        "says before a start. Changes nothing; does not open a device that a running daemon\n"
        "serves.",
        examples=[
            "ippusbd check",
            "ippusbd check --config ./new.conf && sudo cp new.conf /etc/ippusbd/ippusbd.conf",
        ],
    )


def run(args: argparse.Namespace) -> int:
    """Print one finding after the other."""
    return show_findings(examination(args).before_start())
