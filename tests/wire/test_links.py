"""URLs in answers lead back to us, and only those that led to the printer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.wire import ipp
from ippusbd.wire.links import rewritten

BASE = "http://localhost:60000"


def answer(*uris: str) -> bytes:
    values = tuple(ipp.uri(u) for u in uris)
    group = ipp.Group(ipp.Tag.PRINTER, (ipp.attribute("printer-uri-supported", *values),))
    return ipp.encode(ipp.Message(0, 1, (group,)))


def uris(body: bytes) -> tuple[str, ...]:
    message, _ = ipp.decode(body)
    found = message.get(ipp.Tag.PRINTER, "printer-uri-supported")
    assert found is not None
    return tuple(found.texts)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("ipp://HP1234.local:631/ipp/print", "ipp://localhost:60000/ipp/print"),
        ("ipps://hp1234.local/ipp/print", "ipp://localhost:60000/ipp/print"),
        ("ipp://192.168.223.1/ipp/print?x=1", "ipp://localhost:60000/ipp/print?x=1"),
        ("ipp://[fe80::1]:631/ipp/print", "ipp://localhost:60000/ipp/print"),
    ],
)
def test_a_printers_own_name_becomes_ours(said: str, read: str):
    assert uris(rewritten("application/ipp", BASE, answer(said))) == (read,)


def test_web_pages_on_the_printers_host_follow_and_the_makers_shop_stays():
    body = answer("ipp://printer.local/ipp", "http://printer.local/", "https://maker.example/shop")
    assert uris(rewritten("application/ipp", BASE, body)) == (
        "ipp://localhost:60000/ipp",
        "http://localhost:60000/",
        "https://maker.example/shop",
    )


@pytest.mark.parametrize("uri", ["ipp://localhost:60000/ipp/print", "ipp://127.0.0.1/ipp"])
def test_an_answer_that_names_us_is_not_touched(uri: str):
    body = answer(uri, "https://maker.example/")
    assert rewritten("application/ipp", BASE, body) is body


def test_what_follows_the_attributes_is_kept():
    body = answer("ipp://printer.local/ipp") + b"document"
    assert rewritten("application/ipp", BASE, body).endswith(b"document")


def test_the_links_of_scanner_capabilities_lead_to_us():
    body = b"<scan:AdminURI>http://10.0.0.7:80/a</scan:AdminURI><scan:IconURI> https://x/i.png<"
    assert rewritten("text/xml", BASE, body) == (
        b"<scan:AdminURI>http://localhost:60000/a</scan:AdminURI>"
        b"<scan:IconURI> http://localhost:60000/i.png<"
    )


@given(st.binary(max_size=300))
def test_any_bytes_come_back_whole_or_rewritten(noise: bytes):
    body = noise + b"ipp://printer.local/"
    assert rewritten("application/ipp", BASE, body)
    assert rewritten("image/jpeg", BASE, body) is body


def test_a_client_of_the_network_is_told_addresses_that_work_there_and_are_secure():
    security = ipp.attribute("uri-security-supported", ipp.keyword("none"))
    where = ipp.attribute("printer-uri-supported", ipp.uri("ipp://localhost:60000/ipp/print"))
    shop = ipp.attribute("printer-more-info", ipp.uri("http://localhost:60000/"))
    group = ipp.Group(ipp.Tag.PRINTER, (where, security, shop))
    body = ipp.encode(ipp.Message(0, 1, (group,)))

    message, _ = ipp.decode(rewritten("application/ipp", "https://desk.local:60000", body))

    said = {
        name: tuple(found.texts)
        for name in ("printer-uri-supported", "uri-security-supported", "printer-more-info")
        if (found := message.get(ipp.Tag.PRINTER, name)) is not None
    }
    assert said == {
        "printer-uri-supported": ("ipps://desk.local:60000/ipp/print",),
        "uri-security-supported": ("tls",),
        "printer-more-info": ("https://desk.local:60000/",),
    }
