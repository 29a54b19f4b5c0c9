"""Shared by all commands: exit codes, options, and how they find the configuration.

Every command imports this, so heavy modules are imported inside functions:
`ippusbd --help` and `ippusbd status` must answer at once.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ippusbd.errors import IppUsbError, NotRunning

if TYPE_CHECKING:
    from ippusbd.config import Config
    from ippusbd.daemon.observe.status import Status

T = TypeVar("T")
STORE_HELP: Final = "save each printer's documents in DIR/VIRTUALn"
Command = Callable[[argparse.Namespace], int]


class Exit(IntEnum):
    """Exit codes; `ippusbd --help` explains them."""

    OK = 0
    FAILED = 1
    USAGE = 2  # argparse's own, too
    NOT_RUNNING = 3
    INTERRUPTED = 130  # 128 + SIGINT, as in a shell


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Command,
    *,
    summary: str,
    description: str,
    examples: Sequence[str],
    config: bool = True,
) -> argparse.ArgumentParser:
    """A subcommand with its help, examples at the end, and `--config` if it reads that file."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    if config:
        parser.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help="configuration file (default: ~/.config/ippusbd/ippusbd.conf, except for root, "
            "then /etc/ippusbd/ippusbd.conf)",
        )
    return parser


def positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    """An option's type: a number above 0."""

    def parse(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = kind(0)
        if not 0 < number < 1e9:
            raise argparse.ArgumentTypeError("must be a number above 0")
        return number

    return parse


def config_file(args: argparse.Namespace) -> Path | None:
    """The file that `load_config` reads; None if there is none and defaults are used."""
    from ippusbd.config import default_file

    named: Path | None = args.config
    return named or default_file(os.environ, os.getuid())


def load_config(args: argparse.Namespace) -> Config:
    """The configuration from --config, or from its default place."""
    from ippusbd.config import load

    return load(config_file(args))


def ask_status(config: Config) -> Status:
    """The running daemon's status. Raises as `ask_daemon` does, and for one of another schema."""
    from ippusbd.daemon.observe.status import read

    return read(ask_daemon(config, "status", dict))


def ask_daemon(config: Config, command: str, kind: type[T], **arguments: str) -> T:
    """The running daemon's answer to `command`. Raises NotRunning, or IppUsbError if refused."""
    from ippusbd.daemon.observe.control_client import ask

    (answer,) = at_daemon(config, lambda path: [ask(path, command, timeout_s=5.0, **arguments)])
    if not isinstance(answer, kind):
        raise IppUsbError("what answers on the control socket is not an ippusbd")
    return answer


def at_daemon(config: Config, call: Callable[[Path], Iterable[object]]) -> Iterator[object]:
    """What `call` yields at the control socket of the user's own daemon, else of the system's.

    Raises NotRunning.
    """
    from ippusbd.config import control_sockets

    paths = control_sockets(config, os.environ, os.getuid())
    for path in paths:
        try:
            yield from call(path)
            return
        except NotRunning as exc:
            if not isinstance(exc.__cause__, FileNotFoundError | ConnectionRefusedError):
                raise
    raise NotRunning(f"no daemon is running (none at {' or '.join(map(str, paths))})")


def store_folder(folder: Path | None, number: int) -> Path | None:
    """The directory of one virtual printer's documents; printers number their jobs alike."""
    if folder is None:
        return None
    path = folder / f"VIRTUAL{number}"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise IppUsbError(f"--store {path}: {exc.strerror}") from exc
    return path


def run_until_done(work: Coroutine[Any, Any, T]) -> T:
    """Imports asyncio only when it is needed."""
    from ippusbd.aio import run

    return run(work)
