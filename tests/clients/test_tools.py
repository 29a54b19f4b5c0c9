"""ipptool's suites, ippfind, avahi-browse and curl, against the daemon as users start it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from support.office import MODEL, NAME, Office, pdf

from ippusbd.virtual.services.console import pseudo_random_sha256

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

SUITES = Path("/usr/share/cups/ipptool")
SAMPLE = re.compile(r"^\s*FILE (\S+)", re.MULTILINE)


@pytest.fixture
def suites(tmp_path: Path) -> Path:
    """Debian's suites, with the sample documents that they name and Debian leaves out."""
    for suite in SUITES.glob("*.test"):
        text = suite.read_text(errors="replace")
        (tmp_path / suite.name).write_text(text)
        for name in SAMPLE.findall(text):
            if not name.startswith("$"):
                sample = tmp_path / name
                sample.parent.mkdir(parents=True, exist_ok=True)
                sample.write_bytes(pdf(name))
    (tmp_path / "document.pdf").write_bytes(pdf("ipptool", padding=200_000))
    return tmp_path


def ipptool(office: Office, suites: Path, suite: str, *options: str, family: str = "IPv4") -> str:
    url = office.url(family, "/ipp/print", "ipp")
    command = f"cd {suites} && exec ipptool -t -f document.pdf {' '.join(options)} {url} {suite}"
    done = office.desktop.run(["sh", "-c", command], timeout_s=200)
    # A suite that cannot read a file ends early and still returns 0.
    assert "cannot be read" not in done.stdout + done.stderr, done.stdout
    assert done.returncode == 0, done.stdout[-4000:]
    assert "[FAIL]" not in done.stdout
    assert "[PASS]" in done.stdout
    return done.stdout


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
@pytest.mark.parametrize(
    "suite",
    [
        "get-printer-attributes",
        "validate-job",
        "print-job",
        "print-job-gzip",
        "create-job",
        "get-jobs",
        "get-completed-jobs",
        "identify-printer",
    ],
)
def test_ipptools_small_suites_pass(office: Office, suites: Path, suite: str, family: str):
    ipptool(office, suites, f"{suite}.test", family=family)


@pytest.mark.parametrize("framing", ["-C", "-L"], ids=["chunked", "length"])
def test_a_document_in_either_framing_arrives(office: Office, suites: Path, framing: str):
    ipptool(office, suites, "print-job.test", framing)
    document = (suites / "document.pdf").read_bytes()
    assert office.documents()[-1]["sha256"] == hashlib.sha256(document).hexdigest()


@pytest.mark.parametrize("suite", ["ipp-1.1", "ipp-2.0", "ipp-everywhere"])
def test_ipptools_conformance_suites_pass(office: Office, suites: Path, suite: str):
    before = office.ask_virtual("stats")["broken_http"]
    out = ipptool(office, suites, f"{suite}.test", "-I")
    assert out.count("[PASS]") > 30
    assert office.ask_virtual("stats")["broken_http"] == before


def test_avahi_browse_shows_all_its_services(office: Office):
    for service_type in ("_ipp._tcp", "_uscan._tcp", "_http._tcp"):
        resolved = [ln for ln in office.browsed(service_type).splitlines() if ln[:1] == "="]
        assert resolved, service_type
        assert {line.split(";")[3] for line in resolved} == {NAME}
        assert {line.split(";")[8] for line in resolved} == {str(office.port)}
    assert "_ipp-usb._tcp" in office.browsed("_ipp-usb._tcp")


def test_ippfind_finds_and_lists_it(office: Office):
    assert f":{office.port}/ipp/print" in office.run("ippfind", "-T", "5").stdout
    assert "accepting-jobs" in office.run("ippfind", "-T", "5", "--ls").stdout


def test_driverless_describes_it(office: Office):
    ppd = office.run("driverless", office.url("IPv4", "/ipp/print", "ipp")).stdout
    assert f'*ModelName: "{MODEL}"' in ppd
    assert "*ColorDevice: True" in ppd


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_curl_shows_the_console(office: Office, family: str):
    page = office.run("curl", "-sSf", office.url(family, "/")).stdout
    assert f"<title>{MODEL}</title>" in page
    head = office.run("curl", "-sSfI", office.url(family, "/")).stdout
    assert head.startswith("HTTP/1.1 200")
    assert "text/html" in head


@pytest.mark.parametrize("option", ["--http1.1", "--http1.0", "-HTransfer-Encoding: chunked"])
def test_curl_sends_and_fetches_every_byte(office: Office, tmp_path: Path, option: str):
    data = tmp_path / "data"
    data.write_bytes(bytes(range(256)) * 20_000)  # large enough for curl to ask for 100 Continue
    url = office.url("IPv4", "/sink")
    answer = json.loads(office.run("curl", "-sSf", option, "-T", str(data), url).stdout)
    assert answer["sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()

    version = [option] if option.startswith("--") else []
    for how in ("", "&chunked=1"):
        fetched = tmp_path / "fetched"
        url = office.url("IPv4", f"/big?bytes=5000000{how}")
        office.run("curl", "-sSf", *version, "-o", str(fetched), url)
        assert hashlib.sha256(fetched.read_bytes()).hexdigest() == pseudo_random_sha256(5_000_000)
