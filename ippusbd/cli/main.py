"""The `ippusbd` command: its subcommands, and how their errors are shown.

A command is one function in a module of its own; it prints results on standard
output and returns an exit code. Only this module turns errors into messages.
Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from typing import Final

from ippusbd import __version__
from ippusbd.cli import (
    capture,
    check,
    doctor,
    log,
    migrate,
    password,
    quirks,
    retry,
    setup,
    status,
    trace,
)
from ippusbd.cli import run as cli_run
from ippusbd.cli.common import Exit, add_command
from ippusbd.cli.output import prepare_streams, show
from ippusbd.errors import ConfigError, IppUsbError, NotRunning

DESCRIPTION: Final = """\
Makes IPP-over-USB printers and scanners available as network devices on this
machine: CUPS, SANE and browsers find them with DNS-SD and reach them at
http://localhost:PORT/. No driver is needed."""

EPILOG: Final = """\
examples:
  ippusbd run                      serve the USB printers until Ctrl-C
  ippusbd run --virtual            serve a virtual printer, to try it without hardware
  ippusbd status                   show the printers with state, name and port
  ippusbd doctor                   find problems and show how to solve them
  ippusbd check                    check the configuration and the USB devices
  ippusbd quirks --device 03f0:1234
                                   show the special settings of a model, with their reasons
  ippusbd trace PRINTER -o FILE    record a printer's USB and HTTP traffic, for Wireshark
  ippusbd log debug usb            change the log level of the running daemon
  ippusbd migrate --dry-run        show which settings of ipp-usb would be taken over
  sudo ippusbd setup               make a service of it, where no package does
  ippusbd retry                    retry a printer that was given up on
  ippusbd COMMAND --help           show the options of a command

exit status: 0 success, 1 failure (the reason is on standard error), 2 wrong usage or
configuration, 3 no daemon is running, 130 interrupted.

Configuration: /etc/ippusbd/ippusbd.conf or ~/.config/ippusbd/ippusbd.conf.
Local quirks: /etc/ippusbd/quirks/*.toml."""

# Packages that are not always installed, and how to install them.
PACKAGES: Final = {
    "h11": "apt install python3-h11 python3-pil, or pip install 'ippusbd[virtual]'",
    "PIL": "apt install python3-pil, or pip install 'ippusbd[virtual]'",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (default: sys.argv) and return its exit code."""
    prepare_streams()
    try:
        args = build_parser().parse_args(argv)
        return int(args.run(args))
    except IppUsbError as exc:
        return _failed(exc)
    except ModuleNotFoundError as exc:
        package = (exc.name or "").partition(".")[0]
        if package not in PACKAGES:
            raise
        return _failed(IppUsbError(f"this needs the Python package {package}: {PACKAGES[package]}"))
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # the reader closed the pipe: `ippusbd status | head -1`
        return Exit.FAILED
    except OSError as exc:
        logging.getLogger("ippusbd.daemon").debug("%r", exc, exc_info=exc)  # for `run --verbose`
        return _failed(IppUsbError(f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc)))


def build_parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    parser = argparse.ArgumentParser(
        prog="ippusbd",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ippusbd {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    modules = (
        cli_run,
        status,
        doctor,
        check,
        quirks,
        retry,
        trace,
        capture,
        log,
        password,
        migrate,
        setup,
    )
    for module in modules:
        module.add_parser(commands)
    _add_virtual(commands)
    add_command(
        commands,
        "version",
        _version,
        summary="print the version",
        description="Print the version.",
        examples=["ippusbd version"],
        config=False,
    )
    return parser


def _add_virtual(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command `virtual`, if the virtual printer is installed."""
    try:
        module = importlib.import_module("ippusbd.cli.virtual")
    except ModuleNotFoundError as exc:
        if exc.name != "ippusbd.cli.virtual":
            raise
        return
    module.add_parser(commands)


def _version(_: argparse.Namespace) -> int:
    show([f"ippusbd {__version__}"])
    return Exit.OK


def _failed(exc: IppUsbError) -> Exit:
    from ippusbd.log import escaped

    print(f"ippusbd: {escaped(str(exc))}", file=sys.stderr)
    if isinstance(exc, ConfigError):
        return Exit.USAGE
    if isinstance(exc, NotRunning):
        from ippusbd.doctor.machine import Machine

        print(f"ippusbd: start it with: {Machine().how_to_start()}", file=sys.stderr)
        return Exit.NOT_RUNNING
    return Exit.FAILED
