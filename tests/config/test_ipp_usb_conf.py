"""ipp-usb.conf: what it closes stays closed, the rest is taken over or named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.config import Config
from ippusbd.ipp_usb_conf import KINDS, NOBODY, IppUsbConf, found, parse, read

PATH = Path("/etc/ipp-usb/ipp-usb.conf")
CLOSED = dict.fromkeys(KINDS, NOBODY)
SHIPPED = """\
[network]
  http-min-port = 60000
  http-max-port = 65535
  dns-sd = enable      # enable | disable
  interface = loopback # all | loopback
  ipv6 = enable
[auth uid]
  all = *
[logging]
  device-log    = all
  main-log      = debug
  console-log   = debug
  max-file-size    = 256K
  max-backup-files = 5
  console-color = enable
  get-all-printer-attrs = false
"""


def conf_of(document: str) -> IppUsbConf:
    return parse(document, PATH)


def settings(document: str) -> dict[str, object]:
    return {key: value for key, (value, _) in conf_of(document).settings.items()}


def remarks(document: str) -> list[str]:
    return [str(remark).removeprefix(f"{PATH}:") for remark in conf_of(document).remarks]


def test_the_shipped_file_changes_and_closes_nothing():
    conf = conf_of(SHIPPED)
    assert (conf.settings, conf.access, conf.remarks) == ({}, {}, [])


def only(**rules: tuple[str | int, ...]) -> dict[str, tuple[str | int, ...]]:
    """Every kind that is not open; an open one is given as ()."""
    return {kind: names for kind in KINDS if (names := rules.get(kind, NOBODY))}


@pytest.mark.parametrize(
    ("rules", "access"),
    [
        ("", {}),
        ("all = *", {}),
        ("all = @*", {}),
        ("all = root", CLOSED),
        (
            "print, fax = root, @root\nscan = *",
            only(print=("root", "@root"), fax=("root", "@root"), scan=()),
        ),
        ("print = 1000, @50\nprint = root", only(print=(1000, "@50", "root"))),
        (
            "print =\nall = @50\nscan = *",
            only(print=("@50",), fax=("@50",), config=("@50",), scan=()),
        ),
        ("Print = *", only(print=())),
    ],
)
def test_what_no_rule_allows_is_refused(rules: str, access: dict[str, object]):
    assert conf_of(f"[auth uid]\n{rules}\n").access == access


@pytest.mark.parametrize("section", ["auth uid", "Auth  UID", "auth", "auth uid 2"])
def test_rules_count_under_every_name_that_ipp_usb_takes_for_the_section(section: str):
    assert conf_of(f"[{section}]\nall = root\n").access == CLOSED


@pytest.mark.parametrize(
    ("document", "remark"),
    [
        (
            "[auth uid]\nprint = *\nprnt = *\n",
            "3: [auth uid] prnt = *: there is no operation prnt;",
        ),
        ("[auth uid]\nprint\n", "2: [auth uid] print: must be KEY = VALUE;"),
        ("[auth uid]\n, = *\n", "2: [auth uid] , = *: there is no operation"),
        ('[auth uid]\nall = "*\n', '2: [auth uid] all = "*: a quoted text must end'),
        ("[auth uid\nall = *\n", "1: [auth uid: a section must end with ];"),
    ],
)
def test_a_rule_that_cannot_be_read_closes_the_printers(document: str, remark: str):
    conf = conf_of(document)
    assert conf.access == CLOSED
    assert conf.access_broken
    assert remarks(document)[0].startswith(remark)
    assert "only root may use printers until it is corrected" in remarks(document)[0]
    assert conf.remarks[0].wrong


def test_users_and_groups_that_do_not_exist_here_are_left_out_and_named():
    document = "[auth uid]\nprint = root, nobody-of-this-name\nconfig = @no-such-group\nscan = *\n"
    access = conf_of(document).access
    assert access == {"print": ("root",), "fax": NOBODY, "config": NOBODY}
    said = remarks(document)
    assert "there is no user nobody-of-this-name; nobody-of-this-name is left out" in said[0]
    assert "3: [auth uid] config = @no-such-group: there is no group no-such-group" in said[1]


@pytest.mark.parametrize(
    ("document", "ours"),
    [
        ("[network]\nhttp-min-port = 61000\n", {"listen.port_min": 61000}),
        ("[network]\nhttp-max-port = 62000\n", {"listen.port_max": 62000}),
        ("[network]\nipv6 = disable\n", {"listen.ipv6": ""}),
        ("[network]\ninterface = all\n", {"listen.interface": "all"}),
        ("[network]\ndns-sd = disable\n", {"dnssd.publisher": "off"}),
        ("[logging]\nmain-log = error\ndevice-log = error\n", {"log.level": "error"}),
        ("[logging]\nmain-log = error\n", {}),  # the devices' logs are as verbose as before
        ("[logging]\nmain-log = info, error\ndevice-log = error\n", {}),
        ("[ Network ]\nIPv6 = disable\n", {"listen.ipv6": ""}),
    ],
)
def test_settings_that_mean_something_here_are_taken_over(document: str, ours: dict[str, object]):
    assert settings(document) == ours
    assert remarks(document) == []


@pytest.mark.parametrize(
    ("document", "remark", "wrong"),
    [
        ("[network]\nhttp-min-port = 80\n", "2: [network] http-min-port = 80: ports below", False),
        ("[network]\nhttp-min-port = x\n", "2: [network] http-min-port = x: must be a port", True),
        ("[network]\nhttp-max-port = 100\n", "2: [network] http-max-port = 100: must be", True),
        ("[network]\nipv6 = off\n", "2: [network] ipv6 = off: must be disable or enable", True),
        ("[network]\nno-such = 1\n", "2: [network] no-such = 1: is no key", False),
        ("[network]\nipv6\n", "2: [network] ipv6: must be KEY = VALUE", True),
        ("[netwrk]\nipv6 = disable\n", "2: [netwrk] ipv6 = disable: stands in no section", False),
        ("ipv6 = disable\n", "1: ipv6 = disable: stands in no section", False),
        ("[logging]\nmain-log = trace-usb\n", "2: [logging] main-log = trace-usb: has no", False),
        ("[logging]\nmain-log = chatty\n", "2: [logging] main-log = chatty: there is no log", True),
        ("[logging]\nmax-file-size = 1M\n", "2: [logging] max-file-size = 1M: has no", False),
    ],
)
def test_the_rest_is_named_with_file_line_and_key(document: str, remark: str, wrong: bool):
    (said,) = remarks(document)
    assert said.startswith(remark)
    assert conf_of(document).remarks[0].wrong is wrong
    assert settings(document) == {}


def test_sharing_that_no_rule_lets_anybody_use_is_not_taken_over():
    document = "[network]\ninterface = all\n[auth uid]\nprint = root\n"
    assert settings(document) == {}
    assert "no client from the network may do anything" in remarks(document)[0]
    open_for_print = document.replace("print = root", "print = *")
    assert settings(open_for_print) == {"listen.interface": "all"}


def test_sharing_without_ipv6_is_left_to_the_administrator():
    document = "[network]\ninterface = all\nipv6 = disable\n"
    assert settings(document) == {"listen.ipv6": ""}
    assert "set [listen] interface and [share] allow yourself" in remarks(document)[0]


def test_a_file_that_is_not_there_says_nothing_and_one_that_cannot_be_read_closes(tmp_path: Path):
    assert read(tmp_path / "absent" / "ipp-usb.conf") is None
    conf = read(tmp_path)  # a directory
    assert conf is not None
    assert (conf.access, conf.access_broken) == (CLOSED, True)


def test_the_copy_of_a_deleted_file_still_counts(tmp_path: Path):
    config = Config(ipp_usb_conf=tmp_path / "ipp-usb.conf")
    assert found(config, tmp_path / "state") is None
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ipp-usb.conf").write_text("[auth uid]\nall = root\n")
    copy = found(config, tmp_path / "state")
    assert copy is not None
    assert copy.access == CLOSED
    config.ipp_usb_conf.write_text("[auth uid]\nall = *\n")
    original = found(config, tmp_path / "state")
    assert original is not None
    assert original.access == {}


@given(st.text())
def test_any_text_is_read(text: str):
    conf = conf_of(f"[auth uid]\n{text}\n[network]\n{text}\n[logging]\n{text}")
    assert conf.access.keys() <= set(KINDS)
    assert conf.access == CLOSED or not conf.access_broken, "what cannot be read opens nothing"
