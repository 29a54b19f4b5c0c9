"""Every reason in a printer's status has the right remedy.

Each reason is caused for real, so that its words cannot change without its diagnosis.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import usb.core
from support.daemon import InProcessDaemon, run_daemon
from support.http_client import ask

from ippusbd.daemon.observe.diagnosis import UNKNOWN, diagnose
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.daemon.supervisor import BEING_OPENED
from ippusbd.errors import AccessDenied, IppUsbError, StateError
from ippusbd.usbio.pyusb_host import translated
from ippusbd.virtual.printer import VirtualPrinter

MakePrinter = Callable[..., VirtualPrinter]
HASTY = {"probe_s": 0.2, "fax_probe_s": 0.2, "check_s": 0.2, "resets_max": 1}
ENDED = ("waiting", "refused", "partial")


async def reason_of(daemon: InProcessDaemon, *states: str) -> str:
    """The reason of the only printer, once it has one in one of `states`."""

    def has_one() -> bool:
        row = daemon.row()
        return row["state"] in states and row.get("reason") not in (None, "", BEING_OPENED)

    await daemon.until(has_one)
    return str(daemon.row()["reason"])


@pytest.mark.parametrize(
    ("personalities", "settings", "states", "kind"),
    [
        ((), {"ignore": ("1209:0001",)}, ("ignored",), "ignored"),
        (("404-everything",), {}, ENDED, "not-found"),
        (("scanner-before-printer",), {}, ENDED, "warming-up"),
        (("silent",), HASTY, ("waiting",), "silent"),
        (("deaf",), {**HASTY, "warm_up_s": 0.0}, ("refused",), "given-up"),
        ((), {"passive": True}, ("probing",), "passive"),
        (("upgrade-required",), {}, ENDED, "https"),
    ],
)
async def test_every_reason_has_its_remedy(
    make_printer: MakePrinter,
    state_path: Path,
    personalities: tuple[str, ...],
    settings: dict[str, Any],
    states: tuple[str, ...],
    kind: str,
):
    printer = make_printer(*personalities)
    async with run_daemon(printer, state_path=state_path, wait=(), **settings) as daemon:
        found = diagnose(await reason_of(daemon, *states))
        assert found.kind == kind
        assert found.remedy


async def test_a_quirk_that_ignores_a_device_is_understood(
    make_printer: MakePrinter, state_path: Path, tmp_path: Path
):
    (tmp_path / "q.toml").write_text(
        '[[quirk]]\nusb = "1209:0001"\nreason = "no IPP"\nignore_device = true\n'
    )
    async with run_daemon(
        make_printer(), state_path=state_path, wait=(), quirks_dirs=(tmp_path,)
    ) as daemon:
        assert diagnose(await reason_of(daemon, "ignored")).kind == "ignored"


async def test_a_device_that_another_program_holds_is_understood(
    make_printer: MakePrinter, state_path: Path
):
    async with run_daemon(state_path=state_path) as daemon:
        port = daemon.backend.plug(make_printer(interfaces=1).device)
        other = port.open()
        port.detach(other, 0)
        port.claim(other, 0)
        daemon.supervisor.wake()
        assert diagnose(await reason_of(daemon, "waiting")).kind == "held"
        port.close(other)


async def test_an_unplugged_printer_is_understood(make_printer: MakePrinter, state_path: Path):
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path) as daemon:
        daemon.unplug(printer)
        assert diagnose(await reason_of(daemon, "away")).kind == "unplugged"


async def test_an_error_of_the_daemon_itself_is_understood(
    make_printer: MakePrinter, state_path: Path
):
    def broken(_: str, __: str) -> None:
        raise ZeroDivisionError("a bug")

    async with run_daemon(state_path=state_path) as daemon:
        daemon.publisher.told.append(broken)
        daemon.plug(make_printer())
        await daemon.until(lambda: "a bug" in daemon.row().get("reason", ""))
        assert diagnose(daemon.row()["reason"]).kind == "bug"
        daemon.publisher.told.clear()


async def test_a_web_console_that_insists_on_https_is_understood(
    make_printer: MakePrinter, state_path: Path
):
    async with run_daemon(make_printer("redirects-to-https"), state_path=state_path) as daemon:
        assert (await ask(daemon.port())).status == 502
        assert diagnose(daemon.row()["trouble"]).kind == "https"


def test_ports_that_are_used_up_are_understood(tmp_path: Path):
    state = StateFile(tmp_path / "s.json", range(61000, 61001))
    with pytest.raises(StateError) as used_up:
        state.port_for("03f0:1234:A", is_free=lambda _: False)
    assert diagnose(str(used_up.value)).kind == "ports"


def test_a_device_that_may_not_be_opened_is_understood():
    with pytest.raises(AccessDenied) as denied, translated("open the device"):
        raise usb.core.USBError("Access denied", -3, errno.EACCES)
    assert diagnose(str(denied.value)).kind == "permission"
    assert "udev" in diagnose(str(denied.value)).remedy


def test_an_unknown_reason_has_no_remedy():
    assert diagnose("something new") is UNKNOWN
    assert diagnose(str(IppUsbError(os.strerror(errno.ENOSPC)))) is UNKNOWN
