"""Quirk files of ipp-usb mean here what they meant there."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.quirks.ipp_usb_files import sections
from ippusbd.quirks.load import load
from ippusbd.quirks.match import MatchTarget

FILE = """\
# as an administrator wrote it
[Example LaserPrinter 100]
  http-connection = keep-alive   ; must stay open
  usb-max-interfaces = 1
[Example Fax*]
  disable-fax = true
  init-delay = 1500
  init-reset = hard
[Example 404]
  blacklist = true
[*]
  http-connection = ""
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.conf").write_text(FILE)
    return tmp_path


def test_each_setting_is_translated_and_knows_its_line(folder: Path) -> None:
    found = load([folder]).effective_for(MatchTarget(names=("Example LaserPrinter 100",)))
    assert (found.connection, found.max_interfaces) == ("keep-alive", 1)
    assert str(found.origins["max_interfaces"]) == f"{folder}/own.conf:4"
    fax = load([folder]).effective_for(MatchTarget(names=("Example Fax 9",)))
    assert (fax.fax, fax.start_delay_s, fax.hard_reset_at_start) == (False, 1.5, True)
    assert fax.connection is None
    assert load([folder]).effective_for(MatchTarget(names=("Example 404",))).ignore_device


def test_of_two_sections_for_one_model_the_first_wins_as_there(tmp_path: Path) -> None:
    both = "[Model]\nusb-max-interfaces = 2\n[Model]\nusb-max-interfaces = 1\n"
    (tmp_path / "a.conf").write_text(both)
    assert load([tmp_path]).effective_for(MatchTarget(names=("Model",))).max_interfaces == 2


def test_an_own_file_stands_above_those_of_ipp_usb(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "ours"
    own.mkdir()
    (own / "own.toml").write_text(
        '[[quirk]]\nmodel = "Example LaserPrinter 100"\nreason = "r"\nmax_interfaces = 3\n'
    )
    found = load([folder, own]).effective_for(MatchTarget(names=("Example LaserPrinter 100",)))
    assert (found.max_interfaces, found.connection) == (3, "keep-alive")


def test_what_is_not_understood_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "odd.conf").write_text(
        "[M?del]\nblacklist = true\n[Model]\nhttp-cookie = x\nblacklist = maybe\n"
        "usb-max-interfaces = many\nrequest-delay = 999999\ndisable-fax = true\n"
    )
    with caplog.at_level(logging.WARNING):
        found = load([tmp_path]).effective_for(MatchTarget(names=("Model",)))
    assert (found.fax, found.ignore_device, found.max_interfaces) == (False, False, None)
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[1] for line in said] == ["1", "4", "5", "6", "7"]


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    sections(text, "f")
