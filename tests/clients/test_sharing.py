"""A printer that is shared, as a neighbour's programs meet it, over a cable of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.cups import print_desk
from support.debian import require
from support.neighbour import DESK, DESK6, LINK, NEIGHBOUR, PORT, STRANGER, SharingDesk
from support.office import pdf

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]

CAPABILITIES = "/eSCL/ScannerCapabilities"
PRINTER = f"ipps://{DESK}:{PORT}/ipp/print"


@pytest.fixture(scope="module")
def desk() -> Iterator[SharingDesk]:
    require("curl", "ss", "ip", "avahi-browse", "scanimage", "ipptool")
    with print_desk() as made:
        sharing = SharingDesk(made)
        sharing.lay_cables()
        yield sharing


@pytest.fixture
def idle(desk: SharingDesk) -> Iterator[SharingDesk]:
    """No daemon runs; a test starts it as it wants it."""
    yield desk
    desk.stop()


@pytest.fixture(scope="module")
def shared(desk: SharingDesk) -> Iterator[SharingDesk]:
    """Shared with the neighbour's network, and nothing more."""
    desk.start()
    yield desk
    desk.stop()


def test_the_network_sees_printer_and_scanner_and_loopback_is_unchanged(
    shared: SharingDesk,
):
    shared.desktop.wait(lambda: shared.browsed("_ipps._tcp"), "the announcement")
    (four, *more) = sorted(shared.browsed("_ipps._tcp"), key=lambda row: row["address"])
    assert {row["interface"] for row in (four, *more)} == {"share0"}
    assert (four["name"], four["address"], four["port"]) == (
        f"Example VirtualJet 900 (USB) @ {shared_machine(shared)}",
        DESK,
        str(PORT),
    )
    txt = four["txt"]
    assert (txt["rp"], txt["air"], txt["TLS"]) == ("ipp/print", "none", "1.2")
    assert "adminurl" not in txt
    assert "URF" in txt
    assert "localhost" not in str(txt)
    everything = {(row["kind"], row["interface"]) for row in shared.browsed()}
    there = {"_ipps._tcp", "_uscans._tcp", "_printer._tcp"}
    here = {"_ipp._tcp", "_uscan._tcp", "_http._tcp", "_ipp-usb._tcp"}
    assert everything == {(kind, "share0") for kind in there} | {(kind, "lo") for kind in here}
    found = shared.desktop.run(["avahi-browse", "-pt", "_universal._sub._ipps._tcp"]).stdout
    assert "share0" in found


def shared_machine(desk: SharingDesk) -> str:
    return desk.desktop.run(["hostname"]).stdout.strip().partition(".")[0].lower()


def test_ipptool_gets_uris_that_work_for_it(shared: SharingDesk):
    done = shared.neighbour("ipptool", "-tv", PRINTER, "get-printer-attributes.test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[PASS]" in done.stdout
    assert f"printer-uri-supported (uri) = {PRINTER}" in done.stdout
    assert "uri-security-supported (keyword) = tls" in done.stdout
    assert "localhost" not in done.stdout


def test_lp_prints_through_a_queue_of_cups(shared: SharingDesk):
    shared.desk.add_everywhere("far", PRINTER, f"HOME={shared.folder}")
    page = shared.folder / "page.pdf"
    page.write_bytes(pdf("A page for the neighbour"))
    before = len(shared.desk.printed())
    shared.desk.run("lp", "-d", "far", str(page))
    shared.desk.wait(lambda: len(shared.desk.printed()) > before, "the page printed")
    assert len(shared.desk.printed()) == before + 1
    shared.desk.run("lpadmin", "-x", "far")


@pytest.mark.parametrize("host", [DESK, f"[{DESK6}]", f"[{LINK}%25far0]"])
def test_the_scanner_answers_over_https_with_the_certificate_that_is_kept(
    shared: SharingDesk, host: str
):
    assert shared.fetch(CAPABILITIES, host=host) == "200"
    assert "ScannerCapabilities" in shared.body
    assert "localhost" not in shared.body


def test_scanimage_scans_a_page_over_the_network(shared: SharingDesk):
    sane = shared.folder / "sane"
    sane.mkdir()
    (sane / "dll.conf").write_text("airscan\n")
    (sane / "airscan.conf").write_text(
        f'[devices]\n"far" = https://{DESK}:{PORT}/eSCL/, eSCL\n'
        "[options]\ndiscovery = disable\nws-discovery = off\n"
    )
    scan = shared.folder / "far.png"
    done = shared.neighbour(
        *("scanimage", "-d", "airscan:e0:far", "--format=png", "-o", str(scan)),
        SANE_CONFIG_DIR=str(sane),
    )
    assert done.returncode == 0, done.stderr
    assert scan.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("path", ["/", "/ipp/../", "/ipp/%2e%2e/", "/eSCLx", "//", "/ipp;/..;/x"])
def test_the_web_console_is_not_reached_from_the_network(shared: SharingDesk, path: str):
    assert shared.fetch(path, "--path-as-is") == "403"
    assert "only printing and scanning" in shared.body
    here = f"http://127.0.0.1:{PORT}/"
    assert shared.desktop.run(["curl", "-sf", "-o", "/dev/null", here]).returncode == 0


def test_plain_http_is_not_spoken_to_the_network(shared: SharingDesk):
    done = shared.neighbour("curl", "-s", f"http://{DESK}:{PORT}{CAPABILITIES}")
    assert done.returncode != 0
    assert done.stdout == ""


def test_clients_of_other_networks_are_disconnected_before_tls(shared: SharingDesk):
    assert shared.fetch(CAPABILITIES, "--interface", STRANGER) == "000"
    assert shared.fetch(CAPABILITIES, "--interface", NEIGHBOUR) == "200"


def test_foreign_host_names_are_refused_and_ours_are_accepted(shared: SharingDesk):
    """Avahi calls the machine otherwise than it calls itself: clients learn that name."""
    foreign, own, called = "evil.example.org", f"{shared_machine(shared)}.local", "desk.local"
    for name, status in ((foreign, "421"), (own, "200"), (called, "200")):
        told = shared.neighbour(
            *("curl", "-sk", "--resolve", f"{name}:{PORT}:{DESK}", "-o", "/dev/null"),
            *("-w", "%{http_code}", f"https://{name}:{PORT}{CAPABILITIES}"),
        )
        assert told.stdout == status
    # On loopback that name stays a stranger's.
    here = f"http://127.0.0.1:{PORT}{CAPABILITIES}"
    there = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {own}", here]
    assert shared.desktop.run(there).stdout == "421"


def test_only_the_named_interface_is_listened_on(shared: SharingDesk):
    listening = shared.listens(f":{PORT}")
    assert sorted(listening) == sorted(
        f"{address}:{PORT}"
        for address in ("127.0.0.1", "[::1]", DESK, f"[{DESK6}]", f"[{LINK}]%share0")
    )


def test_addresses_may_come_and_go(shared: SharingDesk):
    late = "192.0.2.77"
    shared.desktop.run(["ip", "address", "add", f"{late}/24", "dev", "share0"])
    shared.desktop.wait(lambda: shared.listens(f"{late}:{PORT}"), "a door on the new address")
    shared.desktop.run(["ip", "address", "del", f"{late}/24", "dev", "share0"])
    shared.desktop.wait(lambda: not shared.listens(f"{late}:{PORT}"), "no door any more")
    shared.desktop.wait(lambda: shared.browsed("_ipps._tcp"), "the announcement, as before")
    assert shared.listens(f"{DESK}:{PORT}"), "the other addresses are as they were"
