"""The same device on USB and on the network: programs list both, and each job reaches its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import twin
from support.cups import IPPUSBD, print_desk
from support.debian import require
from support.neighbour import SharingDesk
from support.office import MODEL, NAME, QUEUE, pdf

from ippusbd.virtual.control import ask

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

TWIN_QUEUE = "Example_VirtualJet_900"
TWIN_PORT = 62000
TWIN_CONFIG = f"""
[daemon]
state_dir = "/run/twin/state"
runtime_dir = "/run/twin"
[listen]
port_min = {TWIN_PORT}
[http]
hosts = ["{twin.HOST}"]
[dnssd]
publisher = "off"
[broker]
enabled = false
"""
HOSTS = f"127.0.0.1 localhost\n{twin.ADDRESS} {twin.HOST}\n"


class Desk(SharingDesk):
    """A desk whose neighbour has the same device on the network."""

    def start_twin(self) -> None:
        config = self.folder / "twin.conf"
        config.write_text(TWIN_CONFIG)
        there = ["ip", "netns", "exec", "house"]
        self.desktop.popen(
            [
                *(*there, str(IPPUSBD), "run", "--virtual", "--config", str(config)),
                *("--virtual-control", str(self.folder / "twin.sock")),
                *("--store", str(self.folder / "twin-printed")),
            ]
        )
        url = f"http://127.0.0.1:{TWIN_PORT}/eSCL/ScannerCapabilities"
        self.desktop.wait(
            lambda: self.neighbour("curl", "-sf", "-o", "/dev/null", url).returncode == 0,
            "the twin's printer",
        )
        announcer = self.desktop.popen(
            [*there, sys.executable, twin.__file__, str(TWIN_PORT)], stdout=subprocess.PIPE
        )
        assert announcer.stdout is not None
        assert announcer.stdout.readline() == "announced\n", self.desktop.logs()

    def has(self, *argv: str, what: Callable[[str], object], tries: int = 1) -> str:
        """The output of a program that discovers printers, once it has `what`."""
        for _ in range(tries):
            out = self.desktop.run(argv, timeout_s=60).stdout
            if what(out):
                return out
        raise AssertionError(f"{argv}: {out}\n{self.desktop.logs()}")

    def print_on(self, queue: str, text: str) -> None:
        page = self.folder / "page.pdf"
        page.write_bytes(pdf(text))
        self.desk.run("lp", "-d", queue, str(page))

    def pages(self) -> tuple[int, int]:
        """Documents printed by the USB printer and by its twin."""
        there = ask(self.folder / "twin.sock", "documents")["documents"]
        return len(self.desk.printed()), sum(each["completed"] for each in there)


@contextmanager
def a_desk(folder: Path) -> Iterator[Desk]:
    sane, hosts = folder / "sane", folder / "hosts"
    sane.mkdir()
    (sane / "dll.conf").write_text("airscan\n")
    (sane / "airscan.conf").write_text("[options]\nws-discovery = off\n")
    hosts.write_text(HOSTS)
    with print_desk(binds={"/etc/sane.d": sane, "/etc/hosts": hosts}) as made:
        desk = Desk(made)
        desk.lay_cables()
        yield desk
        desk.stop()


@pytest.fixture(scope="module", params=["the twin first", "ours first"])
def desk(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    require("curl", "ip", "ippfind", "scanimage", "avahi-browse")
    with a_desk(tmp_path_factory.mktemp("twin")) as desk:
        starts = [desk.start_twin, lambda: desk.start(listen="")]
        for start in starts if request.param == "the twin first" else reversed(starts):
            start()
        desk.desktop.wait(lambda: len(desk.browsed("_ipp._tcp")) > 1, "both announced")
        yield desk


def test_both_are_announced_under_names_that_differ(desk: Desk):
    for kind in ("_ipp._tcp", "_uscan._tcp"):
        desk.desktop.wait(
            lambda kind=kind: (
                {(row["interface"], row["name"]) for row in desk.browsed(kind)}
                == {("lo", NAME), ("share0", MODEL)}
            ),
            f"both names of {kind}",
        )


def test_lpstat_ippfind_driverless_and_scanimage_list_both(desk: Desk):
    queues = {QUEUE, TWIN_QUEUE}
    desk.has("lpstat", "-e", what=lambda out: queues <= set(out.split()), tries=5)
    hosts = [f"ipp://localhost.local:{61000}/", f"ipp://{twin.HOST}:{TWIN_PORT}/"]
    desk.has("ippfind", "-T", "5", what=lambda out: all(host in out for host in hosts), tries=3)
    uris = ["900%20(USB)._ipp._tcp", "900._ipp._tcp"]
    desk.has("driverless", what=lambda out: all(uri in out for uri in uris), tries=15)
    scanners = [f":{MODEL}'", f":{NAME}'"]
    desk.has("scanimage", "-L", what=lambda out: all(one in out for one in scanners), tries=5)


def test_a_job_to_each_arrives_at_each(desk: Desk):
    here, there = desk.pages()
    desk.print_on(QUEUE, "For the printer on USB")
    desk.desk.wait(lambda: sum(desk.pages()) > here + there, "a page printed")
    assert desk.pages() == (here + 1, there)
    desk.print_on(TWIN_QUEUE, "For the printer on the network")
    desk.desk.wait(lambda: sum(desk.pages()) > here + there + 1, "another page printed")
    assert desk.pages() == (here + 1, there + 1)


def test_the_doctor_names_the_twin(desk: Desk):
    def told() -> list[dict[str, str]]:
        config = str(desk.folder / "ippusbd.conf")
        done = desk.desktop.run([str(IPPUSBD), "doctor", "--json", "--config", config])
        return [each for each in json.loads(done.stdout) if each["check"] == "twin"]

    (finding,) = told()
    assert (finding["level"], finding["about"]) == ("note", NAME)
    assert f"the network has '{MODEL}'" in finding["text"]


def test_the_usb_printer_prints_while_the_network_one_is_unreachable(desk: Desk):
    here, there = desk.pages()
    down = ["ip", "-n", "house", "link", "set", "far0", "down"]
    assert desk.desktop.run(down).returncode == 0
    try:
        desk.print_on(QUEUE, "Nobody is on the network")
        desk.desk.wait(lambda: desk.pages() == (here + 1, there), "the page printed")
    finally:
        up = ["ip", "-n", "house", "link", "set", "far0", "up"]
        assert desk.desktop.run(up).returncode == 0
