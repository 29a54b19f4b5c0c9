"""Every reason that is told has the remedy that belongs to it, whoever changes its words."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import usb.core

import ippusbd
from ippusbd.daemon.observe.remedies import UNKNOWN, diagnose
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.errors import AccessDenied, IppUsbError, StateError
from ippusbd.usbio.pyusb_host import translated

PACKAGE = Path(ippusbd.__file__).parent

# what stands in a module, the module, what a person reads, what it means
SAYINGS = [
    ("the configuration says to ignore it", "daemon/supervisor.py", "{}", "ignored"),
    ("a quirk says to leave it alone: ", "daemon/supervisor.py", "{}no IPP", "ignored"),
    ("left alone: ", "daemon/recovery/history.py", "{}3 resets in 600 s did not help", "given-up"),
    (" is held by ", "daemon/printer/claiming.py", "interface 1{}process 12 (ipp-usb)", "held"),
    (" answered ", "daemon/printer/probe.py", "print: /ipp/print{}404 Not Found", "not-found"),
    (
        " answered ",
        "daemon/printer/probe.py",
        "scan: /eSCL/x{}503 Service Unavailable",
        "warming-up",
    ),
    ("no answer to ", "daemon/printer/probe.py", "{}/ipp/print in 20 s", "silent"),
    ("passive: ", "daemon/printer/session.py", "{}nothing is asked before", "passive"),
    ("the printer was unplugged", "daemon/supervisor.py", "{}", "unplugged"),
    ("an error of ippusbd itself", "daemon/supervisor.py", "{}: ValueError()", "bug"),
]


@pytest.mark.parametrize(("words", "module", "sentence", "kind"), SAYINGS)
def test_what_a_module_says_is_understood(words: str, module: str, sentence: str, kind: str):
    assert words in (PACKAGE / module).read_text(), f"{module} says it in other words now"
    found = diagnose(sentence.format(words))
    assert found.kind == kind
    assert found.remedy


def test_a_device_that_may_not_be_opened_is_understood():
    with pytest.raises(AccessDenied) as denied, translated("open the device"):
        raise usb.core.USBError("Access denied", -3, errno.EACCES)
    assert diagnose(str(denied.value)).kind == "permission"
    assert "udev" in diagnose(str(denied.value)).remedy


def test_ports_that_are_used_up_are_understood(tmp_path: Path):
    state = StateFile(tmp_path / "s.json", range(61000, 61001))
    with pytest.raises(StateError) as used_up:
        state.port_for("03f0:1234:A", is_free=lambda _: False)
    assert diagnose(str(used_up.value)).kind == "ports"


def test_what_nobody_knows_has_no_remedy():
    assert diagnose("the moon is in the wrong house") is UNKNOWN
    assert diagnose(str(IppUsbError(os.strerror(errno.ENOSPC)))) is UNKNOWN
