"""What a network is told of a printer, made of what this machine is told."""

from __future__ import annotations

import pytest

from ippusbd.dnssd.limits import check
from ippusbd.model import ServiceRecord, ServiceSet
from ippusbd.wire.txt_shared import shared

NAME = "Jet 900"
IPP = ServiceRecord(
    NAME,
    "_ipp._tcp",
    60001,
    ("_universal", "_print"),
    (
        ("txtvers", "1"),
        ("rp", "ipp/print"),
        ("air", "none"),
        ("UUID", "u"),
        ("adminurl", "http://localhost:60001/#hId"),
    ),
)
SCAN = ServiceRecord(
    NAME,
    "_uscan._tcp",
    60001,
    (),
    (("rs", "eSCL"), ("representation", "http://localhost:60001/icon.png")),
)
LOCAL = ServiceSet(
    NAME,
    (IPP, SCAN, ServiceRecord(NAME, "_http._tcp", 60001)),
    (ServiceRecord("0102", "_ipp-usb._tcp", 60001),),
)


def made(
    console: bool = False, passwords: bool = False, services: ServiceSet = LOCAL
) -> ServiceSet:
    there = shared(
        services, machine="desk", host="desk.local", console=console, passwords=passwords
    )
    check(there)
    return there


def txt(services: ServiceSet, kind: str) -> dict[str, str]:
    return dict(next(record.txt for record in services.records if record.type == kind))


def test_only_what_is_spoken_over_tls_and_the_name_of_a_printer_are_announced():
    there = made()
    assert there.name == "Jet 900 @ desk"
    assert [(r.type, r.port, r.subtypes) for r in there.records] == [
        ("_ipps._tcp", 60001, ("_universal", "_print")),
        ("_uscans._tcp", 60001, ()),
        ("_printer._tcp", 0, ()),
    ]
    assert there.fixed == ()


def test_no_link_leads_to_a_console_that_is_closed():
    there = made()
    assert txt(there, "_ipps._tcp") == {
        "txtvers": "1",
        "rp": "ipp/print",
        "air": "none",
        "UUID": "u",
        "TLS": "1.2",
    }
    assert txt(there, "_uscans._tcp") == {"rs": "eSCL"}


def test_links_lead_to_this_machine_where_the_console_is_open():
    there = made(console=True)
    assert txt(there, "_ipps._tcp")["adminurl"] == "https://desk.local:60001/#hId"
    assert txt(there, "_uscans._tcp")["representation"] == "https://desk.local:60001/icon.png"


def test_a_password_is_announced():
    assert txt(made(passwords=True), "_ipps._tcp")["air"] == "username,password"


@pytest.mark.parametrize("letter", ["J", "ü", "日"])
def test_a_long_name_keeps_the_machines(letter: str):
    name = letter * 100
    long = ServiceSet(name, (ServiceRecord(name, "_uscan._tcp", 60001),))
    there = made(services=long)
    assert there.name.endswith(" @ desk")
    assert there.name.startswith(letter)
    assert [record.type for record in there.records] == ["_uscans._tcp"]
