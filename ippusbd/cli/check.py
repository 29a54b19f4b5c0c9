"""`ippusbd check`: is everything right that can be known before the daemon starts?

Each line is `ok`, `note` or `FAIL`; any FAIL makes the exit code 1. A configuration
that is wrong ends it at once, with exit code 2.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ippusbd.cli.common import (
    Exit,
    add_command,
    add_config_option,
    ask_daemon,
    config_file,
    load_config,
    run_until_done,
    show,
)
from ippusbd.errors import AccessDenied, DeviceBusy, IppUsbError, NotRunning

if TYPE_CHECKING:
    from ippusbd.config import Config
    from ippusbd.model import DeviceFacts
    from ippusbd.quirks.load import QuirkTable
    from ippusbd.usbio.protocols import UsbHost

OK, NOTE, FAIL = "ok", "note", "FAIL"
Finding = tuple[str, str]


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    parser = add_command(
        commands,
        "check",
        run,
        summary="check the configuration and the USB devices",
        description="Check the configuration, the quirk files, the directories and the USB\n"
        "devices, with the reason for each device that cannot be used. Changes\n"
        "nothing; a device that a running daemon serves is not touched.",
        examples=[
            "ippusbd check",
            "ippusbd check --config ./new.conf && systemctl restart ippusbd",
        ],
    )
    add_config_option(parser)


def run(args: argparse.Namespace) -> int:
    """Look at one thing after the other, printing what is found."""
    from ippusbd.daemon.access_config import access_of
    from ippusbd.quirks.load import load

    config = load_config(args)
    access_of(config)  # raises for users and groups that are not known here
    quirks = load(config.quirks_dirs)
    findings = [*_files(config_file(args), quirks), *_directories(config), *_sharing(config)]
    running = _running(config)
    findings.append(running)
    findings += run_until_done(_devices(config, quirks, served=running[0] == OK))
    show(f"{kind:<4}  {text}" for kind, text in findings)
    return Exit.FAILED if any(kind == FAIL for kind, _ in findings) else Exit.OK


def _files(file: Path | None, quirks: QuirkTable) -> Iterator[Finding]:
    yield OK, f"configuration: {file or 'no file, the defaults hold'}"
    own = sum(not entry.built_in for entry in quirks.entries)
    yield OK, f"quirks: {len(quirks.entries)} entries, {own} of them your own"


def _directories(config: Config) -> Iterator[Finding]:
    from ippusbd.config import runtime_dir, state_dir

    for name, folder in (("state", state_dir), ("sockets", runtime_dir)):
        path = folder(config, os.environ, os.getuid())
        there = next(p for p in (path, *path.parents) if p.exists())
        if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            yield OK, f"{name}: {path}"
        else:
            yield FAIL, f"{name}: {path}: {there} may not be written by you"


def _sharing(config: Config) -> Iterator[Finding]:
    """With whom printers are shared. Raises ConfigError for files that cannot be used."""
    if not config.share_interfaces:
        return
    from ippusbd.daemon.share.certificate import configured
    from ippusbd.daemon.share.interfaces import look
    from ippusbd.users.passwords import Users

    if config.share_certificate is not None and config.share_key is not None:
        configured(config.share_certificate, config.share_key)
    if config.share_users_file is not None:
        Users(config.share_users_file)
    where = [f"{address.text} ({address.interface})" for address in look(config.share_interfaces)]
    if not where:
        names = ", ".join(config.share_interfaces).replace("*", "any interface")
        yield NOTE, f"sharing: {names}: no address now"
        return
    how = "with a password" if config.share_users_file else "without a password"
    yield OK, f"sharing: on {', '.join(where)}, {how}"


def _running(config: Config) -> Finding:
    try:
        status = ask_daemon(config, "status")
    except NotRunning:
        return NOTE, "daemon: not running (start it with: ippusbd run)"
    except IppUsbError as exc:
        return NOTE, f"daemon: {exc}"
    return OK, f"daemon: running, process {status.get('pid') if isinstance(status, dict) else '?'}"


async def _devices(config: Config, quirks: QuirkTable, *, served: bool) -> list[Finding]:
    """USB printers; those that the running daemon serves are not opened beside it."""
    from ippusbd.usbio.pyusb_host import PyusbHost

    host = PyusbHost()
    try:
        survey = await host.survey()
        if not survey:
            return [(NOTE, "devices: no USB printer is connected")]
        return [await _device(host, *found, config, quirks, served=served) for found in survey]
    except IppUsbError as exc:
        return [(FAIL, f"devices: {exc}")]
    finally:
        await host.close()


async def _device(
    host: UsbHost,
    facts: DeviceFacts,
    reason: str,
    config: Config,
    quirks: QuirkTable,
    *,
    served: bool,
) -> Finding:
    where = f"{facts.usb_id} at {facts.address}"
    if str(facts.usb_id) in config.ignore:
        reason = "left alone, as the configuration says"
    if reason:
        return NOTE, f"{where}: {reason}"
    if served:
        return OK, f"{where}: up to the running daemon (ippusbd status)"
    try:
        device = await host.open(facts)
    except IppUsbError as exc:
        return FAIL, f"{where}: {exc}{_remedy(exc)}"
    facts, count = device.facts, len(device.interfaces)
    await device.close()
    if why := quirks.effective(facts).ignore_reason:
        return NOTE, f"{where}: {facts.model}: left alone: {why}"
    return OK, f"{where}: {facts.model or 'a printer without a name'}, {count} interfaces"


def _remedy(exc: IppUsbError) -> str:
    if isinstance(exc, AccessDenied):
        return "; run as root, or give the device node to your group by the packaged udev rule"
    if isinstance(exc, DeviceBusy):
        return "; stop the program or driver that holds it (ipp-usb, HPLIP)"
    return ""
