"""`ippusbd check`: what `ippusbd doctor` can find before the daemon is started.

A wrong configuration ends it at once, with exit code 2.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ippusbd.cli.common import add_command, config_file, load_config, run_until_done
from ippusbd.cli.doctor import asked, show_findings

if TYPE_CHECKING:
    from ippusbd.config import Config
    from ippusbd.doctor.findings import Finding
    from ippusbd.quirks.load import QuirkTable


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add_command(
        commands,
        "check",
        run,
        summary="check the configuration and the USB devices",
        description="Check the configuration, the quirk files, the directories and the USB\n"
        "devices, with the reason for each device that cannot be used. Changes\n"
        "nothing; does not open a device that a running daemon serves.",
        examples=[
            "ippusbd check",
            "ippusbd check --config ./new.conf && systemctl restart ippusbd",
        ],
    )


def run(args: argparse.Namespace) -> int:
    """Print one finding after the other."""
    return show_findings(_examine(args))


def _examine(args: argparse.Namespace) -> Iterator[Finding]:
    from ippusbd.doctor import configuration, ipp_usb, service
    from ippusbd.quirks.load import load

    config = load_config(args)
    quirks = load(config.quirks_dirs)
    yield from configuration.check(config, config_file(args), quirks)
    yield from ipp_usb.check(config, config_file(args))
    yield from configuration.before_start(config)
    answer = asked(config)
    yield service.before_start(answer)
    yield from run_until_done(_devices(config, quirks, served=answer.runs))


async def _devices(config: Config, quirks: QuirkTable, *, served: bool) -> list[Finding]:
    from ippusbd.doctor import opening
    from ippusbd.usbio.pyusb_host import PyusbHost

    host = PyusbHost()
    try:
        return await opening.check(host, config, quirks, served=served)
    finally:
        await host.close()
