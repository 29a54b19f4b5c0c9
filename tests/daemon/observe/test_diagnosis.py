"""The reasons that users read are recognised: each is made to occur, and has its remedy."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import usb.core
from support.daemon import run_daemon

from ippusbd.daemon.observe.diagnosis import UNKNOWN, diagnose
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.errors import AccessDenied, IppUsbError, StateError
from ippusbd.usbio.pyusb_host import translated

QUICK = {"probe_s": 0.5, "check_s": 0.3, "retry_min_s": 0.1, "retry_max_s": 0.2, "supplies_s": 0.0}


@pytest.mark.parametrize(
    ("personalities", "config", "state", "kind"),
    [
        ((), {"ignore": ("1209:0001",)}, "opening", "ignored"),
        (("404-everything",), {}, "waiting", "not-found"),
        (("scanner-before-printer",), {}, "partial", "warming-up"),
        ((), {"passive": True}, "probing", "passive"),
        (("deaf",), {"resets_max": 1000}, "waiting", "silent"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_reason_of_a_state_is_recognised(
    make_printer: Callable[..., Any],
    state_path: Path,
    personalities: tuple[str, ...],
    config: dict[str, Any],
    state: str,
    kind: str,
):
    def row_is_there() -> bool:
        return daemon.row()["state"] == state and bool(daemon.row()["reason"])

    printer = make_printer(*personalities)
    async with run_daemon(printer, state_path=state_path, wait=(), **{**QUICK, **config}) as daemon:
        await daemon.until(row_is_there)
        found = diagnose(daemon.row()["reason"])
    assert found.kind == kind
    assert found.remedy


def test_a_device_without_permission_is_recognised():
    with pytest.raises(AccessDenied) as denied, translated("open the device"):
        raise usb.core.USBError("Access denied", -3, errno.EACCES)
    assert diagnose(str(denied.value)).kind == "permission"
    assert "udev" in diagnose(str(denied.value)).remedy


def test_a_port_range_that_is_used_up_is_recognised(tmp_path: Path):
    state = StateFile(tmp_path / "s.json", range(61000, 61001))
    with pytest.raises(StateError) as used_up:
        state.port_for("03f0:1234:A", is_free=lambda _: False)
    assert diagnose(str(used_up.value)).kind == "ports"


def test_an_unknown_reason_has_no_remedy():
    assert diagnose("the moon is in the wrong house") is UNKNOWN
    assert diagnose(str(IppUsbError(os.strerror(errno.ENOSPC)))) is UNKNOWN
