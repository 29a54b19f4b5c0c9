"""Which last bytes end a document."""

from __future__ import annotations

import pytest

from ippusbd.wire.whole import FIRST, TAIL, looks_whole


@pytest.mark.parametrize(
    ("content_type", "data", "whole"),
    [
        ("application/ipp", b"\x00\x00\x03", True),
        ("application/ipp", b"\x00\x00", False),
        ("text/xml; charset=utf-8", b"<?xml?>\n<a:Caps x='1'><b></b></a:Caps>\r\n", True),
        ("text/xml", b"<a:Caps><b></b>", False),
        ("text/html", b"<!DOCTYPE html><HTML></body></html>\n", True),
        ("text/html", b"<html><p></p>", False),
        ("IMAGE/JPEG", b"\x00\xff\xd9", True),
        ("image/jpeg", b"\x00\xff", False),
        ("application/pdf", b"%%EOF\n", True),
        ("application/octet-stream", b"anything", False),
        ("", b"", False),
    ],
)
def test_the_end_of_a_document_is_known_by_its_type(content_type: str, data: bytes, whole: bool):
    assert looks_whole(content_type, data[:FIRST], data[-TAIL:]) is whole
