"""What reaches the printer of a request, and the client of an answer."""

from __future__ import annotations

import string

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ippusbd.errors import BadRequest
from ippusbd.wire.http1 import (
    LAST_CHUNK,
    Framing,
    chunk,
    encode_request,
    forwardable,
    returnable,
    rewrite_location,
)

HOST = "localhost:60000"
CONTROLS = [chr(code) for code in (*range(9), *range(10, 32), 127)]
latin1 = st.text(st.characters(max_codepoint=0x100), max_size=12)


def forwarded(*headers: tuple[str, str]) -> list[tuple[str, str]]:
    host, *rest = forwardable(headers, host=HOST)
    assert host == ("Host", HOST)
    return rest


def encoded(method: str = "GET", target: str = "/", **more: object) -> bytes:
    return encode_request(method, target, [], **{"framing": Framing.NONE, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "connection",
        "Keep-Alive",
        "proxy-connection",
        "Proxy-Authorization",
        "proxy-authenticate",
        "TE",
        "Trailer",
        "transfer-encoding",
        "UPGRADE",
        "HTTP2-Settings",
        "host",
        "Expect",
        "content-length",
    ],
)
def test_what_concerns_one_connection_stays_on_it(name: str):
    assert forwarded((name, "x"), ("accept", "y")) == [("Accept", "y")]


def test_fields_named_by_connection_stay_too():
    headers = [
        ("X-One", "1"),
        ("Connection", "close, X-ONE"),
        ("connection", "x-two"),
        ("X-Two", "2"),
    ]

    assert forwarded(*headers, ("X-Three", "3")) == [("X-Three", "3")]
    assert returnable([*headers, ("X-Three", "3")]) == [("X-Three", "3")]


def test_order_and_repetition_are_kept():
    headers = [("B", "1"), ("A", "2"), ("B", "3")]

    assert forwarded(*headers) == headers


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("content-type", "Content-Type"),
        ("USER-AGENT", "User-Agent"),
        ("x-hp-ADMIN-2", "X-Hp-Admin-2"),
        ("soapaction", "SOAPAction"),
        ("etag", "ETag"),
        ("www-authenticate", "WWW-Authenticate"),
        ("dnt", "DNT"),
    ],
)
def test_names_go_out_in_the_spelling_firmware_knows(name: str, spelling: str):
    assert forwarded((name, "x")) == [(spelling, "x")]


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_no_control_character_is_forwarded(control: str):
    for headers, host in ([("A", f"b{control}c")], HOST), ([], f"a{control}b"):
        with pytest.raises(BadRequest):
            forwardable(headers, host=host)
        with pytest.raises(BadRequest):
            encode_request("GET", "/", [*headers, ("Host", host)], framing=Framing.NONE)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "ä"])
def test_a_name_that_is_no_token_is_refused(name: str):
    with pytest.raises(BadRequest):
        forwardable([(name, "x")], host=HOST)
    with pytest.raises(BadRequest):
        encode_request("GET", "/", [(name, "x")], framing=Framing.NONE)


def test_bytes_above_ascii_pass_as_they_are_but_nothing_wider():
    assert forwarded(("A", "\xe4\tb")) == [("A", "\xe4\tb")]
    with pytest.raises(BadRequest):
        forwardable([("A", "€")], host=HOST)


def test_a_client_gets_no_framing_and_no_hop_by_hop_field_of_the_printer():
    headers = [
        ("Server", "x"),
        ("Content-Length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authenticate", "Basic"),
        ("Trailer", "x"),
        ("Strict-Transport-Security", "max-age=31536000"),
        ("Alt-Svc", 'h2=":443"'),
        ("content-type", "text/xml"),
    ]

    assert returnable(headers) == [("Server", "x"), ("content-type", "text/xml")]


@pytest.mark.parametrize(
    ("method", "framing", "field"),
    [
        ("GET", Framing.NONE, b""),
        ("DELETE", Framing.NONE, b""),
        ("POST", Framing.NONE, b"Content-Length: 0\r\n"),
        ("PUT", Framing.NONE, b"Content-Length: 0\r\n"),
        ("POST", Framing.LENGTH, b"Content-Length: 7\r\n"),
        ("POST", Framing.CHUNKED, b"Transfer-Encoding: chunked\r\n"),
    ],
)
def test_the_framing_is_said_once(method: str, framing: Framing, field: bytes):
    head = encoded(method, framing=framing, length=7)

    assert head == f"{method} / HTTP/1.1\r\n".encode() + field + b"\r\n"


def test_a_connection_field_is_sent_only_to_printers_that_need_one():
    assert encoded() == b"GET / HTTP/1.1\r\n\r\n"
    assert encoded(connection="close") == b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
    with pytest.raises(BadRequest):
        encoded(connection="close\r\nX: y")


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
def test_nobody_else_says_the_framing(name: str):
    with pytest.raises(BadRequest):
        encode_request("POST", "/", [(name, "5")], framing=Framing.CHUNKED)


@pytest.mark.parametrize("method", ["", "GET ", "G T", "GET\r\n", "GÄT", "A:B"])
def test_a_method_that_is_no_token_is_refused(method: str):
    with pytest.raises(BadRequest):
        encoded(method)


@pytest.mark.parametrize(
    "target", ["", "x", "http://a/", "/a b", "/\r\n", "/\x7f", "/ä", "/a\n", "*", "/€"]
)
def test_a_target_that_is_no_path_is_refused(target: str):
    with pytest.raises(BadRequest):
        encoded("GET", target)


def test_options_may_ask_for_everything():
    assert encoded("OPTIONS", "*").startswith(b"OPTIONS * HTTP/1.1\r\n")
    assert encoded("GET", "//a?b=c#d").startswith(b"GET //a?b=c#d HTTP/1.1\r\n")


@given(
    st.one_of(latin1, st.sampled_from(["GET", "POST"])),
    st.one_of(latin1, st.sampled_from(["/", "/ipp/print"])),
    st.lists(st.tuples(st.one_of(latin1, st.text(string.ascii_letters)), latin1), max_size=4),
)
@settings(max_examples=300)
def test_any_request_is_refused_or_read_as_that_one_request(method, target, headers):
    try:
        fields = forwardable(headers, host=HOST)
        head = encode_request(method, target, fields, framing=Framing.LENGTH, length=0)
    except BadRequest:
        return
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(head)
    request = peer.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (method.encode(), target.encode())
    assert len(request.headers) == len(fields) + 1
    assert isinstance(peer.next_event(), h11.EndOfMessage)
    assert peer.trailing_data == (b"", False)


def test_chunks_frame_their_data_and_never_end_the_body():
    assert chunk(b"x" * 17) == b"11\r\n" + b"x" * 17 + b"\r\n"
    assert chunk(b"") == b""
    assert LAST_CHUNK == b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("http://localhost/eSCL/ScanJobs/1", "http://localhost:60000/eSCL/ScanJobs/1"),
        ("http://192.0.2.7:8080/eSCL/ScanJobs/1", "http://localhost:60000/eSCL/ScanJobs/1"),
        ("http://HP3520.example:80/a?b=c#d", "http://localhost:60000/a?b=c#d"),
        ("HTTPS://[fe80::1%25lo]:443/x", "http://localhost:60000/x"),
        ("http://user:secret@printer/x", "http://localhost:60000/x"),
        ("ipp://printer.local:631/ipp/print", "http://localhost:60000/ipp/print"),
        ("ipps://printer/ipp/print", "http://localhost:60000/ipp/print"),
        ("//printer/x", "http://localhost:60000/x"),
        ("http://printer", "http://localhost:60000/"),
        ("http://printer?x", "http://localhost:60000/?x"),
        ("http:///eSCL/ScanJobs/1", "http://localhost:60000/eSCL/ScanJobs/1"),
        ("  http://printer/x ", "http://localhost:60000/x"),
        ("/eSCL/ScanJobs/1", "/eSCL/ScanJobs/1"),
        ("ScanJobs/1", "ScanJobs/1"),
        ("?next", "?next"),
        ("", ""),
        ("mailto:a@b", "mailto:a@b"),
        ("ftp://printer/x", "ftp://printer/x"),
        ("javascript://printer/x", "javascript://printer/x"),
    ],
)
def test_a_location_can_be_followed_by_the_client(value: str, seen: str):
    assert rewrite_location(value, base="http://localhost:60000") == seen
    assert rewrite_location(value, base="http://localhost:60000/") == seen


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("http://127.0.0.1:60000", "http://localhost:631"),
        ("HTTP://LocalHost:60000/form?x=1", "http://localhost:631/form?x=1"),
        ("http://127.0.0.1:60001/form", "http://127.0.0.1:60001/form"),
        ("http://127.0.0.1:60000.example/", "http://127.0.0.1:60000.example/"),
        ("https://localhost:60000/", "https://localhost:60000/"),
        ("null", "null"),
    ],
)
def test_pages_of_ours_have_the_origin_that_the_printer_is_asked_for(sent: str, seen: str):
    ours = {"http://127.0.0.1:60000", "http://localhost:60000"}
    for name in ("Origin", "Referer"):
        fields = forwardable([(name, sent)], host="localhost:631", origins=ours)
        assert fields == [("Host", "localhost:631"), (name, seen)]
