"""The daemon goes, in good order or killed, and comes back as the same printer."""

from __future__ import annotations

import os
import signal
import time

import pytest
from support.office import NAME, Office

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]


def test_a_daemon_that_is_told_to_stop_takes_its_announcement_back(office: Office):
    before = office.printer
    assert office.leave() == 0
    assert NAME not in office.browsed("_ipp._tcp")
    assert "_ipp-usb._tcp" not in office.browsed("_ipp-usb._tcp")
    office.start_ippusbd()
    after = office.printer
    assert (after["port"], after["name"]) == (before["port"], before["name"])


def test_a_daemon_that_is_killed_leaves_no_announcement_and_comes_back(office: Office):
    before = office.printer
    office.stop_daemon(kill=True)
    start = time.monotonic()
    office.wait(lambda: NAME not in office.browsed("_ipp._tcp"), "withdrawn by Avahi")
    assert time.monotonic() - start < 5.0
    office.start_ippusbd()
    after = office.printer
    assert (after["port"], after["name"]) == (before["port"], before["name"])
    page = office.run("curl", "-sSf", office.url("IPv4", "/")).stdout
    assert NAME in page


def test_an_unplugged_printer_is_withdrawn_within_a_second(office: Office):
    assert NAME in office.browsed("_ipp._tcp")
    office.ask_virtual("unplug")
    try:
        took = office.wait(lambda: NAME not in office.browsed("_ipp._tcp"), "withdrawn")
        assert took < 3.0, "polling takes 0.2 s here, avahi-browse about one"
    finally:
        office.ask_virtual("plug")
    office.wait(lambda: NAME in office.browsed("_ipp._tcp"), "announced again")


def test_sigint_is_as_good_as_sigterm(office: Office):
    assert office._daemon is not None
    os.killpg(office._daemon.pid, signal.SIGINT)
    office.wait(lambda: NAME not in office.browsed("_ipp._tcp"), "withdrawn")
    assert office.leave() in (0, 130)
    office.start_ippusbd()
