"""How requests are classified, and who is allowed them."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.http_client import ipp_request

from ippusbd.config import Config
from ippusbd.errors import ConfigError
from ippusbd.proxy.access.rules import Access, Activity, access_of, asked
from ippusbd.users.accounts import Allowed
from ippusbd.wire import ipp

IPP = ("application/ipp",)
PRINT_JOB, GET_JOBS, GET_PRINTER_ATTRIBUTES = 0x02, 0x0A, 0x0B
PRINT, SCAN, FAX, CONFIG = Activity.PRINT, Activity.SCAN, Activity.FAX, Activity.CONFIG
ALICE, BOB, STAFF = 1001, 1002, 2001


def does(target: str, *, method: str = "POST", types: tuple[str, ...] = (), body: bytes = b""):
    return set(asked(method, target, types, body).activities)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/eSCL/ScanJobs", {SCAN}),
        ("/ESCL/ScanJobs", {SCAN}),
        ("//eSCL//ScanJobs", {SCAN}),
        ("/%65SCL/ScanJobs", {SCAN}),
        ("/%2565SCL/ScanJobs", {SCAN}),
        ("/x/../eSCL/ScanJobs", {SCAN}),
        ("/./eSCL/ScanJobs?x=/ipp", {SCAN}),
        ("\\eSCL\\ScanJobs", {SCAN}),
        ("/eSCL%2fScanJobs", {SCAN}),
        ("/", {CONFIG}),
        ("/DevMgmt/ProductConfigDyn.xml", {CONFIG}),
        ("/hp/device/../../index.html?p=/eSCL", {CONFIG}),
        ("/ipp/print", {PRINT, FAX}),  # with a body that says nothing
        ("/%69pp/print", {PRINT, FAX}),
    ],
)
def test_a_path_is_classified_in_any_spelling(target: str, expected: set[Activity]):
    assert does(target) == expected


@pytest.mark.parametrize(
    ("target", "uri_path", "expected"),
    [
        ("/ipp/print", "/ipp/print", {PRINT}),
        ("/IPP//print", "/ipp/print", {PRINT}),
        ("/ipp/faxout", "/ipp/faxout", {FAX}),
        ("/ipp/print", "/ipp/faxout", {PRINT, FAX}),
        ("/ipp/print", "/ipp/fax%6fut", {PRINT, FAX}),
        ("/ipp/faxout", "/ipp/print", {PRINT, FAX}),
        ("/", "/ipp/print", {PRINT, CONFIG}),
        ("/eSCL/ScanJobs", "/ipp/print", {PRINT, SCAN}),
    ],
)
def test_an_ipp_request_is_classified_by_its_path_and_its_uris(
    target: str, uri_path: str, expected: set[Activity]
):
    body = ipp_request(PRINT_JOB, path=uri_path) + b"%PDF"
    assert does(target, types=IPP, body=body) == expected


def test_a_second_uri_counts_too():
    second = ipp.attribute("printer-uri", ipp.uri("ipp://localhost/ipp/faxout"))
    assert does("/ipp/print", types=IPP, body=ipp_request(PRINT_JOB, second)) == {PRINT, FAX}


FAXOUT = "ipp://localhost/ipp/faxout"


@pytest.mark.parametrize("name", ["printer-uri", "Printer-URI", "job-uri", "JOB-URI"])
@pytest.mark.parametrize(
    "value",
    [
        *(ipp.text(FAXOUT), ipp.name(FAXOUT), ipp.keyword(FAXOUT), ipp.uri_scheme(FAXOUT)),
        *(ipp.mime(FAXOUT), ipp.octets(FAXOUT.encode()), ipp.text_lang("en", FAXOUT)),
        ipp.text_lang("?", FAXOUT),  # not the beginning of a query
        ipp.Value(ipp.Tag.NAME_LANG, b"\0\2en\0\xff" + FAXOUT.encode()),  # a wrong length
        ipp.Value(ipp.Tag.DATETIME, FAXOUT.encode()),
        ipp.Value(ipp.Tag.UNKNOWN, FAXOUT.encode()),
        ipp.uri(FAXOUT + "\0/../print"),  # in C a string ends there
        ipp.uri("ipp://localhost/ipp/%46AXOUT?/../print"),
    ],
)
def test_a_uri_counts_with_any_tag_and_any_spelling_of_its_name(name: str, value: ipp.Value):
    body = ipp_request(PRINT_JOB, ipp.attribute(name, value))
    assert does("/ipp/print", types=IPP, body=body) == {PRINT, FAX}


@pytest.mark.parametrize("target", ["/ipp/faxout%00/../print", "/ipp/faxout/../print"])
def test_a_path_that_can_be_read_in_two_ways_needs_both_rights(target: str):
    assert does(target, types=IPP, body=ipp_request(PRINT_JOB)) == {PRINT, FAX}


def test_a_job_with_fax_in_its_name_is_still_a_print():
    name = ipp.attribute("job-name", ipp.name("faxout.pdf"))
    assert does("/ipp/print", types=IPP, body=ipp_request(PRINT_JOB, name)) == {PRINT}


def test_any_of_several_content_types_makes_it_ipp():
    body = ipp_request(PRINT_JOB)
    assert does("/", types=("text/plain", "Application/IPP; x=y"), body=body) == {
        PRINT,
        CONFIG,
    }


@pytest.mark.parametrize(
    ("method", "target", "types", "code", "harmless"),
    [
        ("GET", "/eSCL/ScannerCapabilities", (), 0, True),
        ("GET", "/eSCL/ScannerStatus", (), 0, True),
        ("POST", "/eSCL/ScannerStatus", (), 0, False),
        ("GET", "/eSCL/ScanJobs/1/NextDocument", (), 0, False),
        ("POST", "/ipp/print", IPP, GET_PRINTER_ATTRIBUTES, True),
        ("POST", "/ipp/faxout", IPP, GET_PRINTER_ATTRIBUTES, True),
        ("POST", "/ipp/print", IPP, GET_JOBS, False),
        ("POST", "/eSCL/ScanJobs", IPP, GET_PRINTER_ATTRIBUTES, False),
        ("POST", "/cgi", IPP, GET_PRINTER_ATTRIBUTES, False),
        ("GET", "/", (), 0, False),
    ],
)
def test_a_query_of_capabilities_or_status_is_harmless(
    method: str, target: str, types: tuple[str, ...], code: int, harmless: bool
):
    body = ipp_request(code) if types else b""
    assert asked(method, target, types, body).harmless is harmless


@given(st.text(max_size=60), st.binary(max_size=60))
def test_every_request_is_an_activity(target: str, body: bytes):
    assert asked("POST", target, IPP, body).activities
    assert asked("GET", target, (), body).activities


RULES = Access(
    {
        PRINT: Allowed(uids=frozenset({ALICE})),
        SCAN: Allowed(gids=frozenset({STAFF})),
        FAX: Allowed(uids=frozenset({BOB}), gids=frozenset({STAFF})),
    }
)


@pytest.mark.parametrize(
    ("uid", "gids", "may"),
    [
        (ALICE, set(), {PRINT, CONFIG}),
        (BOB, set(), {FAX, CONFIG}),
        (BOB, {STAFF}, {SCAN, FAX, CONFIG}),
        (None, set(), {CONFIG}),
        (0, set(), {PRINT, SCAN, FAX, CONFIG}),
        (os.geteuid(), set(), {PRINT, SCAN, FAX, CONFIG}),
    ],
)
def test_users_and_groups_are_allowed_what_the_rules_say(
    uid: int | None, gids: set[int], may: set[Activity]
):
    requests = {
        PRINT: asked("POST", "/ipp/print", IPP, ipp_request(PRINT_JOB)),
        SCAN: asked("POST", "/eSCL/ScanJobs", (), b""),
        FAX: asked("POST", "/ipp/faxout", IPP, ipp_request(PRINT_JOB, path="/ipp/faxout")),
        CONFIG: asked("GET", "/", (), b""),
    }
    allowed = {k for k, what in requests.items() if not RULES.refuses(what, uid, frozenset(gids))}
    assert allowed == may


def test_a_user_who_is_allowed_anything_may_query_the_capabilities():
    question = asked("POST", "/ipp/print", IPP, ipp_request(GET_PRINTER_ATTRIBUTES))
    assert RULES.refuses(question, BOB, frozenset()) == []
    nothing = Access({activity: Allowed(uids=frozenset({ALICE})) for activity in Activity})
    assert nothing.refuses(question, BOB, frozenset()) == [PRINT]


def test_names_in_the_configuration_become_ids():
    access = access_of(Config(access_print=("root", 1001, "@root", "@2001"), access_scan=("@0",)))
    assert access.rules[PRINT] == Allowed(frozenset({0, 1001}), frozenset({0, 2001}))
    assert access.rules[SCAN] == Allowed(gids=frozenset({0}))
    assert access.rules[FAX].everybody
    assert not access.unrestricted
    assert access_of(Config()).unrestricted


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (("no-such-user",), r"\[access\] fax: there is no user no-such-user"),
        (("@no-such-group",), r"\[access\] fax: there is no group no-such-group"),
        (("@",), r"\[access\] fax: there is no group "),
    ],
)
def test_an_unknown_name_is_an_error_that_names_the_key(names: tuple[str, ...], complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        access_of(Config(access_fax=names))
