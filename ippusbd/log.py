"""Log lines: one line each, fit for the journal or a terminal.

What a printer or a client sent never reaches a log unescaped: the formatter,
the last step of every line, escapes control characters, so a device cannot
forge a line, colour a terminal or break the journal. A traceback follows its
line, each further line marked by a bar that no first line has.

Knows logging, and the table of areas; never what is logged.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Final, TextIO

from ippusbd.errors import IppUsbError
from ippusbd.journal import SOCKET, Journal, open_journal
from ippusbd.kinds import Diagnosis

ROOT: Final = "ippusbd"
# Every logger is `ippusbd.AREA`; users name areas in `journalctl AREA=dnssd` and [log] levels.
AREAS: Final = ("usb", "http", "dnssd", "daemon", "broker", "virtual")
LEVELS: Final = ("debug", "info", "warning", "error")
MAX_LINE_CHARS: Final = 2000  # a printer's name may have 10 KB
_PIECE_CHARS: Final = select.PIPE_BUF // 4  # UTF-8 has at most 4 bytes a character
READER_PAUSE_S: Final = 0.05  # that a reader of the log may be behind before lines are lost
_CUT: Final = "..."
_BAR: Final = "    | "
# Prefixes of sd-daemon(3): the priority of a line on standard error.
_JOURNAL: Final = ((logging.ERROR, "<3>"), (logging.WARNING, "<4>"), (logging.INFO, "<6>"))
_DEBUG: Final = "<7>"
# Other, control, format, surrogate, private, unassigned; separators of lines and paragraphs.
_HIDDEN: Final = ("C", "Zl", "Zp")


def escaped(text: str, max_chars: int = MAX_LINE_CHARS) -> str:
    """`text` on one line, control characters as backslash escapes, cut at `max_chars`."""
    if len(text) > max_chars:
        text = text[: max_chars - len(_CUT)] + _CUT
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(char) for char in text)


def _visible(char: str) -> str:
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
        """The line, and one for each line of the traceback."""
        area = record.name.removeprefix(f"{ROOT}.")
        first = escaped(f"{area}{_context(record)}: {record.getMessage()}")
        start = _priority(record.levelno) if self._journal else self._stamp(record)
        more = [escaped(line) for line in self._traceback(record)]
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


def _context(record: logging.LogRecord) -> str:
    """The printer, unless the message begins with its name; the request's number."""
    printer, number = getattr(record, "printer", ""), getattr(record, "request", 0)
    named = bool(printer) and not record.getMessage().startswith(printer)
    return (f" {printer}" if named else "") + (f" #{number}" if number else "")


def _priority(level: int) -> str:
    return next((mark for bound, mark in _JOURNAL if level >= bound), _DEBUG)


# --- the printer and request that a line is about

_CONTEXT: Final[ContextVar[tuple[str, int]]] = ContextVar("ippusbd.context", default=("", 0))


def set_context(printer: str, request: int = 0) -> None:
    """Set the context of all lines that this task, and the tasks it starts, log from here on.

    `printer` is a name fit for a line (`escaped`); `request` counts from 1.
    """
    _CONTEXT.set((printer, request))


def diagnosis_of(record: logging.LogRecord) -> Diagnosis | None:
    """What a line is about: the first of its arguments that is an error of ours or a diagnosis."""
    for each in record.args if isinstance(record.args, tuple) else ():
        if isinstance(each, Diagnosis):
            return each
        if isinstance(each, IppUsbError):
            return each.diagnosis
    return None


class ContextFilter(logging.Filter):
    """Adds the context to a record, for handlers; drops nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "printer"):
            record.printer, record.request = _CONTEXT.get()
        return True


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes to a stream whose reader may have stopped: a terminal after Ctrl-S, a full pipe.

    The daemon does not wait for a reader: once one took nothing for a moment, lines are lost until
    it reads again, and the next line is about how many.
    """

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__(stream)
        self.setFormatter(formatter)
        self.addFilter(ContextFilter())
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = f"{self.format(record)}\n"
            if self._lost:
                text = f"\n({self._lost} log entries are lost: nobody read them)\n{text}"
            self._lost = 0 if self._write(text) else self._lost + 1
        except (OSError, ValueError, TypeError):
            self.handleError(record)

    def _write(self, text: str) -> bool:
        """Write in pieces that a pipe takes as a whole; False when the reader takes no more."""
        for start in range(0, len(text), _PIECE_CHARS):
            if not _takes_more(self.stream, 0 if self._lost else READER_PAUSE_S):
                return False
            self.stream.write(text[start : start + _PIECE_CHARS])
            self.flush()
        return True


def _takes_more(stream: TextIO, timeout_s: float) -> bool:
    """Whether a line can be written without waiting; a file and a dead reader take all of them."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
    except (OSError, ValueError):
        return True  # in memory, or closed: for the write to find out
    return bool(poll.poll(timeout_s * 1000))


class JournalHandler(logging.Handler):
    """Sends records to the journal with their fields: `journalctl PRINTER=... KIND=...`."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal
        self.setFormatter(LineFormatter(journal=False, stamped=False))
        self.addFilter(ContextFilter())

    def emit(self, record: logging.LogRecord) -> None:
        number, about = getattr(record, "request", 0), diagnosis_of(record)
        fields = {
            "MESSAGE": self.format(record),
            "PRIORITY": _priority(record.levelno)[1],
            "SYSLOG_IDENTIFIER": ROOT,
            "AREA": record.name.removeprefix(f"{ROOT}."),
            "PRINTER": getattr(record, "printer", ""),
            "KIND": about.kind if about is not None else "",
            "REQUEST": str(number) if number else "",
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName or "",
        }
        self._journal.send(fields)

    def close(self) -> None:
        self._journal.close()
        super().close()


# --- where lines go, and which


def setup(
    level: str,
    levels: Iterable[tuple[str, str]] = (),
    *,
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
    journal: str = SOCKET,
) -> logging.Handler:
    """Send all logs to `stream` (standard error); those of libraries from warning up.

    If `stream` is systemd's journal, records are sent by its own protocol, with fields.
    """
    stream = sys.stderr if stream is None else stream
    environ = os.environ if environ is None else environ
    to_journal = is_journal(stream, environ)
    native = open_journal(journal) if to_journal else None
    handler: logging.Handler
    if native is not None:
        handler = JournalHandler(native)
    else:
        handler = LineHandler(stream, LineFormatter(journal=to_journal))
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
    """Send all logs to the system log instead; unchanged where there is none."""
    from logging.handlers import SysLogHandler

    if not Path(address).is_socket():  # the handler itself would silently drop lines
        logging.getLogger(ROOT).warning("no system log at %s", address)
        return
    handler = SysLogHandler(address, facility=SysLogHandler.LOG_LPR)
    handler.ident = f"{program}[{os.getpid()}]: "
    handler.setFormatter(LineFormatter(journal=False, stamped=False))
    handler.addFilter(ContextFilter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)


def set_level(area: str, level: str) -> None:
    """Set the level of `area`, or, if it is empty, of every area."""
    logging.getLogger(f"{ROOT}.{area}" if area else ROOT).setLevel(level.upper())
    for each in () if area else AREAS:
        logging.getLogger(f"{ROOT}.{each}").setLevel(logging.NOTSET)


def levels() -> dict[str, str]:
    """The level in force for each area."""
    loggers = {area: logging.getLogger(f"{ROOT}.{area}") for area in AREAS}
    names = {area: logging.getLevelName(each.getEffectiveLevel()) for area, each in loggers.items()}
    return {area: name.lower() for area, name in names.items()}


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` is the journal: JOURNAL_STREAM names it as DEVICE:INODE."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False  # not a file, or closed
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
