"""The daemon's log in the real journald, looked at by the real journalctl."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from support.cups import IPPUSBD
from support.debian import require
from support.desktop import Desktop

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

JOURNALD = "/lib/systemd/systemd-journald"
AS_SYSTEMD = 'JOURNAL_STREAM=$(stat -Lc %d:%i /proc/$$/fd/2) exec "$@"'
CONFIG = """
[daemon]
runtime_dir = "/run/ippusbd"
state_dir = "/run/ippusbd/state"
[listen]
port_min = 61000
[dnssd]
publisher = "off"
"""


def entries(desktop: Desktop, *matches: str) -> list[dict[str, Any]]:
    """What journalctl finds."""
    argv = ["journalctl", "--directory=/run/log/journal", "--output=json", "--no-pager", *matches]
    done = desktop.run(argv)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_journalctl_finds_lines_by_printer_and_request_and_levels_change_while_running():
    require("journalctl")
    with Desktop() as desktop:
        desktop.run(["mkdir", "-p", "/run/systemd/journal", "/run/log/journal"])
        desktop.popen([JOURNALD])
        desktop.wait((desktop.root / "run/systemd/journal/stdout").exists, "journald")
        config = desktop.folder / "ippusbd.conf"
        config.write_text(CONFIG)
        ippusbd = [str(IPPUSBD), "run", "--virtual", "--config", str(config)]
        # As systemd starts a service: standard error leads to the journal, a variable says so.
        desktop.popen(["systemd-cat", "sh", "-c", AS_SYSTEMD, "service", *ippusbd])
        desktop.wait(lambda: entries(desktop, "SYSLOG_IDENTIFIER=ippusbd"), "lines in the journal")
        name = "PRINTER=Example VirtualJet 900"
        desktop.wait(
            lambda: any(": ready" in e["MESSAGE"] for e in entries(desktop, name)), "its lines"
        )
        ready = next(e for e in entries(desktop, name) if ": ready" in e["MESSAGE"])
        assert (ready["PRIORITY"], ready["AREA"], ready["_TRANSPORT"]) == ("6", "daemon", "journal")

        assert not entries(desktop, "AREA=http", "PRIORITY=7")
        told = desktop.run([str(IPPUSBD), "log", "debug", "http", "--config", str(config)])
        assert "http     debug" in told.stdout
        with desktop.network():
            urllib.request.urlopen("http://127.0.0.1:61000/", timeout=10).close()
        desktop.wait(lambda: entries(desktop, "AREA=http", "PRIORITY=7"), "a debug line")
        line = entries(desktop, "AREA=http", "PRIORITY=7")[-1]
        assert int(line["REQUEST"]) >= 1
        assert "GET /: 200 in " in line["MESSAGE"]
