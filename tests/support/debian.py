"""Which Debian package brings a program that a test runs.

A missing package fails the test and names itself: a test that quietly skips what it exists for
proves nothing. IPPUSBD_SKIP_CLIENTS=1 makes it a skip, for machines where nothing can be installed.
"""

from __future__ import annotations

import os
import shutil

import pytest

PACKAGES = {
    "airscan-discover": "sane-airscan",
    "apparmor_parser": "apparmor",
    "avahi-browse": "avahi-utils",
    "avahi-daemon": "avahi-daemon",
    "avahi-publish": "avahi-utils",
    "avahi-resolve": "avahi-utils",
    "avahi-set-host-name": "avahi-utils",
    "cupsd": "cups-daemon",
    "chromium": "chromium",
    "curl": "curl",
    "dbus-daemon": "dbus",
    "dbus-send": "dbus",
    "driverless": "cups-filters",
    "groff": "groff-base",
    "ip": "iproute2",
    "ippeveprinter": "cups-ipp-utils",
    "ippfind": "cups-ipp-utils",
    "ipptool": "cups-ipp-utils",
    "journalctl": "systemd",
    "lp": "cups-client",
    "lpadmin": "cups-client",
    "lpinfo": "cups-client",
    "lpstat": "cups-client",
    "nsenter": "util-linux",
    "scanimage": "sane-utils",
    "systemd-analyze": "systemd",
    "systemd-socket-activate": "systemd",
    "tshark": "tshark",
    "unshare": "util-linux",
}


def require(*programs: str) -> None:
    """Fail (or, if asked for, skip) unless every program is installed; names the packages."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in programs if shutil.which(name, path=path) is None]
    if not missing:
        return
    packages = " ".join(sorted({PACKAGES[name] for name in missing}))
    message = f"{', '.join(missing)} not found; install the Debian packages: {packages}"
    if os.environ.get("IPPUSBD_SKIP_CLIENTS") == "1":
        pytest.skip(message)
    pytest.fail(message)
