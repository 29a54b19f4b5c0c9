"""Quirk files of ipp-usb mean here what they meant there."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.quirks.ipp_usb_files import seconds, sections
from ippusbd.quirks.load import Effective, load
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


def settings(folder: Path, device: str, text: str) -> Effective:
    (folder / "own.conf").write_text(text)
    return load([folder]).effective_for(MatchTarget.from_text(device))


EVERY_KEY = [
    ("blacklist = true", {"ignore_device": True}),
    ("buggy-ipp-responses = sanitize", {"sanitize_ipp": True}),
    ("buggy-ipp-responses = allow", {"sanitize_ipp": False}),
    ("disable-fax = true", {"fax": False}),
    ("disable-scan = true", {"scan": False}),
    ("http-connection = close", {"connection": "close"}),
    ('http-connection = ""', {"connection": None}),
    ("http-host = localhost", {"host_header": "localhost"}),
    ('HTTP-User-Agent = "x y"', {"headers": (("user-agent", "x y"),)}),
    ("http-a = 1\nhttp-b =", {"headers": (("a", "1"), ("b", ""))}),
    ("ignore-ipp-status = true", {"ignore_ipp_status": True}),
    ("init-delay = 250", {"start_delay_s": 0.25}),
    ("init-reset = none", {"soft_reset_at_start": False, "hard_reset_at_start": False}),
    ("init-reset = soft", {"soft_reset_at_start": True, "hard_reset_at_start": False}),
    ("init-reset = hard", {"soft_reset_at_start": False, "hard_reset_at_start": True}),
    ("init-retry-partial = true", {"retry_partial_start": True}),
    ("init-timeout = 2m30s", {"start_timeout_s": 150.0}),
    ("request-delay = 0.5s", {"request_pause_s": 0.5}),
    ("usb-max-interfaces = 1", {"max_interfaces": 1}),
    ("usb-max-interfaces = 0", {"max_interfaces": None}),
    ("usb-send-delay = 20ms", {"write_pause_s": 0.02}),
    ("usb-send-delay-threshold = 4096", {"write_pause_bytes": 4096}),
    ("zlp-recv-hack = true", {}),  # silence ends every answer at start
    ("zlp-send = true", {"write_zlp": True}),
]


@pytest.mark.parametrize(("text", "expected"), EVERY_KEY)
def test_every_key_of_ipp_usbs_manual_has_its_meaning(
    tmp_path: Path, text: str, expected: dict[str, object]
) -> None:
    found = settings(tmp_path, "Example Printer", f"[Example Printer]\n{text}\n")
    assert {key: getattr(found, key) for key in expected} == expected
    own = {key for key, origin in found.origins.items() if origin.file.endswith("own.conf")}
    assert own == set(expected)
    assert load([tmp_path]).unused == ()


def test_the_strings_of_a_usb_id_find_the_sections_of_that_model(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        "1209:0001",
        "[1209:0001]\nmfg = Example\nmodel = Jet 9\n[Example Jet ?]\ndisable-scan = true\n",
    )
    assert (found.manufacturer, found.product, found.scan) == ("Example", "Jet 9", False)
    for wrong in ("mfg = Example", "model = Jet"):
        settings(tmp_path, "Jet", f"[Jet]\n{wrong}\n")
        (line,) = load([tmp_path]).unused
        assert "belongs in a section whose name is a USB id" in str(line)


@pytest.mark.parametrize(
    ("name", "device", "matches"),
    [
        ("Example Jet ?", "Example Jet 9", True),
        ("Example Jet ?", "Example Jet 10", False),
        (r"Example Jet \?", "Example Jet 9", False),
        (r"Example Jet \?", "Example Jet ?", True),
        ("*Jet*9?", "Example Jet 9 95", True),
        ("1209:*", "1209:0002", True),
        ("1209:0001", "1209:0002", False),
    ],
)
def test_sections_match_as_there(tmp_path: Path, name: str, device: str, matches: bool) -> None:
    found = settings(tmp_path, device, f"[{name}]\nusb-max-interfaces = 1\n")
    assert (found.max_interfaces == 1) is matches


def test_header_fields_of_all_sections_that_match_add_up(tmp_path: Path) -> None:
    found = settings(tmp_path, "Jet", "[*]\nhttp-a = 1\nhttp-b = 1\n[Jet]\nhttp-b = 2\n")
    assert dict(found.headers) == {"a": "1", "b": "2"}
    assert found.origins["headers"].value == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        ("20s", 20),
        ("0.5s", 0.5),
        ("2m30s", 150),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("9µs", 9e-6),
    ],
)
def test_times_are_read_as_there(value: str, expected: float) -> None:
    assert seconds(value) == pytest.approx(expected)


@pytest.mark.parametrize("value", ["", "-1", "+1s", "1 s", "s", "1d", "1s30", "0x1", "٣"])
def test_other_times_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be a time like 300ms"):
        seconds(value)


def test_the_first_of_equal_sections_wins_across_files_too(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("[Jet]\nusb-max-interfaces = 1\n")
    (tmp_path / "b.conf").write_text("[Jet]\nusb-max-interfaces = 2\n")
    assert load([tmp_path]).effective_for(MatchTarget(names=("Jet",))).max_interfaces == 1


def test_what_is_not_used_is_listed_with_line_key_and_reason(tmp_path: Path) -> None:
    (tmp_path / "odd.conf").write_text(
        "disable-fax = true\n[Model]\nhttp-content-length = x\nblacklist = maybe\n"
        "usb-max-interfaces = many\nrequest-delay = 999999\ndisable-fax = true\n"
        "disable-fax = false\nno-such-key = 1\n???\n[open\ninit-reset = hard\n"
    )
    table = load([tmp_path])
    found = table.effective_for(MatchTarget(names=("Model",)))
    assert (found.fax, found.ignore_device, found.max_interfaces) == (False, False, None)
    said = [str(line).removeprefix(f"{tmp_path}/odd.conf:") for line in table.unused]
    assert said == [
        "1: disable-fax = true: stands in no section",
        "3: [Model] http-content-length = x: the field is the daemon's own",
        "4: [Model] blacklist = maybe: must be true or false",
        "5: [Model] usb-max-interfaces = many: must be a whole number",
        "6: [Model] request-delay = 999999: must be a number of seconds from 0 to 10",
        "8: [Model] disable-fax = false: is set above already",
        "9: [Model] no-such-key = 1: is no key that is known here",
        "10: [Model] ???: must be KEY = VALUE",
        "11: [open: a section must end with ]",
        "12: init-reset = hard: stands in no section",
    ]
    assert [line.where[-1] for line in table.unused if not line.wrong] == ["3", "9"]


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    sections(text, "f")
