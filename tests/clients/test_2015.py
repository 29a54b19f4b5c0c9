"""The story of 2015: long series of jobs over `ippusbxd`, and the queue stops after some of them.

CUPS' ipp backend asks for the job's progress and the supplies while the document is under way. A
bridge that gave those questions an interface without waiting for the answers of the last ones made
printers choke: they take nothing more while an answer lies unread. Here is such a printer; the
queue stops at the first failed job (its error policy says so), and must not stop once.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cups import PrintDesk, print_desk

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]

JOBS = 200
IPPTOOL_JOBS = 20
PROGRAM = Path(__file__).parents[1] / "support" / "virtual_ippusbxd.py"


class Bridge:
    """A desk with `ippusbxd` serving the printer of 2015 on `port`."""

    def __init__(self, desk: PrintDesk) -> None:
        self.desk = desk
        self.process = desk.desktop.popen(
            [sys.executable, str(PROGRAM), "1", "-n", "-B", "-P", "61000"],
            stdout=subprocess.PIPE,
            environ={"VIRTUAL_CONTROL": str(desk.folder / "virtual.sock")},
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.read(6).rstrip("|"))
        desk.ask_virtual("personality", name="blocks-while-unread")

    @property
    def uri(self) -> str:
        return f"ipp://localhost:{self.port}/ipp/print"

    def add_queue(self, name: str, options: str = "") -> None:
        self.desk.run(
            *("lpadmin", "-p", name, "-E", "-v", self.uri + options, "-m", "raw"),
            *("-o", "printer-error-policy=stop-printer"),
        )

    def print_in_parallel(self) -> subprocess.Popen[str]:
        """ipptool's own jobs, one after the other, while the queue works."""
        page = self.desk.folder / "parallel.pdf"
        page.write_text("%PDF-1.4\n% as good as a page for a printer made of software\n%%EOF\n")
        times = ("-n", str(IPPTOOL_JOBS), "-i", "0.2")
        return self.desk.desktop.popen(
            ["ipptool", "-t", *times, "-f", str(page), self.uri, "print-job.test"],
            stdout=subprocess.PIPE,
        )


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    with print_desk() as desk:
        yield Bridge(desk)


def submit(desk: PrintDesk, queue: str) -> set[str]:
    """JOBS different pages; their sha256."""
    hashes = set()
    for number in range(JOBS):
        page = desk.folder / "page.txt"
        page.write_text(f"{queue}, page {number}\n" * 40)
        hashes.add(hashlib.sha256(page.read_bytes()).hexdigest())
        desk.run("lp", "-d", queue, "-o", "raw", str(page))
    return hashes


@pytest.mark.parametrize("options", ["?waitjob=false", ""], ids=["waitjob=false", "waitjob"])
def test_two_hundred_jobs_in_a_row_print_without_one_stop(bridge: Bridge, options: str):
    desk = bridge.desk
    bridge.add_queue("series", options)
    ipptool = bridge.print_in_parallel()
    hashes = submit(desk, "series")
    desk.wait(lambda: not desk.pending(), "the end of the series", 800)

    assert "enabled" in desk.queue_state("series")
    assert "returned status" not in desk.log(), "a job failed"
    printed = [d["sha256"] for d in desk.printed()]
    assert hashes <= set(printed)
    assert len(printed) == JOBS + IPPTOOL_JOBS, "a job was printed twice"

    out, _ = ipptool.communicate(timeout=60)
    assert out.count("[PASS]") == IPPTOOL_JOBS, out
    assert "[FAIL]" not in out
    assert desk.ask_virtual("stats")["incomplete_documents"] == 0
