"""Which requests may come from a web page that has no business with the printer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.proxy.access.origin import (
    UNTRUSTED_NAMES,
    refused_browser,
    refused_host,
    refused_site,
)

LOCAL = "127.0.0.1"
NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:60000",
        "LOCALHOST.:60000",
        "localhost.local:60000",
        "ip6-localhost",
        "127.0.0.1:1",
        "127.8.9.10:60000",
        "[::1]:60000",
        "[::1]",
        "[::1%25lo]:60000",
        " localhost ",
        "localhost:",
        None,
    ],
)
def test_names_that_nobody_else_can_own_are_allowed(host: str | None):
    assert refused_host(host, LOCAL, NONE) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:60000",
        "localhost.evil.example",
        "evil-localhost",
        "evil.example@localhost",
        "localhost@evil.example",
        "localhost/evil.example",
        "localhost\\evil.example",
        "localhost#.evil.example",
        "localhost evil.example",
        "192.0.2.1:60000",
        "0.0.0.0",
        "[2001:db8::1]",
        "127.0.0.1.evil.example",
        "[::1].evil.example",
        "",
        "x" * 5000,
        "l\u00f6calhost",
    ],
)
def test_any_other_name_is_refused(host: str):
    refusal = refused_host(host, LOCAL, NONE)
    assert refusal is not None
    assert refusal.status == 421


def test_configured_names_are_allowed():
    ours = frozenset({"printer.home"})
    assert refused_host("Printer.Home:60000", LOCAL, ours) is None
    assert refused_host("other.home:60000", LOCAL, ours) is not None
    assert refused_host("whatever", LOCAL, frozenset({"*"})) is None


def test_the_address_that_was_connected_to_is_allowed():
    assert refused_host("192.0.2.10:60000", "192.0.2.10", NONE) is None
    assert refused_host("192.0.2.11:60000", "192.0.2.10", NONE) is not None
    assert refused_host("[fe80::1]:60000", "fe80::1%eth0", NONE) is None


@given(st.text(max_size=40))
def test_every_host_field_gets_a_verdict(host: str):
    refused_host(host, LOCAL, NONE)


HOST = {"Host": "localhost:60000"}
OWN = "http://localhost:60000"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "fields",
    [
        {},  # no browser
        {"Origin": OWN},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "Origin": OWN},
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},  # Referrer-Policy: no-referrer
        {"Sec-Fetch-Site": "none"},  # typed into the address bar
    ],
)
def test_the_printers_own_pages_and_programs_are_allowed(method: str, fields: dict[str, str]):
    assert refused_site(method, HOST | fields) is None


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PUT", "OPTIONS"])
@pytest.mark.parametrize(
    "fields",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:8000"},
        {"Origin": "https://localhost:60000"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port of this machine
        {"Sec-Fetch-Site": "cross-site", "Origin": OWN},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    ],
)
def test_pages_of_other_sites_are_refused(method: str, fields: dict[str, str]):
    refusal = refused_site(method, HOST | fields)
    assert refusal is not None
    assert refusal.status == 403


@pytest.mark.parametrize(("method", "allowed"), [("GET", True), ("HEAD", True), ("POST", False)])
def test_a_link_of_another_site_is_allowed_and_a_form_is_not(method: str, allowed: bool):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    refusal = refused_site(method, HOST | link | {"Sec-Fetch-Dest": "document"})
    assert (refusal is None) is allowed


CHROMIUM = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/141.0"}
DISGUISED = {"User-Agent": "curl/8", "Accept-Language": ""}  # by a script of a page
PROGRAMS = [{}, {"User-Agent": "CUPS/2.4.2 (Linux) IPP/2.0"}, {"User-Agent": "curl/8"}]


@pytest.mark.parametrize("name", sorted(UNTRUSTED_NAMES))
@pytest.mark.parametrize("browser", [CHROMIUM, DISGUISED])
def test_a_browser_that_says_nothing_of_its_page_is_redirected(name: str, browser: dict[str, str]):
    said = {"Host": f"{name}:60000", **browser}
    refusal = refused_browser("GET", "/a?b", said, NONE)
    assert refusal is not None
    assert (refusal.status, refusal.location) == (307, "http://localhost:60000/a?b")

    refusal = refused_browser("POST", "/", {**said, "Origin": f"http://{name}:60000"}, NONE)
    assert refusal is not None
    assert (refusal.status, refusal.location) == (403, "")


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_use_the_announced_name(program: dict[str, str]):
    assert refused_browser("GET", "/", {"Host": "localhost.local:60000", **program}, NONE) is None


@pytest.mark.parametrize(
    ("host", "names"),
    [("localhost:1", NONE), ("127.0.0.1:1", NONE), ("localhost.local:1", {"localhost.local"})],
)
def test_under_other_names_and_configured_ones_a_browser_is_served(host: str, names: set[str]):
    assert refused_browser("GET", "/", {"Host": host, **CHROMIUM}, frozenset(names)) is None
