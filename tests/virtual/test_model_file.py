"""Model files: what is read from each form, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ippusbd.errors import ConfigError
from ippusbd.virtual.model_file import IPP_NAME, XML_NAME, DeviceAnswers, load

BOTH = DeviceAnswers(b"\2\0\0\0\0\0\0\1\3", b"<ScannerCapabilities/>")


@pytest.mark.parametrize("answers", [BOTH, DeviceAnswers(ipp=b"ipp"), DeviceAnswers(xml=b"<x/>")])
def test_a_model_file_returns_what_was_packed(tmp_path: Path, answers: DeviceAnswers):
    path = tmp_path / "office.model"
    path.write_bytes(answers.packed())
    assert load(path) == answers


def test_equal_answers_make_equal_files():
    assert BOTH.packed() == BOTH.packed()


def test_a_folder_holds_the_same_two_files(tmp_path: Path):
    (tmp_path / IPP_NAME).write_bytes(BOTH.ipp)
    (tmp_path / XML_NAME).write_bytes(BOTH.xml)
    assert load(tmp_path) == BOTH


def test_a_single_ipp_or_xml_file_is_a_model(tmp_path: Path):
    ipp_file, xml_file = tmp_path / "any.ipp", tmp_path / "any.xml"
    ipp_file.write_bytes(BOTH.ipp)
    xml_file.write_bytes(BOTH.xml)
    assert load(ipp_file) == DeviceAnswers(ipp=BOTH.ipp)
    assert load(xml_file) == DeviceAnswers(xml=BOTH.xml)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"no archive", "not a ZIP archive"),
        (b"", "not a ZIP archive"),
        (DeviceAnswers().packed(), "neither"),
        (DeviceAnswers(xml=bytes((16 << 20) + 1)).packed(), "over"),
        (BOTH.packed()[:60], "not a ZIP archive"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, content: bytes, complaint: str):
    path = tmp_path / "bad.model"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"bad.model.*{complaint}"):
        load(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none\.model: No such file"):
        load(tmp_path / "none.model")
