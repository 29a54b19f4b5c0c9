"""`ippusbxd` on a desktop's network: what it announces, and where it listens."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.debian import require
from support.desktop import SECOND_ADDRESS, Desktop

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

PROGRAM = Path(__file__).parents[1] / "support" / "virtual_ippusbxd.py"


@pytest.fixture(scope="module")
def desktop() -> Iterator[Desktop]:
    require("avahi-browse", "curl")
    with Desktop(second_interface=True) as made:
        made.start_bus()
        made.start_avahi()
        yield made


@pytest.fixture
def started(desktop: Desktop) -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        desktop.stop(process)
    # A goodbye leaves a record one second to live.
    desktop.wait(lambda: "VirtualJet" not in browse(desktop), "the last one's withdrawal")


def start(desktop: Desktop, started: list[subprocess.Popen[str]], *options: str) -> int:
    """`ippusbxd -n OPTIONS`; its port."""
    process = desktop.popen(
        [sys.executable, str(PROGRAM), "1", "-n", "-P", "61000", *options], stdout=subprocess.PIPE
    )
    started.append(process)
    assert process.stdout is not None
    return int(process.stdout.read(6).rstrip("|"))


def browse(desktop: Desktop) -> str:
    return desktop.run(["avahi-browse", "-rpt", "_ipp._tcp"]).stdout


def answers(desktop: Desktop, host: str, port: int) -> bool:
    return desktop.run(["curl", "-sfo", "/dev/null", f"http://{host}:{port}/"]).returncode == 0


def test_it_announces_the_printer_on_loopback(
    desktop: Desktop, started: list[subprocess.Popen[str]]
):
    port = start(desktop, started)
    desktop.wait(lambda: f";127.0.0.1;{port};" in browse(desktop), "the announcement")
    assert answers(desktop, "127.0.0.1", port)
    assert not answers(desktop, SECOND_ADDRESS, port)


def test_no_broadcast_announces_nothing(desktop: Desktop, started: list[subprocess.Popen[str]]):
    port = start(desktop, started, "--no-broadcast")
    assert answers(desktop, "127.0.0.1", port)
    assert "VirtualJet" not in browse(desktop)


def test_an_interface_is_listened_on_instead_of_loopback(
    desktop: Desktop, started: list[subprocess.Popen[str]]
):
    port = start(desktop, started, "-i", "net0")
    assert answers(desktop, SECOND_ADDRESS, port)
    assert not answers(desktop, "127.0.0.1", port)
    assert "VirtualJet" not in browse(desktop)
