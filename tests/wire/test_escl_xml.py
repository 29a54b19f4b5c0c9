"""XML of a device is small, flat and plain, or it is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ippusbd.errors import BadXml
from ippusbd.wire import safe_xml


def test_elements_go_by_their_local_names():
    root = safe_xml.parse(b'<a:x xmlns:a="urn:a" k="v"><y>t</y><undeclared:z/>tail</a:x>')
    assert (root.tag, root.attrib, [child.tag for child in root]) == ("x", {}, ["y", "z"])
    assert root.findtext("y") == "t"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252"])
def test_encodings_that_printers_use_are_read(encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?><x>Büro</x>'
    assert safe_xml.parse(text.encode(encoding)).text == "Büro"


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (b"", "not well-formed"),
        (b"404 Not Found", "not well-formed"),
        (b"<x>", "not well-formed"),
        (b"<x></y>", "not well-formed"),
        (b"<x/><x/>", "not well-formed"),
        (b"<x>&</y>", "not well-formed"),
        (b"\xef\xbb\xbf\r\n<!DOCTYPE html><html></html>", "HTML page"),
        (b"<HTML lang='en'>&nbsp;</HTML>", "HTML page"),
        (b"<a/>\r\n<?xml version='1.0'?>", "not well-formed"),
        (b"<x>\xff</x>", "not well-formed"),
        (b"<x>\x00</x>", "not well-formed"),
        (b'<?xml version="1.0" encoding="klingon"?><x/>', "unknown encoding"),
        (b'<?xml version="1.0" encoding="utf-7"?><x/>', "encoding"),
        (b'<?xml version="1.0" encoding="idna"?><x/>', "encoding"),
        (b"<!DOCTYPE x><x/>", "document type"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>', "document type"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "document type"),
    ],
)
def test_everything_else_is_our_error(document, fault):
    with pytest.raises(BadXml, match=fault):
        safe_xml.parse(document)


def test_depth_is_bounded():
    assert safe_xml.parse(b"<a>" * 64 + b"</a>" * 64).tag == "a"
    with pytest.raises(BadXml, match="64 levels"):
        safe_xml.parse(b"<a>" * 65 + b"</a>" * 65)


def test_the_number_of_elements_is_bounded():
    with pytest.raises(BadXml, match="elements"):
        safe_xml.parse(b"<a>" + b"<b/>" * (1 << 15) + b"</a>")


def test_size_is_bounded_before_anything_is_parsed():
    with pytest.raises(BadXml, match="over 1048576"):
        safe_xml.parse(b"<a>" + b" " * (1 << 20) + b"</a>")


pieces = st.sampled_from(
    [b"<", b">", b"/", b"a", b"<a>", b"</a>", b"<b:c d='e'>", b"<!DOCTYPE", b"<?xml", b"&", b"&lt;",
     b"<![CDATA[", b"]]>", b"<!--", b"-->", b" encoding='", b"'", b"\x00", b"\xff\xfe", b"\xc3"]
)  # fmt: skip


@given(st.lists(pieces | st.binary(max_size=4), max_size=40).map(b"".join))
@settings(max_examples=300)
def test_any_bytes_give_a_tree_or_our_error(document):
    with contextlib.suppress(BadXml):
        assert safe_xml.parse(document).tag


@given(st.text(st.characters(codec="ascii"), max_size=20))
def test_any_encoding_gives_a_tree_or_our_error(encoding):
    with contextlib.suppress(BadXml):
        safe_xml.parse(b'<?xml version="1.0" encoding="' + encoding.encode() + b'"?><x>\xe4</x>')


@pytest.mark.parametrize(
    ("before", "said", "read"),
    [
        (b"\r\n\r\n", b"Jet", "Jet"),
        (b"\xef\xbb\xbf\r\n", b"Jet", "Jet"),
        (b"\xef\xbb\xbf", b"Scan & Copy", "Scan & Copy"),
        (b"", b"AT&T &amp; &#65;&x41; &nbsp;", "AT&T & A&x41; &nbsp;"),
        (b"", b"<![CDATA[a&b]]>", "a&b"),
    ],
)
def test_faults_that_other_scanner_clients_read_are_read(before: bytes, said: bytes, read: str):
    document = before + b'<?xml version="1.0" encoding="utf-8"?><x>' + said + b"</x>"
    assert safe_xml.parse(document).text == read
