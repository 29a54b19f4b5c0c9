"""Every program that looks for printers and scanners finds ours and uses it.

The daemon announces a virtual printer through a real Avahi, on a desk with the loopback alone and
on one with a network beside it. HOSTNAMES.md has the experiment behind the host name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from support.avahi_browse import plain
from support.cups import PrintDesk
from support.debian import require
from support.desktop import Desktop

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]

NAME = "Example VirtualJet 900 (USB)"
QUEUE = "Example_VirtualJet_900_USB"
IPPUSBD = Path(sys.executable).with_name("ippusbd")
CONFIG = """
[daemon]
state_dir = "/run/ippusbd/state"
runtime_dir = "/run/ippusbd"
[dnssd]
publisher = "avahi"
"""
PDF = b"%PDF-1.1\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\n"


@pytest.fixture(scope="module", params=[False, True], ids=["lo alone", "lo and a network"])
def desk(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrintDesk]:
    """cupsd, Avahi and the daemon with a virtual printer, announced."""
    require("avahi-browse", "cupsd", "curl")
    sane = tmp_path_factory.mktemp("sane")
    (sane / "dll.conf").write_text("airscan\n")  # the other backends search for half a minute
    (sane / "airscan.conf").write_text("[options]\nws-discovery = off\n")
    with Desktop(second_interface=request.param, binds={"/etc/sane.d": sane}) as desktop:
        desktop.folder.chmod(0o755)
        desktop.start_bus()
        desktop.start_avahi()
        desk = PrintDesk(desktop)
        desk.start_cups()
        config = desktop.folder / "ippusbd.conf"
        config.write_text(CONFIG)
        control = desktop.folder / "virtual.sock"
        desktop.popen(
            [
                *(str(IPPUSBD), "run", "--virtual", "--config", str(config)),
                *("--virtual-control", str(control), "--store", str(desktop.folder / "printed")),
            ]
        )
        desktop.wait(lambda: NAME in browse(desktop), "the printer announced")
        yield desk


def browse(desktop: Desktop) -> str:
    """What avahi-browse says of printers, resolved."""
    return plain(
        desktop.run(["avahi-browse", "--resolve", "--terminate", "--parsable", "_ipp._tcp"]).stdout
    )


def finds(
    desk: PrintDesk, argv: Sequence[str], is_there: Callable[[str], object], tries: int = 1
) -> str:
    """Run `argv` until `is_there` likes its output; the output."""
    for _ in range(tries):
        done = desk.desktop.run(argv, timeout_s=60)
        if is_there(done.stdout):
            return done.stdout
    raise AssertionError(f"{argv}: {done.stdout}{done.stderr}\n{desk.desktop.logs()}")


def test_avahi_browse_resolves_it_to_the_loopback(desk: PrintDesk) -> None:
    lines = [line.split(";") for line in browse(desk.desktop).splitlines() if line[0] == "="]

    assert {(line[1], line[6]) for line in lines} == {("lo", "localhost.local")}
    assert {line[7] for line in lines} <= {"127.0.0.1", "::1"}


def test_ippfind_finds_it(desk: PrintDesk) -> None:
    out = finds(desk, ["ippfind", "-T", "5"], lambda out: "/ipp/print" in out)
    assert out.startswith("ipp://localhost.local:")


def test_ippfind_ls_asks_it_for_its_state(desk: PrintDesk) -> None:
    finds(desk, ["ippfind", "-T", "5", "--ls"], lambda out: "idle accepting-jobs" in out)


def test_driverless_lists_it(desk: PrintDesk) -> None:
    # It starts `ippfind -T 0`, which gives up when its first half second of silence comes before
    # it has handled what it has read; so it does with every printer on a quiet network.
    finds(desk, ["driverless"], lambda out: "_ipp._tcp.local" in out, tries=15)


def test_lpinfo_lists_it_by_dnssd(desk: PrintDesk) -> None:
    finds(desk, ["lpinfo", "-v"], lambda out: "dnssd://Example%20VirtualJet" in out, tries=3)


def test_lp_prints_through_a_temporary_queue(desk: PrintDesk) -> None:
    finds(desk, ["lpstat", "-e"], lambda out: QUEUE in out, tries=5)
    before = len(desk.printed())
    document = desk.folder / "page.pdf"
    document.write_bytes(PDF)

    desk.run("lp", "-d", QUEUE, "-o", "raw", str(document))

    desk.wait(lambda: len(desk.printed()) > before, "printed")


def test_lpadmin_makes_an_everywhere_queue_of_its_dnssd_uri(desk: PrintDesk) -> None:
    uri = f"ipp://{NAME.replace(' ', '%20')}._ipp._tcp.local/"
    desk.run("lpadmin", "-p", "everywhere", "-E", "-v", uri, "-m", "everywhere")
    assert "everywhere" in desk.run("lpstat", "-p", "everywhere").stdout


def test_airscan_discover_finds_its_scanner(desk: PrintDesk) -> None:
    require("airscan-discover")
    finds(desk, ["airscan-discover"], lambda out: f"{NAME} = http" in out, tries=3)


def test_scanimage_lists_its_scanner(desk: PrintDesk) -> None:
    require("scanimage")
    finds(desk, ["scanimage", "-L"], lambda out: "eSCL" in out and NAME in out, tries=3)


def test_the_announced_address_serves_the_web_console(desk: PrintDesk) -> None:
    port = next(line for line in browse(desk.desktop).splitlines() if line[0] == "=").split(";")[8]
    page = desk.run("curl", "-sSf", f"http://localhost:{port}/").stdout
    assert "Example VirtualJet 900" in page
