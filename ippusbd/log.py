"""Log lines: one line each, fit for the journal or a terminal.

What a printer or a client sent never reaches a log raw: the formatter, the
last to touch a line, escapes every control character, so a device cannot
forge a line, colour a terminal or break the journal. A traceback continues
under its line, each further line marked by a bar that no first line has.

Knows logging; never who logs what. Areas are the loggers `ippusbd.AREA`.
"""

from __future__ import annotations

import logging
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Final, TextIO

ROOT: Final = "ippusbd"
MAX_LINE_CHARS: Final = 2000  # a printer's name may have 10 KB
_CUT: Final = "..."
_BAR: Final = "    | "
# Levels of sd-daemon(3): what a line on standard error is worth to the journal.
_JOURNAL: Final = ((logging.ERROR, "<3>"), (logging.WARNING, "<4>"), (logging.INFO, "<6>"))
_DEBUG: Final = "<7>"
# Other, control, format, surrogate, private, unassigned; separators of lines and paragraphs.
_HIDDEN: Final = ("C", "Zl", "Zp")


def printable(text: str, max_chars: int = MAX_LINE_CHARS) -> str:
    """`text` on one line, control characters as backslash escapes, cut at `max_chars`."""
    if len(text) > max_chars:
        text = text[: max_chars - len(_CUT)] + _CUT
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(char) for char in text)


def _escaped(char: str) -> str:
    if not unicodedata.category(char).startswith(_HIDDEN):
        return char
    return char.encode("unicode_escape").decode("ascii")


class LineFormatter(logging.Formatter):
    """`usb HP LaserJet: message`, with a priority for the journal or a time for people."""

    def __init__(self, *, journal: bool, stamped: bool = True) -> None:
        super().__init__()
        self._journal = journal
        self._stamped = stamped

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a line for each one of the traceback."""
        area = record.name.removeprefix(f"{ROOT}.")
        who = getattr(record, "printer", "")
        head = f"{area} {who}" if who else area
        first = printable(f"{head}: {record.getMessage()}")
        start = _priority(record.levelno) if self._journal else self._stamp(record)
        more = [printable(line) for line in self._traceback(record)]
        mark = start if self._journal else ""
        return "\n".join([start + first, *(f"{mark}{_BAR}{line}" for line in more)])

    def _stamp(self, record: logging.LogRecord) -> str:
        if not self._stamped:
            return ""
        time = self.formatTime(record, "%H:%M:%S")
        return f"{time}.{int(record.msecs):03d} {record.levelname.lower():7} "

    def _traceback(self, record: logging.LogRecord) -> list[str]:
        text = self.formatException(record.exc_info) if record.exc_info else ""
        return text.splitlines() + (record.stack_info or "").splitlines()


def _priority(level: int) -> str:
    return next((mark for bound, mark in _JOURNAL if level >= bound), _DEBUG)


class PrinterLog(logging.LoggerAdapter[logging.Logger]):
    """The log of one printer: its name stands in every line."""

    def process(
        self, msg: object, kwargs: MutableMapping[str, object]
    ) -> tuple[object, MutableMapping[str, object]]:
        """Put the printer beside what the caller gave."""
        extra = kwargs.get("extra")
        mine = dict(self.extra or {})
        kwargs["extra"] = {**mine, **extra} if isinstance(extra, Mapping) else mine
        return msg, kwargs


def printer_log(area: str, printer: str) -> PrinterLog:
    """The log of `printer` in `area`; read on a line as `area printer: message`."""
    return PrinterLog(logging.getLogger(f"{ROOT}.{area}"), {"printer": printable(printer, 80)})


def setup(
    level: str,
    levels: Iterable[tuple[str, str]] = (),
    *,
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> logging.Handler:
    """Send all logs to `stream` (standard error); what is not ours only from warning up."""
    stream = sys.stderr if stream is None else stream
    environ = os.environ if environ is None else environ
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(journal=is_journal(stream, environ)))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    set_level("", level)
    for area, area_level in levels:
        set_level(area, area_level)
    return handler


def to_syslog(program: str, address: str = "/dev/log") -> None:
    """Send all logs to the system's log instead. Without one, they go where they went."""
    from logging.handlers import SysLogHandler

    if not Path(address).is_socket():  # the handler itself would only drop lines
        logging.getLogger(ROOT).warning("no system log at %s", address)
        return
    handler = SysLogHandler(address, facility=SysLogHandler.LOG_LPR)
    handler.ident = f"{program}[{os.getpid()}]: "
    handler.setFormatter(LineFormatter(journal=False, stamped=False))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)


def set_level(area: str, level: str) -> None:
    """Change the level of `area`, or of all for the empty one."""
    logging.getLogger(f"{ROOT}.{area}" if area else ROOT).setLevel(level.upper())


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Does `stream` lead to the journal? JOURNAL_STREAM names it as DEVICE:INODE."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False  # not a file, or closed
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
