"""URLs in answers lead back to us, and only those that led to the printer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.http1_streams import cut_at
from support.ipp_strategies import item_streams, messages

from ippusbd.errors import BadIpp
from ippusbd.wire import ipp
from ippusbd.wire.links import PrinterHosts, Rewriter, rewriter

BASE = "http://localhost:60000"
ASKED = f"{BASE}/eSCL/ScannerCapabilities"
DESK = "https://desk.local:60000/ipp/print"


def rewritten(content_type: str, url: str, body: bytes, *known: str) -> bytes:
    links = rewriter(content_type, url, PrinterHosts(known))
    return body if links is None else links.whole(body)


def streamed(links: Rewriter | None, pieces: list[bytes]) -> bytes:
    assert links is not None
    return b"".join(map(links.feed, pieces)) + links.finish()


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
        ("IPP://192.168.223.1/ipp/print?x=1", "ipp://localhost:60000/ipp/print?x=1"),
        ("ipp://[fe80::1]:631/ipp/print", "ipp://localhost:60000/ipp/print"),
        # Of this machine, and not the printer: port 631 is that of CUPS.
        ("ipp://127.0.0.1/ipp", "ipp://localhost:60000/ipp"),
        ("https://localhost/", "http://localhost:60000/"),
        ("ipps://localhost:60000/", "ipp://localhost:60000/"),
    ],
)
def test_a_printers_own_name_becomes_ours(said: str, read: str):
    assert uris(rewritten("application/ipp", BASE, answer(said))) == (read,)


def test_web_pages_on_the_printers_host_follow_and_the_makers_shop_stays():
    body = answer("http://printer.local/", "ipp://printer.local/ipp", "https://maker.example/shop")
    assert uris(rewritten("application/ipp", BASE, body)) == (
        "http://localhost:60000/",
        "ipp://localhost:60000/ipp",
        "https://maker.example/shop",
    )


def test_what_earlier_answers_said_of_its_name_holds_for_later_ones():
    hosts, page = PrinterHosts(), answer("http://printer.example/", "http://10.0.0.7/help")
    hosts.learn(answer("ipp://Printer.example/ipp"))
    links = rewriter("application/ipp", BASE, hosts)
    assert uris(streamed(links, [page])) == ("http://localhost:60000/", "http://10.0.0.7/help")


@pytest.mark.parametrize("host", ["192.168.223.1", "[fe80::1]", "printer.local", "NPI12345"])
def test_an_address_that_only_the_printer_can_mean_is_its_own_before_it_named_itself(host: str):
    links = rewriter("application/ipp", BASE, PrinterHosts())
    assert uris(streamed(links, [answer(f"http://{host}/")])) == ("http://localhost:60000/",)


@pytest.mark.parametrize(
    "uri",
    ["ipp://localhost:60000/ipp/print", "http://127.0.0.1:60000/", "urn:uuid:1", "http://[x", ""],
)
def test_an_answer_that_names_us_is_not_touched(uri: str):
    body = answer(uri, "https://maker.example/")
    assert rewritten("application/ipp", BASE, body) is body


def test_what_follows_the_host_of_a_link_is_kept_as_it_is():
    body = answer("ipp://printer.local", "HTTP://Printer.local:80/a%20b?#")
    assert uris(rewritten("application/ipp", BASE, body)) == (
        "ipp://localhost:60000",
        "http://localhost:60000/a%20b?#",
    )


def test_what_follows_the_attributes_is_kept():
    body = answer("ipp://printer.local/ipp") + b"document"
    assert rewritten("application/ipp", BASE, body).endswith(b"document")


def test_a_link_that_would_outgrow_its_item_stays():
    longest = "ipp://p/".ljust(65535, "x")
    assert uris(rewritten("application/ipp", BASE, answer(longest))) == (longest,)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (b"http://10.0.0.7:80/a?b=1#c", b"http://localhost:60000/a?b=1#c"),
        (b" https://x/i.png ", b" http://localhost:60000/i.png "),
        (b"/hp/device/printer128.png", b"http://localhost:60000/hp/device/printer128.png"),
        (b"../info", b"http://localhost:60000/info"),
        (b"images/a.png", b"http://localhost:60000/eSCL/images/a.png"),  # HP DeskJet 2700
        (b"//10.0.0.7/a", b"http://localhost:60000/a"),
        (b"mailto:a@example.org", b"mailto:a@example.org"),
        (b"http://[x", b"http://[x"),
        (b"  ", b"  "),
    ],
)
def test_the_links_of_scanner_capabilities_lead_to_us(said: bytes, read: bytes):
    page = b"<a><scan:AdminURI>%b</scan:AdminURI><IconURI a='b'>%b</IconURI><X>%b</X></a>"
    body = page % (said, said, said)
    assert rewritten("text/xml", ASKED, body) == page % (read, read, said)


XML_PIECES = st.sampled_from(
    [b"<scan:AdminURI>", b"<IconURI >", b"http://x/y", b"../info", b"</", b"<", b">", b" ", b"x"]
)


@given(st.lists(XML_PIECES).map(b"".join), st.lists(st.integers(0, 200), max_size=5))
def test_where_xml_is_cut_changes_nothing(body: bytes, cuts: list[int]):
    whole = rewritten("text/xml", ASKED, body)
    assert streamed(rewriter("text/xml", ASKED, PrinterHosts()), cut_at(body, cuts)) == whole


def test_a_link_that_does_not_end_is_not_waited_for():
    links = rewriter("text/xml", ASKED, PrinterHosts())
    assert links is not None
    passed = links.feed(b"<AdminURI>" + b"x" * 5000)
    assert len(passed) == 5010
    assert links.feed(b"</AdminURI>") == b""


@given(st.binary(max_size=300))
def test_any_bytes_come_back_whole_or_rewritten(noise: bytes):
    body = noise + b"ipp://printer.local/"
    assert rewritten("application/ipp", BASE, body)
    assert rewritten("image/jpeg", BASE, body) is body


@given(messages, st.lists(st.integers(0, 2000), max_size=6), st.booleans())
def test_a_message_without_links_passes_as_it_came_wherever_it_is_cut(sent, cuts, repair):
    data = ipp.encode(sent) + b"document"
    links = rewriter("application/ipp", DESK, PrinterHosts(), repair=repair)
    assert streamed(links, cut_at(data, cuts)) == data


@given(item_streams(), st.lists(st.integers(0, 300), max_size=6))
@settings(max_examples=400)
def test_a_stream_is_repaired_as_a_whole_answer_is_wherever_it_is_cut(data, cuts):
    try:
        clean = ipp.sanitize(data)
    except BadIpp:
        clean = None
    links = rewriter("application/ipp", BASE, PrinterHosts(), repair=True)
    out = streamed(links, cut_at(data, cuts))
    assert out == (
        clean or streamed(rewriter("application/ipp", BASE, PrinterHosts(), repair=True), [data])
    )


@given(
    st.lists(st.sampled_from(["ipp://p.example/", "http://p.example/x", "urn:x", "http://q/"])),
    st.data(),
)
def test_where_an_ipp_answer_is_cut_changes_none_of_its_links(said, data):
    body = answer("urn:first", *said)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=6))
    whole = streamed(rewriter("application/ipp", BASE, PrinterHosts()), [body])
    assert streamed(rewriter("application/ipp", BASE, PrinterHosts()), cut_at(body, cuts)) == whole
    assert not any(
        "p.example" in uri for uri in uris(rewritten("application/ipp", BASE, body, "p.example"))
    )


def test_a_client_of_the_network_is_told_addresses_that_work_there_and_are_secure():
    where = ipp.attribute("printer-uri-supported", ipp.uri("ipp://localhost:60000/ipp/print"))
    security = ipp.attribute("uri-security-supported", ipp.keyword("none"), ipp.keyword("none"))
    asks = ipp.attribute("uri-authentication-supported", ipp.keyword("requesting-user-name"))
    shop = ipp.attribute("printer-more-info", ipp.uri("http://localhost:60000/"))
    group = ipp.Group(ipp.Tag.PRINTER, (where, security, asks, shop))
    body = ipp.encode(ipp.Message(0, 1, (group,)))

    links = rewriter("application/ipp", DESK, PrinterHosts(), password=True)
    assert links is not None
    message, _ = ipp.decode(links.whole(body))

    said = {one.name: one.texts for one in message.group(ipp.Tag.PRINTER).attributes}
    assert said == {
        "printer-uri-supported": ("ipps://desk.local:60000/ipp/print",),
        "uri-security-supported": ("tls", "tls"),
        "uri-authentication-supported": ("basic",),
        "printer-more-info": ("https://desk.local:60000/",),
    }


def test_on_loopback_nothing_is_declared_to_be_over_tls():
    security = ipp.attribute("uri-security-supported", ipp.keyword("none"), ipp.keyword("tls"))
    body = ipp.encode(ipp.Message(0, 1, (ipp.Group(ipp.Tag.PRINTER, (security,)),)))
    message, _ = ipp.decode(rewritten("application/ipp", BASE, body))
    found = message.get(ipp.Tag.PRINTER, "uri-security-supported")
    assert found is not None
    assert found.texts == ("none", "none")


def test_what_is_held_of_a_stream_is_one_item():
    links = rewriter("application/ipp", BASE, PrinterHosts(), repair=True)
    assert links is not None
    size = ipp.collection({"x-dimension": ipp.integer(1)})
    body = ipp.encode(
        ipp.Message(0, 1, (ipp.Group(4, (ipp.attribute("media-col-database", *[size] * 60_000),)),))
    )
    assert len(body) > 1 << 21
    late = 0
    for at in range(0, len(body), 4096):
        late += 4096 - len(links.feed(body[at : at + 4096]))
        assert late < 200 + 4096


# --- an error status in front of good data (Canon SELPHY CP1500)

INTERNAL_ERROR, VERSION_REFUSED, BUSY = 0x0500, 0x0503, 0x0507


def failing(code: int, *groups: ipp.Group) -> bytes:
    return ipp.encode(ipp.Message(code, 7, (ipp.Group(ipp.Tag.OPERATION), *groups)))


DATA = ipp.Group(ipp.Tag.PRINTER, (ipp.attribute("color-supported", ipp.boolean(True)),))
NO_DATA = ipp.Group(ipp.Tag.PRINTER)
OTHER = ipp.Group(ipp.Tag.UNSUPPORTED, (ipp.attribute("x", ipp.boolean(True)),))
LONG = ipp.Group(ipp.Tag.UNSUPPORTED, (ipp.attribute("x", ipp.text("x" * 17_000)),))


ANSWERS = {
    "data": (failing(INTERNAL_ERROR, DATA), 0),
    "data after another group": (failing(BUSY, OTHER, DATA), 0),
    "another group": (failing(INTERNAL_ERROR, OTHER), INTERNAL_ERROR),
    "an empty group": (failing(INTERNAL_ERROR, NO_DATA), INTERNAL_ERROR),
    "an empty group and another": (failing(INTERNAL_ERROR, NO_DATA, OTHER), INTERNAL_ERROR),
    "data far behind": (failing(INTERNAL_ERROR, LONG, DATA), INTERNAL_ERROR),
    "clients ask again with IPP 1.1": (failing(VERSION_REFUSED, DATA), VERSION_REFUSED),
    "no error": (failing(1, DATA), 1),
}


@pytest.mark.parametrize("case", ANSWERS)
@given(cuts=st.lists(st.integers(0, 20_000), max_size=6))
def test_an_error_status_in_front_of_printer_attributes_becomes_successful(case, cuts):
    body, code = ANSWERS[case]
    right = body[:2] + code.to_bytes(2, "big") + body[4:]
    for repair in (False, True):
        links = rewriter("application/ipp", BASE, PrinterHosts(), repair=repair, good_data=True)
        assert streamed(links, cut_at(body, cuts)) == right
        assert links is not None
        assert links.whole(body) == right


def test_an_error_status_stays_where_attributes_were_not_asked_for():
    body = failing(INTERNAL_ERROR, DATA)
    assert rewritten("application/ipp", BASE, body) is body


@given(st.binary(max_size=40), st.lists(st.integers(0, 40), max_size=4))
def test_no_bytes_are_lost_where_a_status_is_looked_for(noise: bytes, cuts: list[int]):
    body = b"\x02\x00\x05\x00" + noise
    links = rewriter("application/ipp", BASE, PrinterHosts(), good_data=True)
    assert streamed(links, cut_at(body, cuts))[4:] == body[4:]
