"""The checks in the guest with systemd: before its restart, and after it."""

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
import checks_install
import checks_peer
import checks_plug
import checks_share
from desk import E2E, words
from programs import run
from report import Report

FIRST = (
    checks_install.GROUP,
    checks_plug.GROUP,
    checks_share.GROUP,
    checks_broker.GROUP,
    checks_peer.GROUP,
)
SECOND = (checks_boot.GROUP,)
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
        SO_FAR.write_text(json.dumps([report.passed, report.failed]))
        restart()
    report.passed, report.failed = json.loads(SO_FAR.read_text())
    print(f"-- started again in {uptime} s", flush=True)
    report.make(SECOND)
    return 0 if report.end() else 1


WANTS = Path("/etc/systemd/system/sysinit.target.wants/e2e-printer.service")


def restart() -> None:
    """Restart the machine with a printer plugged in; units are killed, disks synced."""
    WANTS.parent.mkdir(exist_ok=True)
    WANTS.symlink_to("/etc/systemd/system/e2e-printer.service")
    sys.stdout.flush()
    run("systemctl", "reboot", "--force")
    time.sleep(120)


def end(code: int) -> None:
    """The status for the host, and off."""
    (E2E / "status").write_text(str(code))
    journal = run("journalctl", "--no-pager", "-o", "short-monotonic", check=False, limit_s=60)
    (E2E / "journal.log").write_text(journal)
    os.sync()
    run("systemctl", "poweroff", "-ff", check=False)
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
