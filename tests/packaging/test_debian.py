"""The Debian package contains what the program needs; systemd and AppArmor accept its files."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from support.debian import require

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "packaging/debian"
UNITS = ("ippusbd.service", "ippusbd-broker.service")
OF_DEBIAN = {"pyusb": "python3-usb", "pyudev": "python3-pyudev"}
EXPOSURE_MAX = 1.5


def pinned() -> dict[str, tuple[int, ...]]:
    """Versions in vendor.txt, by name."""
    found = re.findall(r"^([\w-]+)==([\d.]+) \\$", (DEBIAN / "vendor.txt").read_text(), re.M)
    return {name: tuple(map(int, version.split("."))) for name, version in found}


def test_each_dependency_is_in_debian_or_vendored() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    control = (DEBIAN / "control").read_text()
    carried = pinned()
    for dependency in project["dependencies"]:
        name, _, minimum = dependency.partition(">=")
        if name in OF_DEBIAN:
            assert OF_DEBIAN[name] in control
        else:
            assert carried[name] >= tuple(map(int, minimum.split("."))), name


def test_vendored_libraries_are_pinned_by_hash() -> None:
    text = (DEBIAN / "vendor.txt").read_text()
    for entry in re.split(r"^(?=[\w-]+==)", text, flags=re.M)[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_the_changelog_has_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    first = (DEBIAN / "changelog").read_text().splitlines()[0]
    assert first.startswith(f"ippusbd ({project['version']}) ")


def test_the_install_files_name_existing_files() -> None:
    lines = (DEBIAN / "ippusbd.install").read_text() + (DEBIAN / "ippusbd.manpages").read_text()
    for line in lines.splitlines():
        assert (ROOT / line.split()[0]).is_file(), line


@pytest.mark.clients
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_rates_the_sandbox_well(unit: str) -> None:
    require("systemd-analyze")
    path = ROOT / "packaging/systemd" / unit
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", path],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    ).stdout
    match = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert match is not None
    assert float(match[1]) <= EXPOSURE_MAX, said


@pytest.mark.clients
def test_apparmor_accepts_the_profile() -> None:
    require("apparmor_parser")
    profile = ROOT / "packaging/apparmor/ippusbd"
    done = subprocess.run(
        ["apparmor_parser", "--skip-kernel-load", "--skip-cache", profile],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
