"""The daemon stops or is killed, and serves the same printer after a restart."""

from __future__ import annotations

import signal
import time

import pytest
from support.avahi_browse import Browse
from support.office import MODEL, NAME, Office

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]


def is_withdrawn(office: Office) -> None:
    """Avahi remembers for a second what was said goodbye to."""
    took = office.wait(lambda: NAME not in office.browsed("_ipp._tcp"), "withdrawn")
    assert took < 5.0


def test_a_stopped_daemon_withdraws_its_announcement(office: Office):
    before = office.printer
    assert office.leave() == 0
    is_withdrawn(office)
    assert "_ipp-usb._tcp" not in office.browsed("_ipp-usb._tcp")
    office.start_ippusbd()
    after = office.printer
    assert (after["port"], after["name"]) == (before["port"], before["name"])


def test_a_daemon_that_is_killed_leaves_no_announcement_and_comes_back(office: Office):
    before = office.printer
    office.leave(signal.SIGKILL)
    is_withdrawn(office)
    office.start_ippusbd()
    after = office.printer
    assert (after["port"], after["name"]) == (before["port"], before["name"])
    page = office.run("curl", "-sSf", office.url("IPv4", "/")).stdout
    assert MODEL in page


def test_an_unplugged_printer_is_withdrawn_at_once(office: Office):
    browse = Browse(office.desktop, "_ipp._tcp")
    try:
        office.wait(lambda: browse.names == [NAME], "announced")
        office.ask_virtual("unplug")
        took = office.desktop.wait(lambda: browse.names == [], "withdrawn", timeout_s=10)
        assert took < 2.0, "the daemon looks every 0.2 s where there is no udev"
    finally:
        office.ask_virtual("plug")
    office.wait(lambda: browse.names == [NAME], "announced again")
    browse.stop()


def test_sigint_ends_the_daemon_like_sigterm(office: Office):
    assert office.leave(signal.SIGINT) == 0
    is_withdrawn(office)
    office.start_ippusbd()


def test_a_daemon_stops_in_time_though_avahi_hangs_and_a_client_does_not_read(office: Office):
    url = office.url("IPv4", "/big?bytes=50000000")
    before = office.printer["bytes_in"]
    client = office.desktop.popen(["curl", "-s", "--limit-rate", "1k", "-o", "/dev/null", url])
    office.wait(lambda: office.printer["bytes_in"] > before + 40_000_000, "a download")
    office.desktop.pause_avahi()
    try:
        start = time.monotonic()
        assert office.leave() == 0
        took_s = time.monotonic() - start
    finally:
        office.desktop.resume_avahi()
        office.desktop.stop(client)
        office.start_ippusbd()
    assert took_s < 10.0 + 5.0 + 1.0  # grace_s, LEAVING_S, and a busy machine
