"""Quirk files: what they may say, who wins, and where each value came from."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.errors import ConfigError
from ippusbd.model import BusAddress, DeviceFacts, UsbId
from ippusbd.quirks.load import Effective, QuirkTable, load, parse
from ippusbd.quirks.match import MatchTarget
from ippusbd.quirks.model import KNOWN, Quirks

HP = DeviceFacts(UsbId(0x03F0, 0x1234), BusAddress(1, 2), "HP", "HP LaserJet 9")


def table(*documents: str) -> QuirkTable:
    entries = [parse(text.encode(), f"f{n}.toml") for n, text in enumerate(documents)]
    return QuirkTable(entry for group in entries for entry in group)


def entry(match: str, settings: str, reason: str = "r") -> str:
    return f'[[quirk]]\n{match}\nreason = "{reason}"\n{settings}\n'


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), "f.toml")
    return str(caught.value)


def test_a_device_that_nobody_mentions_gets_the_defaults():
    assert table().effective(HP) == Effective()


def test_a_value_knows_its_file_line_pattern_and_reason():
    found = table(entry('model = "HP*"', "\nmax_interfaces = 1", "hangs")).effective(HP)
    assert found.max_interfaces == 1
    origin = found.origins["max_interfaces"]
    assert (str(origin), origin.pattern, origin.reason) == ("f0.toml:5", "HP*", "hangs")
    assert origin.value == 1


def test_the_most_specific_entry_wins_for_each_setting_wherever_it_stands():
    found = table(
        entry('usb = "03f0:1234"', "max_interfaces = 1"),
        entry('model = "HP LaserJet*"', "max_interfaces = 2\nfax = false"),
        entry('model = "HP*"', "max_interfaces = 3\nfax = true\nscan = false"),
        entry('usb = "03f0:*"', "scan = true\npassive = true"),
        entry('model = "*"', "passive = false\nidle_release = false"),
    ).effective(HP)
    assert found.max_interfaces == 1
    assert (found.fax, found.scan, found.passive, found.idle_release) == (False, False, True, False)
    assert str(found.origins["fax"]).startswith("f1.toml:")


def test_of_two_equally_specific_entries_the_later_one_wins():
    same = table(entry('model = "HP*"', "fax = false"), entry('model = "*HP*"', "fax = true"))
    assert same.effective(HP).fax is True


def test_an_entry_for_several_devices_counts_as_its_best_pattern():
    several = 'model = ["Canon*", "HP LaserJet 9"]\nusb = ["03f0:*", "0924:42e8"]'
    found = table(entry(several, "fax = false"), entry('model = "HP LaserJet*"', "fax = true"))
    assert found.effective(HP).fax is False
    assert found.effective(HP).origins["fax"].pattern == "HP LaserJet 9"
    assert found.effective_for(MatchTarget.from_text("0924:42e8")).fax is False


def test_ordinary_words_of_a_file_become_what_the_code_needs():
    plain = table(entry('model = "*"', 'connection = "drop"\nhost_header = "localhost:PORT"'))
    assert (plain.effective(HP).connection, plain.effective(HP).host_header) == (None, "")
    special = table(entry('model = "*"', 'connection = "close"\nhost_header = "localhost"'))
    assert special.effective(HP).connection == "close"
    assert special.effective(HP).host_header == "localhost"


def test_what_was_learned_stands_above_built_in_entries_and_below_the_administrators_word():
    built_in = parse(entry('usb = "03f0:1234"', "fax = false").encode(), "b", built_in=True)
    learned = {"fax": True, "max_interfaces": 1}
    found = QuirkTable(built_in).effective(HP, learned)
    assert (found.fax, found.max_interfaces) == (True, 1)
    assert str(found.origins["fax"]) == "learned"
    admin = parse(entry('usb = "03f0:1234"', "max_interfaces = 2").encode(), "a")
    found = QuirkTable([*built_in, *admin]).effective(HP, learned)
    assert (found.fax, found.max_interfaces) == (True, 2)


@pytest.mark.parametrize(
    "match", ['usb = "03f0:1234"', 'model = "HP LaserJet 9"', 'model = "HP*"', 'usb = "03f0:*"']
)
def test_an_administrators_entry_wins_whatever_it_matches_by(match: str):
    built_in = parse(entry('usb = "03f0:1234"', "fax = false").encode(), "b", built_in=True)
    admin = parse(entry(match, "fax = true\nmax_interfaces = 2").encode(), "a")
    found = QuirkTable([*built_in, *admin]).effective(HP, {"max_interfaces": 1})
    assert (found.fax, found.max_interfaces) == (True, 2)


def test_learned_settings_that_are_unknown_or_wrong_are_left_out():
    found = table().effective(HP, {"no_such": 1, "max_interfaces": "x", "fax": False})
    assert set(found.origins) == {"fax"}


def test_an_ignored_device_says_why():
    found = table(entry('model = "HP*"', "ignore_device = true", "no good")).effective(HP)
    assert found.ignore_reason == "no good"
    assert table().effective(HP).ignore_reason == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (entry('model = "x"', "fex = true"), "f.toml:4: unknown key fex (did you mean fax?)"),
        (entry('model = "x"', "fax = 1"), "f.toml:4: fax must be true or false, not 1"),
        (entry('model = "x"', "max_interfaces = 0"), "f.toml:4: max_interfaces must be a whole"),
        (entry('model = "x"', "max_interfaces = true"), "max_interfaces must be a whole"),
        (entry('model = "x"', 'connection = "maybe"'), 'one of "drop", "keep-alive", "close"'),
        (entry("", "fax = false"), "f.toml:1: an entry needs a model or a usb id"),
        (entry("model = []", "fax = false"), "f.toml:1: an entry needs a model or a usb id"),
        (entry("model = 3", "fax = false"), "f.toml:2: model must be a text"),
        (entry('model = " "', "fax = false"), "f.toml:2: model must not be empty"),
        (entry('usb = "123:1"', ""), 'f.toml:2: usb must be a USB id like "03f0:1234"'),
        ('\n[[quirk]]\nmodel = "x"\nfax = false', "f.toml:2: an entry needs a reason"),
        ('[[quirk]]\nmodel = "x"\nreason = 1', "f.toml:3: reason must be a text"),
        ("[[quirks]]\n", "f.toml:1: unknown table (entries are [[quirk]]): quirks (did you mean"),
        (entry('model = "x"', "headers = 1"), "headers must be a table of header fields"),
        (entry('model = "x"', 'headers = { Host = "x" }'), "replaced, which Host may not"),
        (entry('model = "x"', 'headers = { X = "ä" }'), "headers must be texts in ASCII"),
        ("\n[quirk]\n", "f.toml:2: write entries as [[quirk]]"),
        ("quirk = [1]\n", "f.toml:1: write entries as [[quirk]]"),
        ("[[quirk", "f.toml: not a TOML file"),
    ],
)
def test_what_is_wrong_is_refused_by_file_line_and_key(text: str, said: str):
    assert said in refused(text)


@given(st.text(max_size=80))
def test_any_text_is_a_list_of_entries_or_our_error(text: str):
    with contextlib.suppress(ConfigError):
        assert isinstance(parse(text.encode("utf-8", "surrogatepass"), "f.toml"), list)


# --- files


def test_files_of_a_directory_are_read_in_order_and_other_files_are_not(tmp_path: Path):
    (tmp_path / "20-b.toml").write_text(entry('model = "HP*"', "fax = true"))
    (tmp_path / "10-a.toml").write_text(entry('model = "HP*"', "fax = false"))
    (tmp_path / "30-c.toml~").write_text("not TOML at all")
    found = load([tmp_path / "absent", tmp_path]).effective(HP)
    assert found.fax is True
    assert str(found.origins["fax"]) == f"{tmp_path}/20-b.toml:4"


def test_an_administrator_overrides_a_built_in_entry_with_the_same_pattern(tmp_path: Path):
    (tmp_path / "x.toml").write_text(entry('model = "Brother QL-810W"', "max_interfaces = 2"))
    device = MatchTarget.from_text("Brother QL-810W")
    assert load([tmp_path]).effective_for(device).max_interfaces == 2


def test_what_cannot_be_read_is_a_configuration_error(tmp_path: Path):
    (tmp_path / "x.toml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ConfigError, match="larger than"):
        load([tmp_path])
    (tmp_path / "x.toml").write_text(entry('model = "x"', "nonsense = 1"))
    with pytest.raises(ConfigError, match=r"x\.toml:4: unknown key nonsense"):
        load([tmp_path])
    with pytest.raises(ConfigError, match="Not a directory"):
        load([tmp_path / "x.toml"])


# --- the built-in files


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("Any Printer", {"connection": None}),
        ("Brother QL-810W", {"max_interfaces": 1}),
        ("Canon SELPHY CP1500", {"ignore_ipp_status": True}),
        ("HP LaserJet MFP M28-M31", {"connection": "keep-alive"}),
        ("HP OfficeJet Pro 8730", {"connection": "close"}),
        ("HP ScanJet Pro 4500 fn1", {"max_interfaces": 1}),
        ("HP Photosmart 6520 series", {"fax": False}),
        ("HP ENVY 5530 series", {"fax": False}),
        ("Pantum BM5100ADN series", {"fax": False, "sanitize_ipp": True}),
        ("HP OfficeJet Pro 8710", {"soft_reset_at_start": True}),
        (
            "HP Color LaserJet Flow MFP M578",
            {"start_timeout_s": 20.0, "retry_partial_start": True, "cut_response_s": 1.0},
        ),
        ("HP LaserJet M406", {"retry_partial_start": True, "scan": False}),
        ("Pantum M6559NW", {"sanitize_ipp": True}),
        ("0924:42e8", {"product": "B205", "hard_reset_at_start": True, "idle_release": False}),
        ("0924:42e9", {"product": "B215", "hard_reset_at_start": True, "idle_release": False}),
        ("0924:42ea", {"product": "B210", "hard_reset_at_start": True, "idle_release": False}),
        ("HP Laser MFP 135a", {"ignore_device": True}),
        ("HP Laser 107a", {"ignore_device": True}),
        ("EPSON ET-4750 Series", {"soft_reset": "never"}),
    ],
)
def test_every_known_model_gets_what_it_needs(device: str, expected: dict[str, object]):
    found = load().effective_for(MatchTarget.from_text(device))
    for key, value in expected.items():
        assert getattr(found, key) == value
        assert found.origins[key].reason
        assert found.origins[key].line > 0
    others = KNOWN.keys() - expected.keys() - {"connection", "manufacturer"}
    assert {key: getattr(found, key) for key in others} == {
        key: getattr(Quirks(), key) for key in others
    }


def test_the_file_and_line_shown_is_where_the_setting_stands():
    for entry_ in load().entries:
        for key, origin in entry_.origins.items():
            line = Path(origin.file).read_text().splitlines()[origin.line - 1]
            assert line.startswith(f"{key} = ")
