"""The man pages say what the programs do: every option is there, and they render."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from support.debian import require

from ippusbd.cli import ippusbxd

PAGES = sorted((Path(__file__).parents[2] / "packaging" / "man").glob("*.8"))


def plain(page: Path) -> str:
    """The text without the escapes of roff that matter for options."""
    return page.read_text().replace("\\-", "-").replace("\\fR,\\fB ", " ")


def test_every_option_of_ippusbxd_is_in_its_page():
    page = plain(next(p for p in PAGES if p.name == "ippusbxd.8"))
    for action in ippusbxd.build_parser()._actions:
        for option in action.option_strings:
            assert option in page, option


def test_the_three_pages_are_there():
    assert [p.name for p in PAGES] == ["ippusb.8", "ippusbd.8", "ippusbxd.8"]


@pytest.mark.clients
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_renders_without_a_warning(page: Path):
    require("groff")
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-P-c", str(page)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    shown = re.sub(".\b", "", done.stdout)  # bold is a letter written twice
    assert max(len(line) for line in shown.splitlines()) <= 100
