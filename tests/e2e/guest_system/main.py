"""The checks in the guest: before its restart, and after it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from pathlib import Path

import checks_boot
import checks_broker
import checks_container
import checks_install
import checks_peer
import checks_plug
import checks_setup
import checks_share
import checks_upgrade
from desk import E2E, KIND, system_log, words
from inits import SYSTEMD, reboot
from programs import run
from report import Report

SETUP = (
    (checks_setup.GROUP, checks_plug.GROUP, checks_setup.COMMANDS),
    (checks_boot.GROUP, checks_setup.END),
)
PACKAGE = (
    (
        checks_install.GROUP,
        checks_plug.GROUP,
        checks_share.GROUP,
        checks_broker.GROUP,
        checks_peer.GROUP,
    ),
    (checks_boot.GROUP, checks_upgrade.GROUP),
)
CONTAINER = ((checks_container.GROUP,), ())
FIRST, SECOND = {"package": PACKAGE, "container": CONTAINER}.get(KIND, SETUP)
SO_FAR = Path("/var/lib/e2e-so-far.json")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT")
    only = parser.parse_args().only
    report = Report(only, words)
    uptime = Path("/proc/uptime").read_text().split()[0]
    if not SO_FAR.exists():
        print(f"-- started in {uptime} s", flush=True)
        report.make(FIRST)
        if not SECOND:
            return 0 if report.end() else 1
        SO_FAR.write_text(json.dumps([report.passed, report.failed]))
        restart()
    report.passed, report.failed = json.loads(SO_FAR.read_text())
    print(f"-- started again in {uptime} s", flush=True)
    report.make(SECOND)
    return 0 if report.end() else 1


def restart() -> None:
    """Restart the machine with a printer plugged in."""
    checks_boot.plug_at_boot()
    sys.stdout.flush()
    reboot()
    time.sleep(600)  # until this process is killed


def end(code: int) -> None:
    """The status for the host, and off."""
    (E2E / "status").write_text(str(code))
    if SYSTEMD:
        log = run("journalctl", "--no-pager", "-o", "short-monotonic", check=False, limit_s=60)
    else:
        log = system_log()
    (E2E / "system.log").write_text(log)
    os.sync()
    Path("/proc/sysrq-trigger").write_text("o")
    time.sleep(60)


def say_to_the_host() -> None:
    """Standard output becomes the virtio port that the host follows."""
    for port in Path("/sys/class/virtio-ports").iterdir():
        if (port / "name").read_text().strip() == "e2e.out":
            line = os.open(f"/dev/{port.name}", os.O_WRONLY)
            os.dup2(line, 1)
            os.dup2(line, 2)


if __name__ == "__main__":
    say_to_the_host()
    code = 70
    try:
        code = main()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        end(code)
