"""What survives a restart: each printer's port and name, what was learned about it, and when it
was sent a document, which it may still print.

A printer keeps its port permanently, plugged in or not, so that a print queue
created today works in a year. The file is replaced as a whole. A file that
cannot be parsed is renamed, and one that cannot be read is left alone: neither is
overwritten, and neither keeps a printer from being served. A damaged record
affects only its own printer.

Changes apply in memory at once and are written soon, in a thread while a loop runs.
Knows printers by `DeviceFacts.key`; knows no devices and not what quirks mean.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from ippusbd.daemon.state.files import make_directory, replace_file
from ippusbd.errors import StateError
from ippusbd.kinds import Kind
from ippusbd.users.ownership import why

log = logging.getLogger("ippusbd.daemon")

VERSION: Final = 1
DEFAULT_PORTS: Final = range(60000, 65536)
MAX_FILE_BYTES: Final = 16 << 20
RETRY_MIN_S, RETRY_MAX_S = 1.0, 60.0  # pauses after a write that failed
MAX_PRINTERS: Final = 4096  # a device may show a new serial number at every plug


@dataclass(slots=True)
class Record:
    """One printer; `last_seen` in seconds since the epoch."""

    port: int = 0  # 0: none yet
    name: str = ""
    taken_over: str = ""  # the name that ipp-usb gave it
    last_seen: int = 0
    learned: dict[str, object] = field(default_factory=dict)  # quirk settings
    recovery: str = ""  # the last rung of the recovery ladder that helped
    document_at: int = 0  # the end of the last whole document, in seconds since the epoch
    document_address: str = ""  # on the bus, of the printer then: another one after a replug


class StateFile:
    """The known printers, kept in `path`; new ones get a port from `ports`.

    Raises StateError if the directory cannot be created.
    """

    def __init__(
        self,
        path: Path,
        ports: range = DEFAULT_PORTS,
        *,
        clock: Callable[[], float] = time.time,
        replace: Callable[[Path, bytes], None] = replace_file,
        retry_s: float = RETRY_MIN_S,
    ) -> None:
        self._path = path
        self._ports = ports
        self._clock = clock
        self._replace = replace
        self._retry_s = retry_s
        self._dirty = False
        self._failing = False  # the last write failed
        self._closing = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        make_directory(path.parent)
        self._keep = False  # a file that must not be replaced
        try:
            self._printers = _read(path)
        except StateError as exc:
            self._printers, self._keep = {}, True
            log.error("%s. Ports and names are temporary until this daemon is restarted", exc)

    @property
    def folder(self) -> Path:
        """The directory of the file, private to the daemon."""
        return self._path.parent

    # --- ports and names

    def port_for(self, key: str, is_free: Callable[[int], bool] = lambda port: True) -> int:
        """The printer's own port; `is_free(port)`: no other program listens on it.

        While another program does, the printer gets a temporary port and keeps its own.
        Raises StateError when no port is free.
        """
        record = self._seen(key)
        if record.port in self._ports:
            if is_free(record.port):
                return record.port
            port = self._unowned(is_free)
            log.warning("port %d of %s is in use; using %d for now", record.port, key, port)
            return port
        record.port = self._unowned(is_free)
        self._changed()
        return record.port

    def inherit(self, key: str, port: int, name: str) -> None:
        """Import a new printer's port and name; a port that another printer owns is not taken."""
        owned = {record.port for record in self._printers.values()}
        record = self._seen(key)
        record.name = record.taken_over = name
        if port in self._ports and port not in owned:
            record.port = port
        self._changed()

    def name_for(self, key: str) -> str:
        """Its last DNS-SD name; empty if it had none."""
        record = self._printers.get(key)
        return record.name if record else ""

    def name_taken_over(self, key: str) -> bool:
        """Whether `name_for` is the name that ipp-usb gave it."""
        record = self._printers.get(key)
        return record is not None and record.name == record.taken_over != ""

    def set_name(self, key: str, name: str) -> None:
        """Keep the DNS-SD name."""
        self._seen(key).name = name
        self._changed()

    # --- what was learned

    def learned(self, key: str) -> Mapping[str, object]:
        """Quirk settings that the daemon learned about the printer."""
        record = self._printers.get(key)
        return dict(record.learned) if record else {}

    def learn(self, key: str, setting: str, value: object) -> None:
        """Keep a quirk setting for this printer."""
        self._seen(key).learned[setting] = value
        self._changed()

    def forget(self, key: str) -> None:
        """Discard what was learned about a printer; its port and name stay."""
        if record := self._printers.get(key):
            record.learned, record.recovery = {}, ""
            self._changed()

    def recovery(self, key: str) -> str:
        """The rung that recovered the printer last; empty if none is known."""
        record = self._printers.get(key)
        return record.recovery if record else ""

    def set_recovery(self, key: str, rung: str) -> None:
        """Keep the rung that helped; it is tried first the next time."""
        self._seen(key).recovery = rung
        self._changed()

    # --- the last document

    def set_document(self, key: str, address: str, age_s: float) -> None:
        """The last whole document went to the printer so long ago; infinity: there is none."""
        record = self._seen(key)
        record.document_at = int(max(self._clock() - age_s, 0))
        record.document_address = address
        self._changed()

    def document_age_s(self, address: str) -> float:
        """How long ago the last whole document went to the device there; infinity: none is known.

        In any doubt, as when the clock was set back, none is.
        """
        now = int(self._clock())
        found = [r for r in self._printers.values() if r.document_address == address]
        ages = [now - record.document_at for record in found]
        return min((age for age in ages if 0 <= age < now), default=math.inf)

    def printers(self) -> dict[str, Record]:
        """All known printers by key, read-only."""
        return dict(self._printers)

    # --- writing

    def save(self) -> None:
        """Write changes now; blocks. A failure is logged, and the write is retried later."""
        if self._dirty and not self._keep:
            self._dirty = False
            self._write(self._document())

    async def close(self) -> None:
        """Write the changes that are not on disk; a write that fails is not retried any more."""
        self._closing.set()
        if self._writing is not None:
            await self._writing
        await asyncio.to_thread(self.save)

    def _changed(self) -> None:
        self._dirty = True
        if self._keep:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.save()
            return
        if self._writing is None or self._writing.done():
            self._writing = loop.create_task(self._write_behind(), name="state-writer")

    async def _write_behind(self) -> None:
        """Write until nothing is left; after a failure again, with growing pauses."""
        pause_s = self._retry_s
        while self._dirty and not self._closing.is_set():
            self._dirty = False
            await asyncio.to_thread(self._write, self._document())
            if self._failing:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._closing.wait()
                pause_s = min(2 * pause_s, RETRY_MAX_S)

    def _document(self) -> bytes:
        printers = {key: asdict(record) for key, record in self._printers.items()}
        return json.dumps({"version": VERSION, "printers": printers}, indent=1).encode()

    def _write(self, document: bytes) -> None:
        try:
            make_directory(self._path.parent)  # it may have been removed
            self._replace(self._path, document)
        except (OSError, StateError) as exc:
            if not self._failing:
                what = "cannot write %s, ports may change after a restart: %s"
                log.error(what, self._path, getattr(exc, "strerror", None) or exc)
            self._failing = self._dirty = True
        else:
            if self._failing:
                log.info("%s is written again", self._path)
            self._failing = False

    # --- records

    def _seen(self, key: str) -> Record:
        """The printer's record, created if it is new, with the time of this use."""
        record = self._printers.get(key)
        if record is None:
            if len(self._printers) >= MAX_PRINTERS:
                self._drop_longest_unseen()
            record = self._printers[key] = Record()
        record.last_seen = int(self._clock())
        return record

    def _drop_longest_unseen(self) -> None:
        oldest = min(self._printers, key=lambda key: self._printers[key].last_seen)
        log.warning(
            "%d printers are known; dropping the one unused for longest: %s",
            len(self._printers),
            oldest,
        )
        del self._printers[oldest]

    def _unowned(self, is_free: Callable[[int], bool]) -> int:
        """The lowest free port without an owner, or the one of the printer unused for longest."""
        owned = {record.port for record in self._printers.values()}
        for port in self._ports:
            if port not in owned and is_free(port):
                return port
        return self._taken_over(is_free)

    def _taken_over(self, is_free: Callable[[int], bool]) -> int:
        owners = [r for r in self._printers.values() if r.port in self._ports]
        for record in sorted(owners, key=lambda r: r.last_seen):
            port = record.port
            if is_free(port):
                log.warning(
                    "no port is left: reassigning port %d of the printer unused for longest", port
                )
                record.port = 0
                self._changed()
                return port
        first, last = self._ports.start, self._ports.stop - 1
        raise StateError(kind=Kind.PORTS, first=first, last=last)


# --- reading


def _read(path: Path) -> dict[str, Record]:
    """The printers in `path`; none when there is no file, or one that cannot be parsed."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise StateError(f"cannot read {path}: {why(exc, path)}") from exc
    try:
        return _parse(raw)
    except (ValueError, RecursionError) as exc:
        _keep_aside(path, exc)
        return {}


def _keep_aside(path: Path, reason: Exception) -> None:
    aside = path.with_name(f"{path.name}.corrupt")
    log.warning(
        "%s cannot be parsed (%s); kept as %s; starting empty, ports may change",
        path,
        reason,
        aside.name,
    )
    try:
        path.replace(aside)
    except OSError as exc:
        raise StateError(f"cannot rename {path}: {why(exc, path)}") from exc


def _parse(raw: bytes) -> dict[str, Record]:
    """Raises ValueError for anything but a state file of this version."""
    document = json.loads(raw)
    if not isinstance(document, dict) or not isinstance(document.get("printers"), dict):
        raise ValueError("not a state file")
    if document.get("version") != VERSION:
        raise ValueError(f"version {document.get('version')!r}, this is {VERSION}")
    printers: dict[str, Record] = {}
    ports: set[int] = set()
    for key, value in list(document["printers"].items())[:MAX_PRINTERS]:
        record = _record(value)
        if record.port in ports:  # an edited file: the first printer keeps the port
            record.port = 0
        ports |= {record.port} - {0}
        printers[key] = record
    return printers


def _record(value: object) -> Record:
    """A record of the fields with the right type; the others get their defaults."""
    record = Record()
    for name, given in value.items() if isinstance(value, dict) else ():
        if name in Record.__slots__ and type(given) is type(getattr(record, name)):
            setattr(record, name, given)
    return record
