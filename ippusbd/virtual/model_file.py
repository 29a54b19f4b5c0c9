"""A captured device as a file: its answer to Get-Printer-Attributes and its ScannerCapabilities.

A model file is a ZIP archive with one or both of

    Get-Printer-Attributes.ipp   the IPP response, from the version number to the end tag
    ScannerCapabilities.xml      the eSCL document

A folder with these files, a single `.ipp` and a single `.xml` file are read, too. The bytes are
never interpreted here: a wrong encoding is part of what was captured.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ippusbd.errors import WrongUsage

IPP_NAME: Final = "Get-Printer-Attributes.ipp"
XML_NAME: Final = "ScannerCapabilities.xml"
SIZE_MAX: Final = 16 << 20  # of one answer
SAME_BYTES_DATE: Final = (1980, 1, 1, 0, 0, 0)  # equal answers make equal files


@dataclass(frozen=True, slots=True)
class DeviceAnswers:
    """What a device answered; empty: it has no such function."""

    ipp: bytes = b""
    xml: bytes = b""

    def packed(self) -> bytes:
        """The contents of a model file."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in ((IPP_NAME, self.ipp), (XML_NAME, self.xml)):
                if data:
                    archive.writestr(zipfile.ZipInfo(name, SAME_BYTES_DATE), data)
        return out.getvalue()


def load(path: Path) -> DeviceAnswers:
    """The answers in a model file, a folder, or a single file. Raises ConfigError."""
    try:
        if path.is_dir():
            found = DeviceAnswers(_optional(path / IPP_NAME), _optional(path / XML_NAME))
        elif path.suffix in (".ipp", ".xml"):
            found = DeviceAnswers(**{path.suffix[1:]: _bounded(path)})
        else:
            found = _unpacked(path)
    except OSError as exc:
        raise WrongUsage(f"model file {path}: {exc.strerror or exc}") from exc
    if not (found.ipp or found.xml):
        raise WrongUsage(f"model file {path}: it has neither {IPP_NAME} nor {XML_NAME}")
    return found


def _optional(path: Path) -> bytes:
    return _bounded(path) if path.exists() else b""


def _bounded(path: Path) -> bytes:
    if path.stat().st_size > SIZE_MAX:
        raise WrongUsage(f"model file {path}: over {SIZE_MAX} bytes")
    return path.read_bytes()


def _unpacked(path: Path) -> DeviceAnswers:
    try:
        with zipfile.ZipFile(path) as archive:
            return DeviceAnswers(_member(archive, IPP_NAME, path), _member(archive, XML_NAME, path))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as exc:
        raise WrongUsage(
            f"model file {path}: not a ZIP archive, folder, .ipp or .xml file ({exc})"
        ) from exc


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    if name not in archive.namelist():
        return b""
    with archive.open(name) as member:
        data = member.read(SIZE_MAX + 1)
    if len(data) > SIZE_MAX:
        raise WrongUsage(f"model file {path}: {name} is over {SIZE_MAX} bytes")
    return data
