"""Who may use a shared printer: by address, by password; and by default nobody."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cups import IPPUSBD, print_desk
from support.debian import require
from support.neighbour import DESK, DESK6, NEIGHBOUR, PORT, STRANGER, SharingDesk
from support.office import pdf

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]

CAPABILITIES = "/eSCL/ScannerCapabilities"
PASSWORD = "open sesame: yes"


@pytest.fixture(scope="module")
def network() -> Iterator[SharingDesk]:
    require("curl", "ss", "ip", "avahi-browse", "openssl", "ipptool")
    with print_desk() as made:
        sharing = SharingDesk(made)
        sharing.lay_cables()
        yield sharing


@pytest.fixture
def desk(network: SharingDesk) -> Iterator[SharingDesk]:
    """No daemon runs; a test starts it as it wants it."""
    yield network
    network.stop()


def hashed(user: str, password: str) -> str:
    made = subprocess.run(
        [str(IPPUSBD), "password", user],
        input=f"{password}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout


def test_nothing_is_shared_unless_the_configuration_says_so(desk: SharingDesk):
    desk.start(listen="")
    assert sorted(desk.listens(f":{PORT}")) == [f"127.0.0.1:{PORT}", f"[::1]:{PORT}"]
    desk.desktop.wait(lambda: desk.browsed("_ipp._tcp"), "the announcement")
    assert desk.browsed("_ipps._tcp") == []
    assert not (desk.desk.root / "run/ippusbd/state/share.pem").exists()


def test_a_configured_certificate_networks_and_console_are_used(desk: SharingDesk):
    certificate, key = self_signed(desk.folder, "mine")
    files = f'certificate = "{certificate}"\nkey = "{key}"'
    desk.start(f'{files}\nallow = ["{STRANGER}/32"]\nconsole = true')

    def fetch(source: str, path: str) -> str:
        options = ("--interface", source, "-o", "/dev/null", "-w", "%{http_code}")
        url = f"https://{DESK}:{PORT}{path}"
        return desk.neighbour("curl", "-s", "--cacert", str(certificate), *options, url).stdout

    assert fetch(NEIGHBOUR, CAPABILITIES) == "000"
    assert fetch(STRANGER, CAPABILITIES) == "200"
    assert fetch(STRANGER, "/") == "200"
    desk.desktop.wait(lambda: desk.browsed("_ipps._tcp"), "the announcement")
    assert desk.browsed("_ipps._tcp")[0]["txt"]["adminurl"] == f"https://desk.local:{PORT}/"


def test_cups_holds_a_job_without_a_password_and_prints_it_with_one(
    desk: SharingDesk,
):
    users = desk.folder / "users"
    users.write_text("# who may print\n" + hashed("anna", PASSWORD))
    desk.start(f'users_file = "{users}"')
    assert desk.fetch(CAPABILITIES) == "401"
    assert desk.fetch(CAPABILITIES, "-u", "anna:wrong") == "401"
    assert desk.fetch(CAPABILITIES, "-u", "nobody:nothing") == "401"
    assert desk.fetch(CAPABILITIES, "-u", f"anna:{PASSWORD}") == "200"
    assert desk.fetch("/", "-u", f"anna:{PASSWORD}") == "403"
    desk.desktop.wait(lambda: desk.browsed("_ipps._tcp"), "the announcement")
    assert desk.browsed("_ipps._tcp")[0]["txt"]["air"] == "username,password"

    page = desk.folder / "page.pdf"
    page.write_bytes(pdf("For anna"))
    without = f"ipps://{DESK}:{PORT}/ipp/print"
    desk.desk.run("lpadmin", "-p", "kept", "-E", "-v", without, "-m", "raw")
    desk.desk.run("lp", "-d", "kept", str(page))
    desk.desk.wait(
        lambda: "held-for-authentication" in desk.desk.run("lpstat", "-l", "-o", "kept").stdout,
        "a job without a password held",
    )
    desk.desk.run("cancel", "-a", "-x")
    desk.desk.run("lpadmin", "-x", "kept")
    assert desk.desk.printed() == []

    secret = "open%20sesame%3A%20yes"
    there = f"ipps://anna:{secret}@{DESK}:{PORT}/ipp/print"
    asked = desk.neighbour("ipptool", "-tv", there, "get-printer-attributes.test")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    assert "uri-authentication-supported (keyword) = basic" in asked.stdout
    desk.desk.run("lpadmin", "-p", "far", "-E", "-v", there, "-m", "raw")
    desk.desk.run("lp", "-d", "far", str(page))
    desk.desk.wait(lambda: len(desk.desk.printed()) == 1, "the page printed")
    desk.desk.run("lpadmin", "-x", "far")
    log = (desk.folder / "ippusbd.log").read_text()
    assert "sesame" not in log

    users.write_text("")  # from now on nobody
    assert desk.fetch(CAPABILITIES, "-u", f"anna:{PASSWORD}") == "401"


def test_the_generated_certificate_persists_and_its_key_is_private(
    desk: SharingDesk,
):
    desk.start()
    kept = desk.desk.root / "run/ippusbd/state/share.pem"
    desk.desktop.wait(lambda: b"desk.local" in kept.read_bytes(), "Avahi's name in it")
    first = kept.read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o600
    desk.stop()
    desk.start(publisher="zeroconf")
    assert kept.read_bytes() == first
    told = desk.desktop.run(
        ["openssl", "x509", "-in", str(desk.certificate), "-noout", "-ext", "subjectAltName"]
    ).stdout
    assert ".local" in told
    assert f"IP Address:{DESK}" in told
    # Without Avahi it announces by itself, on the shared interface only.
    desk.desktop.wait(lambda: desk.browsed("_ipps._tcp"), "the announcement")
    rows = desk.browsed("_ipps._tcp")
    assert {row["interface"] for row in rows} == {"share0"}
    assert {row["address"] for row in rows} <= {DESK, DESK6}


def self_signed(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for DESK and its key."""
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *(
                "-nodes",
                "-days",
                "2",
                "-subj",
                f"/CN={name}",
                "-addext",
                f"subjectAltName=IP:{DESK}",
            ),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
        env=os.environ,
    )
    return certificate, key
