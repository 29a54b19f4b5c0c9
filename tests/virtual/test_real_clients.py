"""Real printing and scanning programs accept the virtual printer, with no daemon in between."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from support.bridge import Bridge

from ippusbd.virtual.printer import VirtualPrinter

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]

SUITES = Path("/usr/share/cups/ipptool")
SAMPLE = re.compile(r"^\s*FILE (\S+)", re.MULTILINE)
ENOUGH_MEDIA = b"%PDF-1.4\nprinted by a test\n" * 50


@pytest.fixture
def bridge(make_printer: Callable[..., VirtualPrinter]) -> Iterator[Bridge]:
    with Bridge(make_printer(print_s=0.2)) as bridge:
        yield bridge


@pytest.fixture
def suites(tmp_path: Path) -> Path:
    """The suites, with the sample documents they name and Debian leaves out."""
    for suite in SUITES.glob("*.test"):
        text = suite.read_text(errors="replace")
        (tmp_path / suite.name).write_text(text)
        for name in SAMPLE.findall(text):
            if not name.startswith("$"):
                sample = tmp_path / name
                sample.parent.mkdir(parents=True, exist_ok=True)
                sample.write_bytes(b"%PDF-1.4\n" + name.encode() * 100)
    (tmp_path / "document.pdf").write_bytes(ENOUGH_MEDIA)
    return tmp_path


def run(*command: str, cwd: Path | None = None, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def ipptool(bridge: Bridge, suites: Path, suite: str, *options: str) -> str:
    url = bridge.url("/ipp/print", "ipp")
    out = run("ipptool", "-t", *options, "-f", "document.pdf", url, suite, cwd=suites)
    # A suite that cannot read a file ends early and still returns 0.
    assert "cannot be read" not in out, out
    assert "[FAIL]" not in out, out
    return out


@pytest.mark.parametrize(
    "suite",
    [
        "get-printer-attributes",
        "get-printer-description-attributes",
        "get-job-template-attributes",
        "validate-job",
        "print-job",
        "print-job-gzip",
        "print-job-deflate",
        "print-job-and-wait",
        "create-job",
        "get-jobs",
        "get-completed-jobs",
        "identify-printer",
    ],
)
def test_ipptool_passes_the_small_suites(bridge: Bridge, suites: Path, suite: str) -> None:
    assert "[PASS]" in ipptool(bridge, suites, f"{suite}.test")


@pytest.mark.parametrize("length", ["-C", "-L"])
def test_ipptool_prints_with_and_without_a_length(
    bridge: Bridge, suites: Path, length: str
) -> None:
    ipptool(bridge, suites, "print-job.test", length)

    document = bridge.printer.documents[0]
    assert document.sha256 == hashlib.sha256(ENOUGH_MEDIA).hexdigest()


@pytest.mark.parametrize("suite", ["ipp-1.1", "ipp-2.0", "ipp-everywhere"])
def test_ipptool_passes_the_conformance_suites(bridge: Bridge, suites: Path, suite: str) -> None:
    out = ipptool(bridge, suites, f"{suite}.test", "-I")

    assert out.count("[PASS]") > 30
    assert bridge.printer.stats["broken_http"] == 0


def test_driverless_makes_a_queue_description(bridge: Bridge) -> None:
    ppd = run("driverless", bridge.url("/ipp/print", "ipp"))

    assert '*ModelName: "Example VirtualJet 900"' in ppd
    assert "*ColorDevice: True" in ppd
    assert "*PageSize A4/A4" in ppd
    assert "*Duplex DuplexNoTumble" in ppd


@pytest.fixture
def scan(bridge: Bridge, tmp_path: Path) -> Callable[..., list[Image.Image]]:
    """`scan(*options)`: the pictures that sane-airscan got."""
    config = tmp_path / "sane"
    config.mkdir()
    (config / "dll.conf").write_text("airscan\n")
    (config / "airscan.conf").write_text(
        f'[devices]\n"test" = {bridge.url("/eSCL/")}, eSCL\n[options]\ndiscovery = disable\n'
    )

    def scanned(*options: str) -> list[Image.Image]:
        command = ("scanimage", "-d", "airscan:e0:test", "--format=png", "--batch=page%d.png")
        run(*command, *options, cwd=tmp_path, SANE_CONFIG_DIR=str(config))
        return [Image.open(one) for one in sorted(tmp_path.glob("page*.png"))]

    return scanned


def test_scanimage_scans_the_platen_in_colour(scan: Callable[..., list[Image.Image]]) -> None:
    (page,) = scan("--resolution", "150", "--mode", "Color", "--batch-count=1")

    assert (page.mode, page.size) == ("RGB", (1275, 1754))
    red, green, blue = page.getpixel((20, 20))  # type: ignore[misc]
    assert red > 200 > 60 > max(green, blue)


def test_scanimage_scans_the_feeder_in_grey(
    bridge: Bridge, scan: Callable[..., list[Image.Image]]
) -> None:
    bridge.printer.scanner.adf_pages = 3
    pages = scan("--source", "ADF", "--resolution", "100", "--mode", "Gray")

    assert [page.mode for page in pages] == ["L", "L", "L"]
    assert len({page.tobytes() for page in pages}) == 3


def test_curl_gets_and_puts_what_it_should(bridge: Bridge, tmp_path: Path) -> None:
    assert shutil.which("curl"), "curl is missing"
    data = tmp_path / "data"
    data.write_bytes(bytes(range(256)) * 20_000)
    out = run("curl", "-sS", "--fail", "-T", str(data), bridge.url("/sink"))

    assert hashlib.sha256(data.read_bytes()).hexdigest() in out
