"""The `ippusbd` command: its subcommands, and how their errors are shown.

A command is one function in a module of its own; it prints results on standard
output and returns an exit code. Only this module turns errors into messages.
Nothing heavy is imported before a command needs it, and of the commands only the one that is asked
for: the daemon keeps for its life what was imported for it.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from typing import Final

from ippusbd import __version__
from ippusbd.cli.common import Exit
from ippusbd.cli.output import prepare_streams
from ippusbd.errors import ConfigError, IppUsbError, NotRunning
from ippusbd.kinds import Kind
from ippusbd.local_commands import LocalCommands

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

# The modules of the commands, in the order of the help.
MODULES: Final = (
    "run",
    "status",
    "doctor",
    "check",
    "quirks",
    "retry",
    "trace",
    "capture",
    "log",
    "password",
    "migrate",
    "setup",
    "virtual",  # packages may leave the virtual printer out
    "version",
)
MODULE_OF: Final = {name: name for name in MODULES} | {"forget": "retry"}  # by command

# Packages that are not always installed, and how to install them.
PACKAGES: Final = {
    "h11": "apt install python3-h11 python3-pil, or pip install 'ippusbd[virtual]'",
    "PIL": "apt install python3-pil, or pip install 'ippusbd[virtual]'",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (default: sys.argv) and return its exit code."""
    prepare_streams()
    args = argparse.Namespace()
    try:
        given = list(sys.argv[1:] if argv is None else argv)
        build_parser(given[0] if given else "").parse_args(given, args)
        return int(args.run(args))
    except IppUsbError as exc:
        return _failed(exc, args)
    except ModuleNotFoundError as exc:
        package = (exc.name or "").partition(".")[0]
        if package not in PACKAGES:
            raise
        needs = f"this needs the Python package {package}: {PACKAGES[package]}"
        return _failed(IppUsbError(needs), args)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # the reader closed the pipe: `ippusbd status | head -1`
        return Exit.FAILED
    except OSError as exc:
        logging.getLogger("ippusbd.daemon").debug("%r", exc, exc_info=exc)  # for `run --verbose`
        why = f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc)
        return _failed(IppUsbError(why), args)


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """`command` with its options; if that is none, all commands."""
    parser = argparse.ArgumentParser(
        prog="ippusbd",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ippusbd {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for name in [MODULE_OF[command]] if command in MODULE_OF else MODULES:
        _add(commands, name)
    return parser


def _add(commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    """What the module `name` adds, if it is installed."""
    try:
        module = importlib.import_module(f"ippusbd.cli.{name}")
    except ModuleNotFoundError as exc:
        if exc.name != "ippusbd.cli.virtual":
            raise
        return
    module.add_parser(commands)


def _failed(exc: IppUsbError, args: argparse.Namespace) -> Exit:
    """One line for what is wrong, and one for what to do, where the kind of the error says it."""
    from ippusbd.log import escaped

    reason = exc.diagnosis
    if isinstance(exc, NotRunning):
        commands = LocalCommands(config=getattr(args, "config", None))
        reason = Kind.NOT_RUNNING.on(commands, reason.text)
    print(f"ippusbd: {escaped(reason.text)}", file=sys.stderr)
    if reason.kind != Kind.OTHER.label:  # its remedy is the daemon's log
        print(f"ippusbd: to do ({reason.kind}): {escaped(reason.remedy)}", file=sys.stderr)
    if isinstance(exc, ConfigError):
        return Exit.USAGE
    return Exit.NOT_RUNNING if isinstance(exc, NotRunning) else Exit.FAILED
