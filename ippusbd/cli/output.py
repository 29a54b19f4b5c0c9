"""Standard output and standard error, which may be closed, full or without a reader.

A result that cannot be printed fails its command; a message that only accompanies the work is
dropped, and the work goes on: nobody loses a printer because a terminal was closed.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from contextlib import suppress

from ippusbd.errors import IppUsbError


class OutputFailed(IppUsbError):
    """Standard output does not accept a command's result."""


def prepare_streams() -> None:
    """Replace closed standard streams, whose numbers the next open file would get.

    Names that the locale cannot represent are printed with escapes.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def write(text: str, end: str = "\n") -> None:
    """Print a result. Raises OutputFailed, or BrokenPipeError when its reader has left."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        discard_output()
        raise
    except OSError as exc:
        discard_output()
        raise OutputFailed(f"cannot write to standard output: {exc.strerror}") from exc


def show(lines: Iterable[str], end: str = "\n") -> None:
    """Print lines of a result, with control characters from devices escaped."""
    from ippusbd.log import escaped

    for line in lines:
        write(escaped(line), end)


def tell(lines: Iterable[str], end: str = "\n") -> None:
    """Print lines that nothing depends on; from the first failure on they are discarded."""
    try:
        show(lines, end)
    except (BrokenPipeError, OutputFailed) as exc:
        import logging

        log = logging.getLogger("ippusbd.daemon")
        log.info("continuing without standard output: %s", exc.__cause__ or exc)


def discard_output() -> None:
    """Discard what is printed from here on, also what Python would flush at its exit."""
    with suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
