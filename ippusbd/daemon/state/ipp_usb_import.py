"""Imports ipp-usb's port and name of a printer, so that existing print queues keep working, and
its access rules, so that a printer that was closed stays closed.

ipp-usb keeps a file per device, whose name changed with its versions (newest first):

    VVVV-PPPP-SERIAL-MODEL.state     VVVV-PPPP-MODEL.state     without a serial number
                                     VVVV-PPPP--MODEL.state    the same, earlier
    VVVV-SERIAL-PRODUCT.state

Every character but ASCII letters, digits, `-` and `_` is replaced by `-`; MODEL is manufacturer
and product (`DeviceFacts.ipp_usb_model`). The strings here have single blanks only, so any
number of `-` counts as one.

    [device]
    http-port = 60000
    dns-sd-name = "Example Printer"
    dns-sd-override = "Example Printer (USB)"    # as it was announced

Before the first announcement the override is the name, to which " (USB)" is then added.
It is read once, when a printer is seen for the first time, and never written. A value that cannot
be read is ignored. Access rules of its configuration hold here until [access] sets the same.
Knows files; neither state nor sockets.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ippusbd import ipp_usb_conf
from ippusbd.config import Config
from ippusbd.daemon.state.files import make_directory, replace_file
from ippusbd.errors import StateError
from ippusbd.ini_lines import lines
from ippusbd.ipp_usb_conf import IppUsbConf
from ippusbd.model import DeviceFacts
from ippusbd.users.accounts import Account

log = logging.getLogger("ippusbd.daemon")

MAX_FILE_BYTES: Final = 1 << 16
MAX_NAME_BYTES: Final = 63  # of a DNS-SD name


def access(config: Config, folder: Path) -> Mapping[str, tuple[Account, ...]]:
    """The access rules of ipp-usb, by key of [access]; those of a key that is set are not used.

    A copy of its file in `folder`, our state directory, outlives the file. Blocks.
    """
    conf = ipp_usb_conf.found(config, folder)
    if conf is None:
        return {}
    copy = folder / ipp_usb_conf.COPY
    if conf.path != copy:
        _keep(conf, copy)
    unset = sorted(conf.access.keys() - config.access_set)
    if unset:
        log.warning(
            "access is restricted by %s (%s) until [access] sets it; see `ippusbd migrate`",
            conf.path,
            ", ".join(unset),
        )
    for remark in (remark for remark in conf.remarks if remark.wrong):
        log.warning("%s", remark)
    return conf.access


def _keep(conf: IppUsbConf, copy: Path) -> None:
    """Rules that close something are kept, the copy of others is deleted."""
    try:
        if not conf.access:
            copy.unlink(missing_ok=True)
        elif (document := conf.path.read_bytes()) != _bytes(copy):
            make_directory(copy.parent)
            replace_file(copy, document)
    except (OSError, StateError) as exc:
        log.warning("cannot keep a copy of %s as %s: %s", conf.path, copy, exc)


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


@dataclass(frozen=True, slots=True)
class Imported:
    """A port (0: unknown) and a name (empty: unknown)."""

    port: int
    name: str


def find(folder: Path, facts: DeviceFacts) -> Imported | None:
    """What a file in `folder` says about the device. Blocks."""
    try:
        files = sorted(path.name for path in folder.iterdir())
    except OSError:
        return None
    for name in file_names(facts):
        like = [file for file in files if _squeezed(file) == _squeezed(name)]
        for file in sorted(like, key=lambda file: file != name):
            imported = _read(folder / file)
            if imported.port or imported.name:
                return imported
    return None


def _read(path: Path) -> Imported:
    try:
        with path.open("rb") as file:
            return parse(file.read(MAX_FILE_BYTES).decode("utf-8", "replace"))
    except OSError:
        return Imported(0, "")


def file_names(facts: DeviceFacts) -> list[str]:
    """Names of the device's file in the versions of ipp-usb, newest first."""
    vendor, product = f"{facts.usb_id.vendor:04x}", f"{facts.usb_id.product:04x}"
    models = (facts.ipp_usb_model, facts.model, facts.product)
    names = [
        "-".join(filter(None, (ids, facts.serial, model)))
        for ids in (f"{vendor}-{product}", vendor)
        for model in models
    ]
    return [f"{re.sub('[^0-9A-Za-z_-]', '-', name)}.state" for name in dict.fromkeys(names)]


def _squeezed(name: str) -> str:
    return re.sub("-+", "-", name).replace("-.", ".")


def parse(document: str) -> Imported:
    """The valid values in the section `[device]`."""
    found = (line for line in lines(document) if line.section == "device" and not line.error)
    values = {line.key: line.value for line in found}
    port = values.get("http-port", "")
    name = values.get("dns-sd-name", "")
    override = values.get("dns-sd-override", "")
    if override not in ("", name):
        name = override
    elif name:
        name += " (USB)"
    fits = 0 < len(name.encode()) <= MAX_NAME_BYTES and name.isprintable()
    return Imported(int(port) if re.fullmatch("[0-9]{1,5}", port) else 0, name if fits else "")
