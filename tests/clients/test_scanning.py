"""SANE scans through the daemon: discovery, IPv4 and IPv6, platen and feeder."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from support.office import NAME, Office

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]

QUICK = ("--resolution", "100")


def test_airscan_discover_finds_it(office: Office):
    for _ in range(3):
        out = office.desktop.run(["airscan-discover"], timeout_s=60).stdout
        if f"{NAME} = http://" in out:
            return
    raise AssertionError(out)


def test_the_platen_is_scanned_in_colour(office: Office, tmp_path: Path):
    (path,) = office.scanned(tmp_path, *QUICK, "--mode", "Color", "--batch-count=1")

    with Image.open(path) as page:
        page.load()
        assert page.mode == "RGB"
        assert 800 < page.width < 900
        assert 1100 < page.height < 1200


def test_two_pages_of_the_feeder_are_scanned_in_grey(office: Office, tmp_path: Path):
    office.ask_virtual("feeder", pages=2)
    paths = office.scanned(tmp_path, *QUICK, "--mode", "Gray", "--source", "ADF")

    pages = []
    for path in paths:
        with Image.open(path) as page:
            page.load()
            assert page.mode == "L"
            pages.append(page.tobytes())
    assert len(pages) == 2
    assert pages[0] != pages[1]


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_an_address_may_be_given_by_hand(office: Office, tmp_path: Path, family: str):
    device = f"escl:{NAME}:{office.url(family, '/eSCL/')}"
    done = office.desktop.run(
        [
            *("scanimage", "-d", f"airscan:{device}", "--format=png", *QUICK),
            *("-o", str(tmp_path / "page.png")),
        ],
        timeout_s=120,
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "page.png") as page:
        page.load()
        assert page.width > 800


def test_it_scans_while_it_prints(office: Office, tmp_path: Path):
    office.run(
        *("lpadmin", "-p", "both", "-E", "-v", office.url("IPv4", "/ipp/print", "ipp")),
        *("-m", "raw"),
    )
    path = tmp_path / "big"
    path.write_bytes(bytes(100_000_000))
    office.run("lp", "-d", "both", str(path))
    (scan,) = office.scanned(tmp_path, *QUICK, "--batch-count=1")
    with Image.open(scan) as page:
        page.load()
    office.wait(lambda: not office.pending(), "printed")
