"""`ippusbd doctor --report FILE`: one file to attach to a bug report.

It is shown before it is written, and contains no serial numbers, names of printers and users,
addresses, host names or documents. The file is new and readable by its owner only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ippusbd import __version__
from ippusbd.cli.common import Exit
from ippusbd.cli.output import show
from ippusbd.cli.quirks import effective
from ippusbd.errors import IppUsbError, WrongUsage

if TYPE_CHECKING:
    from ippusbd.daemon.observe.status import Status
    from ippusbd.doctor.examination import Examination
    from ippusbd.doctor.machine import Machine
    from ippusbd.doctor.redaction import Redaction

LIBRARIES: Final = ("aiohttp", "pyusb", "zeroconf", "dbus-fast", "pyudev", "ifaddr", "cryptography")
LOG_LINES: Final = 400
ROW_BYTES: Final = 32


def refuse(path: Path, *, unasked: bool) -> None:
    """Raises if the report could not be written in the end."""
    if path.exists() or path.is_symlink():
        raise IppUsbError(f"{path} exists: name a new file")
    if not unasked and not sys.stdin.isatty():
        raise WrongUsage("--report asks before it writes: run it on a terminal, or give --yes")


def run(args: argparse.Namespace, examination: Examination) -> Exit:
    """Show the report, ask, write it."""
    from ippusbd.log import escaped

    path: Path = args.report
    refuse(path, unasked=args.yes)
    redaction = _redaction(examination)
    report = [escaped(redaction.line(line)) for line in lines(examination)]
    show(report)
    if not args.yes and not _agreed(f"Write this to {path}? [y/N] "):
        show(["nothing is written"])
        return Exit.FAILED
    _write(path, "".join(f"{line}\n" for line in report))
    show([f"wrote {path}: read it once more before you publish it"])
    return Exit.OK


def lines(examination: Examination) -> Iterator[str]:
    """The report, with all that is private."""
    from ippusbd.doctor.findings import lines as finding_lines

    yield "# ippusbd report; serial numbers, names and addresses are replaced"
    yield from _section("versions", _versions(examination.machine))
    yield from _section("findings", finding_lines(examination.everything()))
    status = examination.answer.status
    yield from _section("status", _status(status) if status is not None else ())
    yield from _section("descriptors", _descriptors(examination.machine))
    yield from _section("quirks", _quirks(examination))
    yield from _section("log", _log(examination))


def _section(title: str, content: Iterable[str]) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    is_empty = True
    for line in content:
        is_empty = False
        yield line
    if is_empty:
        yield "none"


def _versions(machine: Machine) -> Iterator[str]:
    from ippusbd.usbio.libusb import installed_version

    yield f"ippusbd {__version__} ({Path(__file__).parents[1]})"
    yield f"Python {platform.python_version()}, Linux {platform.release()} {platform.machine()}"
    with suppress(OSError):
        yield f"distribution {platform.freedesktop_os_release().get('PRETTY_NAME', '?')}"
    yield f"libusb {installed_version() or 'none'}"
    yield f"init system {machine.commands.init or 'none that is known'}"
    for name in LIBRARIES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name}: not installed as a Python package"
    for program in ("avahi-daemon", "cups-config"):
        code, out = machine.run([program, "--version"])
        yield f"{program}: {out.strip() if code == 0 else 'none'}"


def _status(status: Status) -> Iterator[str]:
    """Without messages of printers, which may name documents."""
    from ippusbd.dataclass_json import encode

    rows = tuple(
        replace(row, condition=replace(row.condition, message="") if row.condition else None)
        for row in status.printers
    )
    yield from json.dumps(encode(replace(status, printers=rows)), indent=1).splitlines()


def _descriptors(machine: Machine) -> Iterator[str]:
    from ippusbd.doctor.devices import printers

    for printer in printers(machine):
        yield f"{printer.label}, drivers: {', '.join(printer.drivers) or 'none'}"
        raw = printer.descriptors
        yield from (
            f"  {raw[at : at + ROW_BYTES].hex(' ')}" for at in range(0, len(raw), ROW_BYTES)
        )


def _quirks(examination: Examination) -> Iterator[str]:
    """What holds for each printer, from the daemon or from the bus."""
    from ippusbd.doctor.devices import printers
    from ippusbd.quirks.load import load
    from ippusbd.quirks.match import MatchTarget

    table = load(examination.config.quirks_dirs)
    known = {row.model or row.id: None for row in examination.answer.printers}
    known |= {each.name or str(each.usb_id): None for each in printers(examination.machine)}
    for name in known:
        yield from effective(table.effective_for(MatchTarget.from_text(name)), name)
    yield from (f"not used: {line}" for line in table.unused)


def _log(examination: Examination) -> Iterator[str]:
    """Of the service, as far as this user may read it, and the daemon's last errors."""
    from ippusbd.doctor.service import log_lines

    told = list(log_lines(examination.machine, LOG_LINES))
    yield from told or [f"none that can be read here; {examination.machine.commands.log}"]
    if examination.answer.status is not None:
        for each in examination.answer.status.recent:
            yield f"recent: {each.level}: {each.printer}: {each.text} ({each.times} times)"


def _redaction(examination: Examination) -> Redaction:
    """Of what is private here: serials and names of printers, users, the machine's name."""
    from ippusbd.doctor.devices import printers
    from ippusbd.doctor.redaction import Redaction, host_name, people

    rows, found = examination.answer.printers, printers(examination.machine)
    return Redaction(
        serials=[*(row.serial for row in rows), *(each.serial for each in found)],
        # A name that is the model with a suffix says no more than the model.
        names=[row.name for row in rows if not (row.model and row.name.startswith(row.model))],
        people=people(),
        host=host_name(),
    )


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _write(path: Path, text: str) -> None:
    """Create the file; nothing that exists is opened."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as exc:
        raise IppUsbError(f"{path}: {exc.strerror}") from exc
