"""The configuration file: what is taken, what is refused and how it is said."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd import config, toml_lines
from ippusbd.config import Config, load, parse
from ippusbd.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "packaging" / "ippusbd.conf"
# Keys whose shown value is an example because their default is "unset".
EXAMPLES = {
    "broker.dir",
    "dnssd.static_dir",
    "dnssd.static_template",
    "log.levels",
    "daemon.state_dir",
    "daemon.runtime_dir",
    "share.users_file",
    "share.certificate",
    "share.key",
}


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), "f.conf")
    return str(caught.value)


def test_no_file_means_the_defaults():
    assert load(None) == Config()
    assert Config().port_min == 60000


def test_sections_of_the_file_become_flat_attributes(tmp_path: Path):
    path = tmp_path / "ippusbd.conf"
    path.write_text(
        '[listen]\nipv6 = ""\nport_min = 61000\n[http]\nlease_wait_s = 3\n'
        '[printers]\nignore = ["3F0:12"]\n[log]\nlevels = {usb = "debug"}\n'
        '[daemon]\nquirks_dirs = ["/a", "/b"]\n'
    )
    loaded = load(path)
    assert (loaded.listen_ipv6, loaded.port_min, loaded.lease_wait_s) == ("", 61000, 3.0)
    assert loaded.ignore == ("03f0:0012",)
    assert dict(loaded.log_levels) == {"usb": "debug"}
    assert loaded.quirks_dirs == (Path("/a"), Path("/b"))


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "addresses", "host"),
    [
        ("127.0.0.1", "::1", ["127.0.0.1", "::1"], "localhost"),
        ("127.0.0.1", "", ["127.0.0.1"], "127.0.0.1"),  # localhost may be another program at ::1
        ("", "::1", ["::1"], "[::1]"),
        ("127.0.0.2", "::1", ["127.0.0.2", "::1"], "127.0.0.2"),
    ],
)
def test_our_urls_lead_to_an_address_that_is_served(
    ipv4: str, ipv6: str, addresses: list[str], host: str
):
    listening = Config(listen_ipv4=ipv4, listen_ipv6=ipv6)
    assert (listening.listen_addresses, listening.listen_host) == (addresses, host)


def test_the_shipped_file_loads_and_changes_nothing():
    assert load(SHIPPED) == Config()


def test_the_shipped_file_shows_every_key_with_its_default():
    text = re.sub(r"^# (?=\w+ = )", "", SHIPPED.read_text(), flags=re.MULTILINE)
    for example in ('ignore = ["03f0:1234"]\n',):
        assert example in text
        text = text.replace(example, "")
    shown, defaults = parse(text.encode(), "shown"), Config()
    section, keys = "", []
    for line in text.splitlines():
        if header := re.match(r"\[(\w+)\]", line):
            section = header[1]
        elif key := re.match(r"(\w+) = ", line):
            keys.append(f"{section}.{key[1]}")
    assert sorted(keys) == sorted(config.KNOWN)
    for key in set(keys) - EXAMPLES:
        name = config.KNOWN[key].field
        assert getattr(shown, name) == getattr(defaults, name), key


def test_every_field_of_config_is_a_key():
    made_of_all = {"access_set"}
    assert {known.field for known in config.KNOWN.values()} == {
        f.name for f in dataclasses.fields(Config)
    } - made_of_all


def test_it_is_known_which_rules_of_access_the_file_sets():
    parsed = config.parse(b'[access]\nprint = []\nscan = ["root"]\n', "f")
    assert parsed.access_set == {"print", "scan"}
    assert config.parse(b"[access]\n", "f").access_set == config.Config().access_set == frozenset()


def test_defaults_pass_their_own_checks():
    for key, known in config.KNOWN.items():
        default = getattr(Config(), known.field)
        if isinstance(default, str | int | float):
            assert known.check(default) == default, key


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[listen]\n\nport_mni = 1", "f.conf:3: unknown key in [listen]: port_mni (did you mean"),
        ("[listen]\nfoobar = 1", "(known: interface, ipv4, ipv6, port_max, port_min)"),
        ("\n[listn]", "f.conf:2: unknown section listn (did you mean listen?)"),
        ("listen = 3", "listen must be a section"),
        ("[listen]\nport_min = true", "f.conf:2: [listen] port_min must be a whole number"),
        ("[listen]\nport_min = 80", "from 1024 to 65535, not 80"),
        ("[listen]\nport_min = 60000.0", "must be a whole number"),
        ("[http]\ndrain_s = nan", "[http] drain_s must be a number of seconds"),
        ("[http]\ndrain_s = inf", "[http] drain_s must be a number of seconds"),
        ("[http]\ndrain_s = true", "[http] drain_s must be a number of seconds"),
        ("[http]\ndrain_s = '1'", "[http] drain_s must be a number of seconds"),
        ('[listen]\nipv4 = "0.0.0.0"', "[listen] ipv4 must be an IPv4 loopback address or empty"),
        ('[listen]\nipv4 = "::1"', "must be an IPv4 loopback address"),
        ('[listen]\nipv6 = "localhost"', "must be an IPv6 loopback address"),
        ("[listen]\nipv4 = 1", "must be an IPv4 loopback address"),
        ('[printers]\nignore = ["03f0"]', 'must be USB ids like "03f0:1234"'),
        ('[printers]\nignore = ["zz:1"]', 'must be USB ids like "03f0:1234"'),
        ('[printers]\nignore = "03f0:1234"', "must be a list"),
        ('[usb]\nchannel = "fast"', 'must be one of "auto", "async", "threads"'),
        ('[log]\nlevels = {usbb = "debug"}', "must be a table with keys out of usb, http"),
        ('[log]\nlevels = {usb = "loud"}', 'must be one of "debug"'),
        ('[daemon]\nstate_dir = "here"', "must be an absolute path"),
        ('[daemon]\ncontrol_group = "a\\u001bb"', "printable"),
        ("[listen]\nport_min = 2000\nport_max = 1999", "port_min is above port_max"),
        ('[listen]\nipv4 = ""\nipv6 = ""', "ipv4 and ipv6 are both empty"),
        ("[printers]\nretry_min_s = 90", "retry_min_s is above retry_max_s"),
        ('[dnssd]\npublisher = "static"', "needs static_dir"),
        (
            '[listen]\nipv4 = ""\n[dnssd]\npublisher = "static"\nstatic_dir = "/a"',
            "so [listen] ipv4 must be that",
        ),
        (
            '[dnssd]\nsuffix = " (USB) "',
            "at most 32 bytes, without two blanks or a blank at its end",
        ),
        ('[dnssd]\nsuffix = "üüüüüüüüüüüüüüüüü"', "at most 32 bytes"),
        ('[dnssd]\nsuffix = " a  b"', "without two blanks"),
        ('[listen]\ninterface = "eth0"', 'must be "loopback", "all" or a list of names'),
        ('[listen]\ninterface = ["a/b"]', 'must be "loopback", "all" or a list of names'),
        ('[listen]\ninterface = ["a", 1]', 'must be "loopback", "all" or a list of names'),
        ('[share]\nallow = ["10.0.0.1/8"]', "(it has bits of a host set)"),
        ('[share]\nallow = ["home"]', 'must be networks like "192.168.1.0/24"'),
        ("[share]\nallow = [4]", 'must be networks like "192.168.1.0/24"'),
        ('[share]\nkey = "/k"', "certificate and key must both be set, or neither"),
        ("[listen", "not a TOML file"),
    ],
)
def test_what_is_wrong_is_refused_by_file_line_and_key(text: str, said: str):
    message = refused(text)
    assert message.startswith("f.conf")
    assert said in message


def test_interfaces_are_none_all_or_those_that_are_named():
    def interfaces(value: str) -> tuple[str, ...]:
        return parse(f"[listen]\ninterface = {value}".encode(), "f").share_interfaces

    assert interfaces('"loopback"') == ()
    assert interfaces('"all"') == ("*",)
    assert interfaces('["eth0", "wlan0", "eth0"]') == ("eth0", "wlan0")


def test_a_long_wrong_value_is_shown_short():
    assert len(refused(f'[usb]\nchannel = "{"x" * 5000}"')) < 200


def test_a_missing_file_an_unreadable_one_and_a_huge_one_are_configuration_errors(tmp_path: Path):
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.conf")
    with pytest.raises(ConfigError, match="directory"):
        load(tmp_path)
    huge = tmp_path / "huge.conf"
    huge.write_bytes(b"#" * (toml_lines.MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than"):
        load(huge)


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_any_bytes_are_a_configuration_or_our_error(raw: bytes):
    with contextlib.suppress(ConfigError):
        assert isinstance(parse(raw, "f.conf"), Config)


def test_deep_nesting_is_our_error_too():
    assert "not a TOML file" in refused("a = " + "[" * 5000)


# --- where things are


def test_directories_of_a_service_are_those_of_systemd():
    environ = {"STATE_DIRECTORY": "/var/lib/x:/other", "RUNTIME_DIRECTORY": "/run/x", "HOME": "/h"}
    assert config.state_dir(Config(), environ, 500) == Path("/var/lib/x")
    assert config.runtime_dir(Config(), environ, 500) == Path("/run/x")


def test_the_owner_of_the_systems_directories_uses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("SYSTEM_STATE", "SYSTEM_RUNTIME", "SYSTEM_BROKER"):
        monkeypatch.setattr(config, name, tmp_path)
    owner = tmp_path.stat().st_uid
    environ = {"HOME": "/h"}
    for folder in (config.state_dir, config.runtime_dir, config.broker_dir):
        assert folder(Config(), environ, owner) == tmp_path
        assert folder(Config(), environ, owner + 1).is_relative_to("/h")


def test_directories_of_root_are_the_systems():
    environ = {"XDG_STATE_HOME": "/h/s", "XDG_RUNTIME_DIR": "/h/r", "HOME": "/h"}
    assert config.state_dir(Config(), environ, 0) == Path("/var/lib/ippusbd")
    assert config.control_socket(Config(), environ, 0) == Path("/run/ippusbd/control.sock")


def test_directories_of_a_user_are_the_xdg_ones_and_relative_values_count_for_nothing():
    environ = {"XDG_STATE_HOME": "/h/s", "XDG_RUNTIME_DIR": "/h/r", "HOME": "/h"}
    assert config.state_dir(Config(), environ, 500) == Path("/h/s/ippusbd")
    assert config.runtime_dir(Config(), environ, 500) == Path("/h/r/ippusbd")
    environ = {"XDG_STATE_HOME": "s", "XDG_RUNTIME_DIR": "r", "HOME": "/h"}
    assert config.state_dir(Config(), environ, 500) == Path("/h/.local/state/ippusbd")
    assert config.runtime_dir(Config(), environ, 500) == Path("/h/.local/state/ippusbd/run")


def test_directories_in_the_configuration_come_first():
    mine = Config(state_dir=Path("/s"), runtime_dir=Path("/r"))
    environ = {"STATE_DIRECTORY": "/var/lib/x", "RUNTIME_DIRECTORY": "/run/x"}
    assert config.state_dir(mine, environ, 0) == Path("/s")
    assert config.runtime_dir(mine, environ, 0) == Path("/r")


def test_a_users_own_file_comes_before_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    system = tmp_path / "system.conf"
    own = tmp_path / "ippusbd" / "ippusbd.conf"
    own.parent.mkdir()
    monkeypatch.setattr(config, "SYSTEM_FILE", system)
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert config.default_file(environ, 500) is None
    system.touch()
    assert config.default_file(environ, 500) == system
    own.touch()
    assert config.default_file(environ, 500) == own
    assert config.default_file(environ, 0) == system
